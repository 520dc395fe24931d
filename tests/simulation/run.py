"""One delivery on a world: production code inside, every call counted, a fault or another delivery at any of them.

| fault      | what happens at the call                                                             |
|------------|--------------------------------------------------------------------------------------|
| kill       | the process ends before it                                                            |
| kill-after | the process ends after its effect                                                     |
| lost       | no effect, and no readable answer                                                     |
| lost-after | the effect, and no readable answer                                                    |
| out        | no effect, and no readable answer, nor to any call that follows                       |
| throttle   | that API of that account is refused until the next minute                             |
| withdrawn  | likewise; and in the time until then every group takes its consent back               |
| stale      | a read of rules shows the group as it was before its last change                      |
| forbidden  | that account may not be used, for this call                                           |
| short      | a read of instances leaves one out                                                    |
| down       | that account gives no readable answer, nor to any call that follows                   |
| mute       | the audit log takes nothing, neither now nor later; all else works                    |
| empty      | from here on the cloud shows this delivery no instance at all (at -1: from the start)  |
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled, Transient
from link_peer.domain.model import Group, Instance, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.request import Request
from link_peer.inbound import dispatch
from link_peer.inbound.requests import encode
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.retry import Retry

from tests.simulation import invariants
from tests.simulation.invariants import Broken, hold
from tests.simulation.world import REGION, START, World

T = TypeVar("T")

READS = frozenset({"instances", "members", "all_instances", "shows_instances", "groups", "managed_groups", "rules"})
CHANGES = frozenset({"authorize", "modify", "revoke", "tag", "untag"})
SECONDS = 60.0  # the function's time-out


class Killed(BaseException):
    """The process ends here: not an Exception, so that no code under test can swallow it."""


class Message(msgspec.Struct, frozen=True):
    """Something to deliver. `name` tells it from the others in a scenario; `after` is when, in seconds from the start."""

    name: str
    function: str
    body: bytes
    after: float = 0.0


def kinds_for(call: str) -> tuple[str, ...]:
    """The faults that make a difference at a call."""
    always = ("kill", "kill-after", "lost", "out")
    if call in ("authorize", "modify"):
        return (*always, "lost-after", "down", "throttle", "withdrawn", "forbidden")
    if call in CHANGES:
        return (*always, "lost-after", "down", "throttle", "forbidden")
    if call == "rules":
        return (*always, "down", "throttle", "forbidden", "stale")
    if call in ("instances", "members", "all_instances"):
        return (*always, "down", "throttle", "forbidden", "empty", "short")
    if call in READS:
        return (*always, "down", "throttle", "forbidden", "empty")
    return (*always, "lost-after", "mute")  # the audit log and the queue


class Run:
    """A delivery's way to the world. `calls` are the names of the calls in their order, `end` is acked, raised or killed."""

    def __init__(
        self,
        world: World,
        policy: Policy,
        faults: Mapping[int, str] | None = None,
        before_call: Callable[[int], None] | None = None,
    ) -> None:
        self.world = world
        self.policy = policy
        self.faults = faults or {}
        self.calls: list[str] = []
        self.end = ""
        self.empty = self.faults.get(-1) == "empty"
        self.silent: set[str] = set()  # accounts that give no answer any more; "" is the log
        self.last_read: Party | None = None  # the group whose rules the last call to its account's ECS read
        self.deadline = world.now + SECONDS
        self.deaf = False  # the log has refused a record
        self.watch = invariants.Watch(world, policy)
        self._before_call = before_call

    def call(self, account: str, name: str, do: Callable[[], T]) -> T:
        number = len(self.calls)
        self.calls.append(name)
        if self._before_call is not None:
            self._before_call(number)
        self.watch.look()
        fault = self.faults.get(number, "")
        if fault not in kinds_for(name):
            fault = ""
        world = self.world
        if fault == "kill":
            raise Killed(name)
        if fault == "withdrawn":
            for party in world.groups:
                world.set_tag(party, "link-accept", None)
            self.watch.look()
        if fault in ("throttle", "withdrawn"):
            world.throttled[account, name] = world.now - world.now % 60 + 60
        if world.throttled.get((account, name), 0.0) > world.now:
            raise Throttled("Throttling.User: Request was denied due to user flow control.")
        if fault == "forbidden":
            self.watch.refused = True
            raise NoAccess("Forbidden.RAM", "User not authorized to operate on the specified resource.")
        if fault in ("out", "down", "mute"):
            self.silent |= {"", *self.policy.accounts} if fault == "out" else {account}
        if fault == "lost" or account in self.silent:
            self.deaf |= name == "audit"
            raise Ambiguous(f"no readable answer: {name}")
        if name in CHANGES:
            hold("I10", world.now < self.deadline, f"{name} is begun when the function's time is over")
        if account:
            self.last_read = None
        self.empty |= fault == "empty"
        try:
            answer = do()
        except CloudError:
            self.watch.refused = True
            raise
        self.watch.look()
        if fault == "kill-after":
            raise Killed(name)
        if fault == "lost-after":
            raise Ambiguous(f"no readable answer: {name}")
        return answer

    def struck(self, fault: str) -> bool:
        """Whether the call being answered has this fault."""
        return self.faults.get(len(self.calls) - 1) == fault

    # the seams of a delivery

    def open(self, _name: str, retry: Retry) -> SimCloud:
        return SimCloud(self, retry)

    def write(self, records: Sequence[dict[str, str]]) -> None:
        def store() -> None:
            for record in records:
                self.watch.record(record)
            self.world.records += records

        self.call("", "audit", store)

    def post(self, request: Request) -> None:
        body = encode(request)

        def store() -> None:
            self.watch.posted(body)
            self.world.queue.append(body)

        self.call("", "post", store)


