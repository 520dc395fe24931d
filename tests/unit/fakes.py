"""Small fakes for the ports: a clock that never waits, an ECS in memory, an audit log and a queue that keep
everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import PRIORITY, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.request import Message, SweepAccount
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.engine.write.work import open_work
from link_peer.planning.decision import Context, DesiredLink
from link_peer.planning.removals import May
from link_peer.runtime.delivery import Connections, Delivery, Throughput, within
from link_peer.runtime.ports import Record

from tests.unit.small_world import HOME, NOW, POLICY, REGION


class FakeClock:
    """A clock that is moved by waiting alone. `waits` are the seconds of each wait."""

    def __init__(self, now: float = NOW) -> None:
        self.time = now
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds


class FakeEcs:
    """One account's ECS in memory. `calls` names every call: `rules sg-db`.

    `errors` are raised before a call does anything; each is raised once, in order, by method name. A subclass in a test
    overrides a method where that is not enough.
    """

    def __init__(
        self,
        groups: Iterable[Group] = (),
        instances: Iterable[Instance] = (),
        rules: Iterable[Rule] = (),
        *,
        account: str = HOME,
        calls: list[str] | None = None,
    ) -> None:
        self.account = account
        self.group_by_id = {group.party.id: group for group in groups}
        self.running = {instance.party.id: instance for instance in instances}
        self.existing = list(rules)
        self.page = 100  # instances on a page
        self.isolated: set[str] = set()  # groups whose members do not reach each other
        self.addresses: set[tuple[str, str]] = set()  # (VPC, address) that something has
        self.calls = [] if calls is None else calls
        self.counted: Counter[str] = Counter()
        self.errors: dict[str, list[Exception]] = {}

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        self._called("instances", *ids)
        return [self.running[name] for name in ids if name in self.running]

    def members(self, group: str) -> list[Instance]:
        self._called("members", group)
        return [instance for instance in self.running.values() if group in instance.groups]

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        self._called("instance_page", *filter(None, [token, group]))
        instances = [instance for instance in self.running.values() if not group or group in instance.groups]
        start = int(token or 0)
        end = start + self.page
        return instances[start:end], str(end) if end < len(instances) else ""

    def shows_instances(self) -> bool:
        self._called("shows_instances")
        return bool(self.running)

    def groups(self, ids: Sequence[str]) -> list[Group]:
        self._called("groups", *ids)
        return [self.group_by_id[name] for name in ids if name in self.group_by_id]

    def all_groups(self) -> list[Group]:
        self._called("all_groups")
        return list(self.group_by_id.values())

    def tagged_groups(self, tag: str) -> list[Group]:
        self._called("tagged_groups", tag)
        return [group for group in self.group_by_id.values() if group.tags.get(tag) == "true"]

    def references(self, groups: Sequence[str]) -> list[Party]:
        self._called("references", *groups)
        sources = {str(Party(self.account, group)) for group in groups}
        return sorted({rule.group for rule in self.existing if rule.key and rule.key.source in sources})

    def inner_access(self, group: str) -> bool:
        self._called("inner_access", group)
        return group not in self.isolated

    def addresses_taken(self, vpc: str, ips: Collection[str]) -> set[str]:
        self._called("addresses_taken", vpc, *ips)
        return {ip for ip in ips if (vpc, ip) in self.addresses}

    def instances_of(self, interfaces: Sequence[str]) -> Mapping[str, str]:
        self._called("instances_of", *interfaces)
        return {}

    def rules(self, group: str) -> list[Rule]:
        self._called("rules", group)
        return self.rules_now(group)

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        self._called("authorize", group)
        assert len({key.direction for key, _ in rules}) == 1
        for key, description in rules:
            if not any(rule.key == key and rule.priority == PRIORITY for rule in self.existing):
                self.existing.append(
                    Rule(key.group, f"sgr-new-{len(self.calls)}-{key.port}", key, "accept", PRIORITY, description)
                )
        return self._request()

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        self._called("modify", group)
        self.existing = [
            msgspec.structs.replace(rule, description=description, priority=PRIORITY) if rule.id == rule_id else rule
            for rule in self.existing
        ]
        return self._request()

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        self._called("revoke", group)
        assert all(rule.is_egress == egress for rule in self.existing if rule.id in rule_ids)
        self.existing = [rule for rule in self.existing if rule.id not in rule_ids]
        return self._request()

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        self._called("tag", *groups)
        for group in groups:
            self._tag(group, dict.fromkeys(keys, "true"))
        return self._request()

    def untag(self, group: str, keys: Sequence[str]) -> str:
        self._called("untag", group)
        self._tag(group, dict.fromkeys(keys, ""))
        return self._request()

    # for tests

    def rules_now(self, group: str) -> list[Rule]:
        """The group's rules, without a call."""
        return [rule for rule in self.existing if rule.group.id == group]

    def descriptions(self) -> list[str]:
        """The description of every rule."""
        return [rule.description for rule in self.existing]

    def changes(self) -> list[str]:
        """The calls that change something."""
        return [call for call in self.calls if call.split()[0] in _CHANGES]

    def _tag(self, group: str, tags: Mapping[str, str]) -> None:
        old_group = self.group_by_id[group]
        merged = {name: value for name, value in {**old_group.tags, **tags}.items() if value}
        self.group_by_id[group] = msgspec.structs.replace(old_group, tags=merged)

    def _called(self, method: str, *args: str) -> None:
        self.calls.append(" ".join((method, *args)))
        self.counted[method] += 1
        if self.errors.get(method):
            raise self.errors[method].pop(0)

    def _request(self) -> str:
        return f"request-{len(self.calls)}"


