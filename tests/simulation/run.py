"""Carry out the calls of one delivery: count them, and inject a fault at any of them.

| fault        | what happens at the call                                                                    |
|--------------|---------------------------------------------------------------------------------------------|
| kill         | the process dies before the call                                                            |
| kill-after   | the process dies after the call took effect                                                 |
| lost         | no effect, and no readable response                                                         |
| lost-after   | the call takes effect, but there is no readable response                                    |
| outage       | no effect and no readable response, for this call and all later ones                        |
| account-down | the same, for calls to this account only                                                    |
| log-down     | the same, for the audit log only                                                            |
| throttle     | this API of this account is throttled until the next minute                                 |
| slow         | the call takes SLOW_SECONDS                                                                 |
| withdrawn    | the same, and every group withdraws its consent in the meantime                             |
| locked       | the same, and every group is locked in the meantime                                         |
| policy       | the same, and the policy file denies every port in the meantime                             |
| paused       | the same, and the policy file pauses link-peer in the meantime                              |
| locked-now   | no time passes, and right before the call all groups of its account are locked              |
| withdrawn-now| the same, and they withdraw their consent                                                   |
| forbidden    | the role may not make this one call                                                         |
| stale        | a read of rules returns the group's rules as they were before their last change             |
| omit-one     | a read of instances omits one                                                               |
| omit-group   | a read of groups omits one                                                                  |
| empty        | this and all later reads of the delivery return no instance (at -1: from the start)         |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled
from link_peer.domain.model import Party, Port
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.request import Message, SweepAccount
from link_peer.inbound.requests import encode

from tests.simulation.invariants import hold
from tests.simulation.watch import Watch
from tests.simulation.world import SHARED_QUEUE, World

T = TypeVar("T")

INSTANCE_READS = frozenset({"instances", "members", "instance_page"})
GROUP_READS = frozenset({"groups", "all_groups", "tagged_groups"})
READS = INSTANCE_READS | GROUP_READS | {"shows_instances", "rules", "inner_access", "addresses_taken"}
CHANGES = frozenset({"authorize", "modify", "revoke", "tag", "untag"})
TIMEOUT = 60.0  # of the function, in seconds
SLOW_SECONDS = 20.0
SLOW = frozenset({"slow", "withdrawn", "locked", "policy", "paused"})
AT_ONCE = frozenset({"locked-now", "withdrawn-now"})
EVERY_PORT = tuple(Port(protocol, 1, 65535) for protocol in ("tcp", "udp"))


class Killed(BaseException):
    """The process dies here. Not an Exception, so that no code under test can catch it."""


def kinds_for(call: str) -> tuple[str, ...]:
    """The faults that make a difference at a call."""
    always = ("kill", "kill-after", "lost", "outage", *sorted(SLOW | AT_ONCE))
    if call in CHANGES:
        return (*always, "lost-after", "account-down", "throttle", "forbidden")
    if call not in READS:
        return (*always, "lost-after", "log-down")  # the audit log and the queue
    always = (*always, "account-down", "throttle", "forbidden")
    if call == "rules":
        return (*always, "stale")
    if call in INSTANCE_READS:
        return (*always, "empty", "omit-one")
    if call in GROUP_READS:
        return (*always, "empty", "omit-group")
    return (*always, "empty")


class Run:
    """The calls of one delivery on a world. It is also the delivery's audit log and queue.

    `calls` are the names of the calls in order; `end` is acked, raised or killed. `policy` is the policy file as it is
    now. `faults` maps the number of a call,
    counted from 0, to a fault. `before_call` is called with that number before each call.
    """

    def __init__(
        self,
        function: str,
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
        self.unreachable: set[str] = set()  # accounts that no longer respond; "" is the audit log and the queue
        self.last_read: Party | None = None  # the group whose rules the previous cloud call read
        self.deadline = world.now + TIMEOUT
        self.log_failed = False  # a write of audit records failed
        self.watch = Watch(function, world, policy)
        self._before_call = before_call

    def call(self, account: str, name: str, do: Callable[[], T]) -> T:
        """Counts a call and carries it out, with the fault that is planned for it. `account` is "" for log and
        queue."""
        number = len(self.calls)
        self.calls.append(name)
        if self._before_call is not None:
            self._before_call(number)
        self.watch.observe()
        fault = self.faults.get(number, "")
        if fault not in kinds_for(name):
            fault = ""
        world = self.world
        if fault in AT_ONCE:
            self._close_groups(fault, account)
        if fault == "kill":
            raise Killed(name)
        if fault in SLOW and name not in CHANGES:
            self._pass_time(fault)
        if fault == "throttle":
            world.throttled[account, name] = world.now - world.now % 60 + 60
        if world.throttled.get((account, name), 0.0) > world.now or world.barred.get(account) == "throttled":
            raise Throttled("Throttling.User: Request was denied due to user flow control.")
        if fault == "forbidden" or (name in CHANGES and world.barred.get(account) == "read only"):
            self.watch.refused = True
            raise NoAccess("Forbidden.RAM", "User not authorized to operate on the specified resource.")
        if fault in ("outage", "account-down", "log-down"):
            self.unreachable |= {"", *self.policy.accounts} if fault == "outage" else {account}
        if fault == "lost" or account in self.unreachable:
            self.log_failed |= name == "audit"
            raise Ambiguous(f"no readable response: {name}")
        if name in CHANGES:
            hold("I10", world.now < self.deadline, f"{name} was called after the function's timeout")
        if account:
            self.last_read = None
        self.empty |= fault == "empty"
        try:
            answer = do()
        except CloudError:
            self.watch.refused = True
            raise
        if fault in SLOW and name in CHANGES:
            self._pass_time(fault)
        self.watch.observe()
        if fault == "kill-after":
            raise Killed(name)
        if fault == "lost-after":
            raise Ambiguous(f"no readable response: {name}")
        return answer

    def current_fault_is(self, fault: str) -> bool:
        """Whether the current call has this fault."""
        return self.faults.get(len(self.calls) - 1) == fault

    def write(self, records: Sequence[dict[str, str]]) -> None:
        """Stores audit records."""

        def store() -> None:
            for record in records:
                self.watch.record(record)
            self.world.records += records

        if records:
            self.call("", "audit", store)

    def post(self, message: Message | SweepAccount, *, queue: str = SHARED_QUEUE, delay: int = 0) -> None:
        """Puts a message on a queue."""
        body = encode(message)

        def store() -> None:
            self.watch.posted(body, queue, delay, log_failed=self.log_failed)
            self.world.send(body, queue, delay)

        self.call("", "post", store)

    def _pass_time(self, fault: str) -> None:
        """A call that takes long, and what happens meanwhile."""
        self._close_groups(fault)
        if fault == "policy":
            self.policy = msgspec.structs.replace(self.policy, deny=EVERY_PORT)
        if fault == "paused":
            self.policy = msgspec.structs.replace(self.policy, paused=Pause.ALL)
        self.watch.policy = self.policy
        self.watch.observe()
        self.world.now += SLOW_SECONDS

    def _close_groups(self, fault: str, account: str = "") -> None:
        """Locks groups, or withdraws their consent: all of them, or those of one account."""
        for party in self.world.groups:
            if account not in ("", party.account):
                continue
            if fault.startswith("withdrawn"):
                self.world.set_tag(party, "link-accept", None)
            if fault.startswith("locked"):
                self.world.set_tag(party, "link-lock", "incident")
        self.watch.observe()
