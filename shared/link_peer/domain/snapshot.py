"""What was read of the cloud, frozen for one pass of planning. Decisions are made from nothing else."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Set
from typing import Any

import msgspec

from link_peer.domain.errors import NoAccess
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Group, Instance, Link, Party, Rule


class Address(msgspec.Struct, frozen=True, order=True):
    """An IPv4 address in a VPC, as one account sees it."""

    account: str
    vpc: str
    ip: str


class Listing(msgspec.Struct, frozen=True):
    """What an unfiltered read of a whole account showed."""

    ids: Set[str] = frozenset()  # of all instances
    members: Mapping[str, int] = {}  # how many instances each group has, by its id
    tagged: bool = False  # some instance has a tag


_Memories = dict[int, tuple[object, dict[Hashable, Any]]]


class Snapshot(msgspec.Struct, frozen=True, dict=True):
    """One reading of the cloud. A party in `requested` that is in neither `instances` nor `groups` was not shown. Not
    every instance of a whole account need be in `instances`: see `set_aside`."""

    instances: Mapping[Party, Instance] = {}
    groups: Mapping[Party, Group] = {}
    # ingress and egress, of each group that was read; none of a group that does not exist
    rules: Mapping[Party, tuple[Rule, ...]] = {}
    requested: Set[Party] = frozenset()
    complete_groups: Set[Party] = frozenset()  # groups of which all members were read
    whole_accounts: Set[str] = frozenset()  # accounts of which all instances were read
    listings: Mapping[str, Listing] = {}  # what the reading of a whole account showed
    counted: Mapping[Party, int] = {}  # numbers of members that were read alone, as far as one call shows them
    live_accounts: Set[str] = frozenset()  # accounts that showed at least one instance in an unfiltered read
    inner_access: Mapping[Party, bool] = {}  # whether a group's members reach each other, where that was read
    taken_addresses: Mapping[Address, bool] = {}  # whether something in a VPC has an address, where that was read
    refused_accounts: Mapping[str, NoAccess] = {}  # accounts that may not be read, with the error
    failed_accounts: Mapping[str, str] = {}  # accounts that met a transient error, in words

    def readable(self, account: str) -> bool:
        """Whether the account could be read."""
        return account not in self.refused_accounts and account not in self.failed_accounts

    def covers(self, link: Link) -> bool:
        """Whether every instance was read whose tags could ask for this link: for a mutual link, those of both sides.
        There a side whose account refuses access does not count as asking, so that it keeps nothing standing on the
        other."""
        hidden = self.refused_accounts if link.mutual else ()
        askers = [party for party in link.askers if party.account not in hidden]
        read = bool(askers) and all(self._was_read(party) for party in askers)
        return read and (link.target in self.requested or link.target in self.groups)

    def set_aside(self, party: Party) -> bool:
        """Whether the instance was shown by a read of its whole account and not kept: it exists, and nothing more is
        known of it until it is read by its id."""
        unread = party not in self.instances and party not in self.requested
        return unread and party.id in self._listing(party.account).ids

    def shows_members(self, party: Party) -> bool:
        """Whether the instance, or any instance of the group, was shown."""
        if not party.is_group:
            return party in self.instances or self.set_aside(party)
        return party in self.members or party.id in self._listing(party.account).members

    def member_count(self, group: Party) -> int | None:
        """How many instances a group has; None where they were not counted."""
        if group in self.complete_groups:
            return sum(
                group.id in instance.groups and instance.party.account == group.account
                for instance in self.instances.values()
            )
        listing = self.listings.get(group.account)
        return self.counted.get(group) if listing is None else listing.members.get(group.id, 0)

    def shows_all_members(self, group: Party) -> bool:
        """Whether every instance of the group was read."""
        if group in self.complete_groups or group.account not in self.whole_accounts:
            return group in self.complete_groups
        return self.member_count(group) in (None, len(self.members.get(group, ())))

    def shows_tags(self, account: str) -> bool:
        """Whether any instance of the account was shown with a tag: if none was, missing tags prove nothing."""
        tags = (instance.tags for party, instance in self.instances.items() if party.account == account)
        return self._listing(account).tagged or any(tags)

    @functools.cached_property
    def members(self) -> Mapping[Party, tuple[Party, ...]]:
        """The instances that were read of each group, sorted."""
        parties = grouped(
            (group, party) for party in sorted(self.instances) for group in self.instances[party].own_groups
        )
        return {group: tuple(members) for group, members in parties.items()}

    def instances_in(self, account: str) -> int:
        """How many instances of the account were shown."""
        ids = self._listing(account).ids
        return len(ids) + sum(p.account == account and p.id not in ids for p in self.instances)

    def groups_of(self, instance: Instance) -> list[Group]:
        """The instance's groups that were read, in the API's order."""
        return [self.groups[party] for party in instance.own_groups if party in self.groups]

    def groups_with(self, party: Party) -> list[Party]:
        """The group itself, or the groups of the instance, as far as they were read."""
        if party.is_group:
            return [party] if party in self.groups else []
        return [group.party for group in self.groups_of(self.instances[party])] if party in self.instances else []

    def memory(self, subject: object) -> dict[Hashable, Any]:
        """What was worked out of this snapshot and a `subject`, such as a policy, by what it was worked out for."""
        return _of_subject(self._memories, subject)

    def lasting_memory(self, subject: object) -> dict[Hashable, Any]:
        """The same, of earlier snapshots of this reading, too. So a value there has with it the parts of a snapshot
        that it was worked out of, and counts while they are the same."""
        return _of_subject(self._lasting_memories, subject)

    def after(self, earlier: Snapshot) -> Snapshot:
        """This snapshot, with the lasting memory of an earlier one."""
        self.__dict__["_lasting_memories"] = earlier._lasting_memories
        return self

    @functools.cached_property
    def _memories(self) -> _Memories:
        return {}

    @functools.cached_property
    def _lasting_memories(self) -> _Memories:
        return {}

    def _listing(self, account: str) -> Listing:
        return self.listings.get(account, Listing())

    def _was_read(self, party: Party) -> bool:
        if party.account in self.whole_accounts:
            return True
        return party in self.complete_groups if party.is_group else party in self.requested


def _of_subject(memories: _Memories, subject: object) -> dict[Hashable, Any]:
    # the subject, which need not have a hash, is kept: no other one gets its id
    return memories.setdefault(id(subject), (subject, {}))[1]