class SimClock:
    """The world's time: waiting moves it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> float:
        return self._world.now

    def sleep(self, seconds: float) -> None:
        self._world.now += seconds


class SimCloud:
    """The `Cloud` protocol on a world."""

    def __init__(self, run: Run, retry: Retry) -> None:
        self.calls: Counter[str] = Counter()
        self._run = run
        self._retry = retry

    def ecs(self, account: str) -> SimEcs:
        if account not in self._run.policy.accounts:
            raise Broken("I7", f"account {account} is not in the policy, and was entered")
        return SimEcs(account, self._run, self._retry)


class SimEcs:
    """The `Ecs` protocol on a world. Reads are tried again as the SDK's are, changes are not."""

    def __init__(self, account: str, run: Run, retry: Retry) -> None:
        self.account = account
        self._run = run
        self._world = run.world
        self._retry = retry

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        wanted = set(ids)
        return self._read("instances", lambda: [i for i in self._shown() if i.party.id in wanted]) if wanted else []

    def members(self, group: str) -> list[Instance]:
        return self._read("members", lambda: [i for i in self._shown() if group in i.groups])

    def all_instances(self) -> list[Instance]:
        return self._read("all_instances", self._shown)

    def shows_instances(self) -> bool:
        return self._read("shows_instances", lambda: bool(self._shown()))

    def groups(self, ids: Sequence[str]) -> list[Group]:
        wanted = [Party(self.account, name) for name in sorted(set(ids))]
        world = self._world
        return self._read("groups", lambda: [world.group(p) for p in wanted if p in world.groups]) if wanted else []

    def managed_groups(self, deployment: str) -> list[Group]:
        tag = f"link-managed.{deployment}"
        return self._read(
            "managed_groups",
            lambda: [
                self._world.group(party)
                for party, group in sorted(self._world.groups.items())
                if party.account == self.account and group.tags.get(tag) == "true"
            ],
        )

    def rules(self, group: str) -> list[Rule]:
        party = Party(self.account, group)

        def do() -> list[Rule]:
            stale = self._run.struck("stale")
            self._run.watch.deceived |= stale
            found = self._world.rule_list(party, stale=stale)
            self._run.watch.shown(found)
            self._run.last_read = party
            return found

        return self._read("rules", do)

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.will_authorize(party, rules)
            watch.authorized(self._world.authorize(party, rules))

        return self._change("authorize", do)

    def modify(self, group: str, rule_id: str, description: str) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.will_touch(party, [rule_id], description)
            watch.modified(self._world.modify(party, rule_id, description), description)

        return self._change("modify", do)

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str:
        party = Party(self.account, group)

        def do() -> None:
            self._run.watch.will_touch(party, rule_ids)
            self._run.watch.revoked(self._world.revoke(party, rule_ids))

        return self._change("revoke", do)

    def tag_managed(self, group: str, deployment: str) -> str:
        return self._tag("tag", group, deployment, on=True)

    def untag_managed(self, group: str, deployment: str) -> str:
        return self._tag("untag", group, deployment, on=False)

    def _tag(self, name: str, group: str, deployment: str, *, on: bool) -> str:
        party = Party(self.account, group)

        read_before = self._run.last_read == party

        def do() -> None:
            self._run.watch.will_tag(party)
            hold("I9", on or read_before, f"{party} loses its tag, and its rules were not read right before")
            self._run.watch.tagged(party, self._world.tag(party, deployment, on=on))

        return self._change(name, do)

    def _shown(self) -> list[Instance]:
        shown = [] if self._run.empty else self._world.shown(self.account)
        if self._run.struck("short"):  # of those that want something, the first
            left_out = next((i for i in shown if "link-peer" in i.tags), shown[0] if shown else None)
            shown = [instance for instance in shown if instance is not left_out]
        return shown

    def call(self, name: str, do: Callable[[], T]) -> T:
        """One counted call of this account."""
        return self._run.call(self.account, name, do)

    def _read(self, name: str, do: Callable[[], T]) -> T:
        return self._retry(lambda: self.call(name, do))

    def _change(self, name: str, do: Callable[[], None]) -> str:
        self._run.call(self.account, name, do)
        return f"request-{len(self._run.calls)}"