_CHANGES = ("authorize", "modify", "revoke", "tag", "untag")


class FakeCloud:
    """The accounts that can be entered. `calls` counts those of all, and what a test adds."""

    def __init__(self, *accounts: FakeEcs) -> None:
        self.accounts = {ecs.account: ecs for ecs in accounts}
        self.calls: Counter[str] = Counter()
        for ecs in accounts:
            ecs.counted = self.calls

    def ecs(self, account: str) -> FakeEcs:
        if account not in self.accounts:
            raise NoAccess("NoPermission", "the role does not trust us")
        return self.accounts[account]


class FakeLog:
    """An audit log. `calls` gets the kind of every record, so that a test can compare its order with that of API calls.
    `errors` are raised by the next writes."""

    def __init__(self, calls: list[str] | None = None) -> None:
        self.records: list[Record] = []
        self.calls = [] if calls is None else calls
        self.errors: list[Exception] = []
        self.writes = 0

    def write(self, records: Sequence[Record]) -> None:
        self.writes += 1
        if self.errors:
            raise self.errors.pop(0)
        self.records += records
        self.calls += [record["record"] for record in records]

    def kinds(self) -> list[str]:
        """The kind of every record, in the order in which they were written."""
        return [record["record"] for record in self.records]

    def outcomes(self) -> list[tuple[str, str]]:
        """(outcome, reason) of every outcome."""
        return [(r["outcome"], r.get("reason", "")) for r in self.records if r["record"] == "outcome"]


class FakeQueue:
    """Queues that keep what is posted to them. `sent` are the queue's name and the delay of each message; `swept` are
    sweeps of accounts, each with its delay; `errors` are raised by the next posts."""

    def __init__(self) -> None:
        self.posted: list[Message] = []
        self.swept: list[tuple[SweepAccount, int]] = []
        self.sent: list[tuple[str, int]] = []
        self.errors: list[Exception] = []

    def post(self, message: Message | SweepAccount, *, queue: str = "", delay: int = 0) -> None:
        if self.errors:
            raise self.errors.pop(0)
        if isinstance(message, SweepAccount):
            self.swept.append((message, delay))
            return
        self.posted.append(message)
        self.sent.append((queue, delay))


def delivery(
    *accounts: FakeEcs,
    log: FakeLog | None = None,
    policy: Policy = POLICY,
    clock: Any = None,
    queue: FakeQueue | None = None,
    seconds: float = 600,
    lanes: int = 1,
    current_policy: Callable[[], Policy] | None = None,
    calls_per_minute: int | None = None,
    sweep_queue: str = "",
) -> Delivery:
    """A delivery in a world of fakes; one read at a time, so that calls have an order, and one message of a batch
    after the other unless there are more `lanes`."""
    cloud = FakeCloud(*accounts)
    opened = log or FakeLog(), queue or FakeQueue()
    connections = Connections(lambda _name, _retry: cloud, *opened, policy_now=current_policy, sweep_queue=sweep_queue)
    throughput = Throughput(1, lanes, calls_per_minute)
    return Delivery("test", REGION, policy, within(clock or FakeClock(), seconds), connections, throughput)


MayLose = Callable[[Snapshot, Rule, Link, Claim], May]


class FakeScope(Scope):
    """Desires fixed links, and answers for all of them."""

    def __init__(
        self,
        delivery: Delivery,
        desired: Sequence[DesiredLink] = (),
        *,
        may_lose: MayLose = lambda *_: May.TAKE,
    ) -> None:
        super().__init__(open_work(delivery, "test", delivery.audit({})))
        self._desired = list(desired)
        self._may_lose = may_lose

    @property
    def context(self) -> Context:
        return Context(self.policy, self.delivery.region, self.started)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        return self._desired

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        return self._may_lose(snapshot, rule, link, claim)
