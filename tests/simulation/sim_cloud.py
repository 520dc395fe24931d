"""The ports of production code (clock, cloud, ECS) on a World."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from link_peer.domain.errors import CloudError, NoAccess
from link_peer.domain.model import Group, Instance, Party, Rule, RuleKey
from link_peer.runtime.retry import Retry

from tests.simulation.invariants import Broken, hold
from tests.simulation.run import Run
from tests.simulation.world import World

T = TypeVar("T")


class SimClock:
    """The world's clock: sleeping advances it."""

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
            raise Broken("I7", f"account {account} was entered, but is not in the policy")
        if account in self._run.world.revoked:
            self._run.watch.refused = True
            raise NoAccess("NoPermission", "You are not authorized to do this action.")
        return SimEcs(account, self._run, self._retry, self.calls)


class SimEcs:
    """The `Ecs` protocol on a world. Like the real client, it retries reads and never changes."""

    def __init__(self, account: str, run: Run, retry: Retry, calls: Counter[str]) -> None:
        self.account = account
        self._calls = calls
        self._run = run
        self._world = run.world
        self._retry = retry

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        id_set = set(ids)
        return self._read("instances", lambda: [i for i in self._visible() if i.party.id in id_set]) if id_set else []

    def members(self, group: str) -> list[Instance]:
        return self._read("members", lambda: [i for i in self._visible() if group in i.groups])

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        """A token names the last instance that was shown, so that a release skips nothing, and proves the account."""
        account, _, last = token.partition("/")

        def do() -> list[Instance]:
            if token and (account, last[:2]) != (self.account, "i-"):
                raise CloudError("InvalidParameter.NextToken", "The parameter NextToken is invalid.")
            self._world.now += self._world.page_seconds
            return [i for i in self._visible() if i.party.id > last and (not group or group in i.groups)]

        listed, size = self._read("instance_page", do), self._world.page
        return (
            (listed[:size], f"{self.account}/{listed[size - 1].party.id}") if 0 < size < len(listed) else (listed, "")
        )

    def shows_instances(self) -> bool:
        return self._read("shows_instances", lambda: bool(self._visible()))

    def groups(self, ids: Sequence[str]) -> list[Group]:
        id_set = set(ids)
        return self._read_groups("groups", lambda group: group.party.id in id_set) if id_set else []

    def all_groups(self) -> list[Group]:
        return self._read_groups("all_groups", lambda _group: True)

    def tagged_groups(self, tag: str) -> list[Group]:
        return self._read_groups("tagged_groups", lambda group: group.tags.get(tag) == "true")

    def _read_groups(self, name: str, is_shown: Callable[[Group], bool]) -> list[Group]:
        groups = self._read(name, lambda: [group for group in self._groups() if is_shown(group)])
        self._run.watch.groups_read(groups)
        return groups

    def references(self, groups: Sequence[str]) -> list[Party]:
        sources = {str(Party(self.account, group)) for group in groups}

        def do() -> list[Party]:
            stale = self._run.current_fault_is("stale")
            return [g for g in sorted(self._world.groups) if self._names(g, sources, stale)]

        return self._read("references", do)

    def _names(self, group: Party, sources: set[str], stale: bool) -> bool:
        """Whether a rule of the group names one of these groups."""
        return any(rule.key and rule.key.source in sources for rule in self._world.rule_list(group, stale=stale))

    def inner_access(self, group: str) -> bool:
        return self._read("inner_access", lambda: Party(self.account, group) not in self._world.isolated)

    def addresses_taken(self, vpc: str, ips: Collection[str]) -> set[str]:
        def taken_addresses() -> set[str]:
            return {ip for ip in ips if self._world.address_taken(self.account, vpc, ip)}

        return self._read("addresses_taken", taken_addresses)

    def instances_of(self, interfaces: Sequence[str]) -> Mapping[str, str]:
        raise NotImplementedError("events of the simulation name instances")

    def rules(self, group: str) -> list[Rule]:
        party = Party(self.account, group)

        def do() -> list[Rule]:
            stale = self._run.current_fault_is("stale")
            self._run.watch.stale_read |= stale
            rules = self._world.rule_list(party, stale=stale)
            self._run.watch.rules_read(party, rules)
            self._run.last_read = party
            return rules

        return self._read("rules", do)

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.before_authorize(party, rules, advanced=advanced)
            watch.authorized(self._world.authorize(party, rules))

        return self._change("authorize", do)

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.before_rule_change(party, [rule_id], description)
            watch.modified(self._world.modify(party, rule_id, description, egress=egress), description)

        return self._change("modify", do)

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        party = Party(self.account, group)

        def do() -> None:
            self._run.watch.before_rule_change(party, rule_ids)
            self._run.watch.revoked(self._world.revoke(party, rule_ids, egress=egress))

        return self._change("revoke", do)

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        return self._tag("tag", groups, keys, on=True)

    def untag(self, group: str, keys: Sequence[str]) -> str:
        return self._tag("untag", [group], keys, on=False)

    def _tag(self, name: str, groups: Sequence[str], keys: Sequence[str], *, on: bool) -> str:
        parties = [Party(self.account, group) for group in groups]
        just_read = self._run.last_read

        def do() -> None:
            for party in parties:
                self._run.watch.before_tag(party, keys, on=on)
                hold("I9", on or just_read == party, f"{party} was untagged without reading its rules right before")
            for party in parties:
                self._run.watch.tagged(party, [key for key in keys if self._world.tag(party, key, on=on)])

        return self._change(name, do)

    def _groups(self) -> list[Group]:
        world = self._world
        groups = [world.group(party) for party in sorted(world.groups) if party.account == self.account]
        if self._run.current_fault_is("omit-group"):  # one that a rule names, if any does
            sources = {r.key.source for by_id in world.rules.values() for r in by_id.values() if r.key}
            omitted = next((group for group in groups if str(group.party) in sources), groups[0] if groups else None)
            groups = [group for group in groups if group is not omitted]
        return groups

    def _visible(self) -> list[Instance]:
        self._run.watch.showings.add(not self._run.empty)
        visible = [] if self._run.empty else self._world.visible_instances(self.account)
        if self._run.current_fault_is("omit-one"):  # the first that asks for a link, if any does
            omitted = next((i for i in visible if "link-peer" in i.tags), visible[0] if visible else None)
            visible = [instance for instance in visible if instance is not omitted]
            self._run.watch.omitted = True
        return visible

    def call(self, name: str, do: Callable[[], T]) -> T:
        """Makes one counted call to this account."""
        self._calls[name] += 1
        return self._run.call(self.account, name, do)

    def _read(self, name: str, do: Callable[[], T]) -> T:
        return self._retry(lambda: self.call(name, do))

    def _change(self, name: str, do: Callable[[], None]) -> str:
        self._run.call(self.account, name, do)
        return f"request-{len(self._run.calls)}"
