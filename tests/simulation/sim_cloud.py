"""The ports of production code (clock, cloud, ECS) on a World."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

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
        return SimEcs(account, self._run, self._retry)


class SimEcs:
    """The `Ecs` protocol on a world. Like the real client, it retries reads and never changes."""

    def __init__(self, account: str, run: Run, retry: Retry) -> None:
        self.account = account
        self._run = run
        self._world = run.world
        self._retry = retry

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        wanted = set(ids)
        return self._read("instances", lambda: [i for i in self._visible() if i.party.id in wanted]) if wanted else []

    def members(self, group: str) -> list[Instance]:
        return self._read("members", lambda: [i for i in self._visible() if group in i.groups])

    def all_instances(self) -> list[Instance]:
        return self._read("all_instances", self._visible)

    def shows_instances(self) -> bool:
        return self._read("shows_instances", lambda: bool(self._visible()))

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
            stale = self._run.current_fault_is("stale")
            self._run.watch.stale_read |= stale
            found = self._world.rule_list(party, stale=stale)
            self._run.watch.rules_read(found)
            self._run.last_read = party
            return found

        return self._read("rules", do)

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.before_authorize(party, rules)
            watch.authorized(self._world.authorize(party, rules))

        return self._change("authorize", do)

    def modify(self, group: str, rule_id: str, description: str) -> str:
        party = Party(self.account, group)
        watch = self._run.watch

        def do() -> None:
            watch.before_rule_change(party, [rule_id], description)
            watch.modified(self._world.modify(party, rule_id, description), description)

        return self._change("modify", do)

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str:
        party = Party(self.account, group)

        def do() -> None:
            self._run.watch.before_rule_change(party, rule_ids)
            self._run.watch.revoked(self._world.revoke(party, rule_ids))

        return self._change("revoke", do)

    def tag_managed(self, group: str, deployment: str) -> str:
        return self._tag("tag", group, deployment, on=True)

    def untag_managed(self, group: str, deployment: str) -> str:
        return self._tag("untag", group, deployment, on=False)

    def _tag(self, name: str, group: str, deployment: str, *, on: bool) -> str:
        party = Party(self.account, group)
        just_read = self._run.last_read == party

        def do() -> None:
            self._run.watch.before_tag(party)
            hold("I9", on or just_read, f"{party} was untagged without reading its rules right before")
            self._run.watch.tagged(party, self._world.tag(party, deployment, on=on))

        return self._change(name, do)

    def _visible(self) -> list[Instance]:
        visible = [] if self._run.empty else self._world.visible_instances(self.account)
        if self._run.current_fault_is("omit-one"):  # the first that asks for a link, if any does
            omitted = next((i for i in visible if "link-peer" in i.tags), visible[0] if visible else None)
            visible = [instance for instance in visible if instance is not omitted]
        return visible

    def call(self, name: str, do: Callable[[], T]) -> T:
        """Makes one counted call to this account."""
        return self._run.call(self.account, name, do)

    def _read(self, name: str, do: Callable[[], T]) -> T:
        return self._retry(lambda: self.call(name, do))

    def _change(self, name: str, do: Callable[[], None]) -> str:
        self._run.call(self.account, name, do)
        return f"request-{len(self._run.calls)}"