HANDLERS: dict[str, Callable[[bytes, Delivery], Mapping[str, int]]] = {
    "auto_link": dispatch.handle_events,
    "cross_account": dispatch.handle_messages,
    "sweep": dispatch.handle_timer,
}


def deliver(
    world: World,
    message: Message,
    policy: Policy,
    faults: Mapping[int, str] | None = None,
    before_call: Callable[[int], None] | None = None,
) -> Run:
    """One delivery of a message. Raises Broken when an invariant does; whatever else comes out is the function's fault."""
    run = Run(world, policy, faults, before_call)
    run.watch.asked = requests_in(message)
    delivery = Delivery(
        function=message.function,
        region=REGION,
        policy=policy,
        clock=SimClock(world),
        open_cloud=run.open,
        log=run,
        queue=run,
        seconds=SECONDS,
        readers=1,  # the order of calls is that of the code
    )
    try:
        HANDLERS[message.function](message.body, delivery)
        run.end = "acked"
    except Transient:
        run.end = "raised"
    except Killed:
        run.end = "killed"
    except Exception as error:
        raise Broken("errors", f"{message.function} raised {type(error).__name__}: {error}") from error
    run.watch.ended(message.function, run.end, disturbed=bool(faults) or before_call is not None, deaf=run.deaf)
    return run


def sweep_message(after: float = 0.0) -> Message:
    return Message("sweep", "sweep", b'{"triggerTime": "2027-01-15T08:00:00Z"}', after)


def drained(world: World, policy: Policy) -> None:
    """Delivers what waits in the queue, cleanly, until nothing does."""
    while world.queue:
        body = world.queue.pop(0)
        quiet(world, Message("queued", "cross_account", stream(body)), policy)


def quiet(world: World, message: Message, policy: Policy) -> Run:
    """A delivery when all faults have ended: acknowledged at once, or at the second time when a minute had to pass."""
    for _ in range(2):
        run = deliver(world, message, policy)
        if run.end == "acked":
            return run
        world.now += 60
    raise Broken("I10", f"{message.name} is never acknowledged, without any fault: {world.records[-1]}")


def stream(*bodies: bytes) -> bytes:
    """Queue messages as the stream pushes them."""
    return json.dumps(
        [{"messageId": f"m-{number}", "messageBody": body.decode()} for number, body in enumerate(bodies, 1)]
    ).encode()


def requests_in(message: Message) -> list[dict[str, Any]]:
    """The requests in what is delivered to cross_account."""
    if message.function != "cross_account":
        return []
    return [json.loads(element["messageBody"]) for element in json.loads(message.body)]


def reset(world: World, after: float = 0.0) -> None:
    """The next delivery comes later than any wait of the last one; the exhaustive runs keep time out of their states."""
    world.now = START + after
    world.throttled = {}
    world.records = []
