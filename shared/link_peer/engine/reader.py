"""What the cloud said, as far as this delivery asked: the only thing decisions are made from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Group, Instance, Link, Party, Rule
from link_peer.inbound.policy_file import Policy
from link_peer.runtime.ports import Cloud, Ecs

READERS = 4  # threads; ECS counts calls a minute, so more of them gain little


class View:
    """One reading of the cloud. A party that was asked for and is not in `instances` or `groups` was not shown.

    `complete` holds the groups all of whose members are in `instances`, `whole` the accounts of which that is true of every
    group; `alive` the accounts where an unfiltered read showed at least one instance; `blocked` the accounts that could not
    be read, and why.
    """

    def __init__(self) -> None:
        self.instances: dict[Party, Instance] = {}
        self.groups: dict[Party, Group] = {}
        self.rules: dict[Party, tuple[Rule, ...]] = {}
        self.complete: set[Party] = set()
        self.whole: set[str] = set()
        self.alive: set[str] = set()
        self.blocked: dict[str, NoAccess] = {}
        self.asked: set[Party] = set()

    def readable(self, account: str) -> bool:
        return account not in self.blocked

    def wholly_seen(self, link: Link) -> bool:
        """Were all read whose tags could ask for this link? For a mutual one that is both sides."""
        asking = (link.source, link.target) if link.mutual else (link.source,)
        return all(self._seen(party) for party in asking) and (link.target in self.asked or link.target in self.groups)

    def _seen(self, party: Party) -> bool:
        if party.account in self.whole:
            return True
        return party in self.complete if party.is_group else party in self.asked


class Reader:
    """Fills a View, never asking twice. An account that cannot be entered is noted as blocked; Transient passes."""

    def __init__(self, cloud: Cloud, policy: Policy, view: View | None = None) -> None:
        self._cloud = cloud
        self._policy = policy
        self.view = view or View()
        self.calls = cloud.calls

    def ecs(self, account: str) -> Ecs | None:
        """The account's ECS, or None where the policy does not list it or it cannot be entered."""
        if account not in self._policy.accounts or account in self.view.blocked:
            return None
        try:
            return self._cloud.ecs(account)
        except NoAccess as error:
            self.view.blocked[account] = error
            return None

    def parties(self, parties: Iterable[Party]) -> None:
        """Groups and instances by id, and the groups that the instances are in."""
        asked = [p for p in set(parties) if p not in self.view.asked]
        instances = [p for p in asked if not p.is_group]
        groups = [p for p in asked if p.is_group]
        for account, ids in _by_account(instances):
            if ecs := self.ecs(account):
                self._guard(account, functools.partial(self._read_instances, ecs, ids))
        groups += [
            Party(p.account, g) for p in instances if p in self.view.instances for g in self.view.instances[p].groups
        ]
        groups = [g for g in groups if g not in self.view.groups and g not in self.view.asked]
        for account, ids in _by_account(groups):
            if ecs := self.ecs(account):
                self._guard(account, functools.partial(self._read_groups, ecs, ids))
        self.view.asked |= {*asked, *groups}

    def members(self, groups: Iterable[Party]) -> None:
        """Every instance of these groups, with all the groups that those are in."""
        for group in sorted(set(groups) - self.view.complete):
            if ecs := self.ecs(group.account):

                def read(ecs: Ecs = ecs, group: Party = group) -> None:
                    self._keep(ecs.members(group.id))
                    self.view.complete.add(group)

                self._guard(group.account, read)
        self.groups_of_all()

    def look_twice(self, parties: Iterable[Party]) -> None:
        """These instances, and all of these groups, once more: what one read has left out the next one shows."""
        parties = set(parties)
        self.view.complete -= parties
        self.view.asked -= {party for party in parties if not party.is_group}
        self.members(party for party in parties if party.is_group)
        self.parties(party for party in parties if not party.is_group)

    def groups_of_all(self) -> None:
        """The groups that the instances seen so far are in."""
        self.parties([Party(i.party.account, g) for i in self.view.instances.values() for g in i.groups])

    def everything(self, account: str) -> None:
        """Every instance of an account, unfiltered: which makes all of its groups complete."""
        if ecs := self.ecs(account):

            def read() -> None:
                found = ecs.all_instances()
                self._keep(found)
                self.view.whole.add(account)
                if found:
                    self.view.alive.add(account)

            self._guard(account, read)

    def life(self, accounts: Iterable[str]) -> None:
        """Does an unfiltered read of these accounts show instances? Else what is "not seen" there is not believed."""
        for account in sorted(set(accounts) - self.view.alive):
            if ecs := self.ecs(account):

                def read(ecs: Ecs = ecs, account: str = account) -> None:
                    if ecs.shows_instances():
                        self.view.alive.add(account)

                self._guard(account, read)

    def managed(self, account: str, deployment: str) -> list[Party]:
        """The groups of an account that hold, or held, rules of ours."""
        found: list[Group] = []
        if ecs := self.ecs(account):
            self._guard(account, lambda: found.extend(ecs.managed_groups(deployment)))
        self._keep_groups(found)
        return sorted(group.party for group in found)

    def rules(self, groups: Iterable[Party], threads: int = 1) -> None:
        """The ingress rules of these groups; a group that is gone has none."""
        todo = sorted(set(groups) - self.view.rules.keys())
        work = [(group, ecs) for group in todo if (ecs := self.ecs(group.account))]
        if threads > 1 and len(work) > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda pair: self._rules(*pair), work))
        else:
            for group, ecs in work:
                self._rules(group, ecs)

    def again(self, group: Party) -> tuple[Rule, ...]:
        """The group's rules as they are now."""
        self.view.rules.pop(group, None)
        self.rules([group])
        return self.view.rules.get(group, ())

    def group_again(self, group: Party) -> None:
        """The group with its tags as they are now."""
        if ecs := self.ecs(group.account):
            self._guard(group.account, functools.partial(self._read_groups, ecs, [group.id]))

    def _rules(self, group: Party, ecs: Ecs) -> None:
        def read() -> None:
            try:
                self.view.rules[group] = tuple(ecs.rules(group.id))
            except NoAccess:
                raise
            except CloudError as error:
                if not error.code.startswith("InvalidSecurityGroupId"):
                    raise
                self.view.rules[group] = ()

        self._guard(group.account, read)

    def _guard(self, account: str, read: Callable[[], object]) -> None:
        try:
            read()
        except NoAccess as error:
            self.view.blocked[account] = error
        except CloudError as error:  # a code that nobody expects: it comes again, and at last to a person
            raise Transient(f"account {account}: {error}") from error

    def _read_instances(self, ecs: Ecs, ids: list[str]) -> None:
        self._keep(ecs.instances(ids))

    def _read_groups(self, ecs: Ecs, ids: list[str]) -> None:
        self._keep_groups(ecs.groups(ids))

    def _keep(self, instances: Iterable[Instance]) -> None:
        for instance in instances:
            self.view.instances[instance.party] = instance
            self.view.asked.add(instance.party)

    def _keep_groups(self, groups: Iterable[Group]) -> None:
        for group in groups:
            self.view.groups[group.party] = group


def _by_account(parties: Iterable[Party]) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for party in sorted(parties):
        found.setdefault(party.account, []).append(party.id)
    return list(found.items())
