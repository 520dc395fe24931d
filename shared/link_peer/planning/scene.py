"""What was read, with what people ask of it: the members and the names of parties."""

from __future__ import annotations

from link_peer.domain.model import Group, Instance, Party
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import clean


class Scene:
    """A snapshot, indexed by group."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._members: dict[Party, list[Instance]] = {}
        for instance in snapshot.instances.values():
            for group in groups_of(instance):
                self._members.setdefault(group, []).append(instance)

    def members(self, party: Party) -> list[Instance]:
        """The instance, or the instances of the group, as far as they were read."""
        if party.is_group:
            return self._members.get(party, [])
        return [self.snapshot.instances[party]] if party in self.snapshot.instances else []

    def complete(self, party: Party) -> bool:
        """Whether every member of the group, or the instance, was read."""
        snapshot = self.snapshot
        read = party.account in snapshot.whole_accounts or party in snapshot.complete_groups or not party.is_group
        return read and snapshot.readable(party.account)

    def groups(self, party: Party) -> set[Party]:
        """Every group whose rules apply to the instance, or to an instance of the group."""
        found = {group for one in self.members(party) for group in groups_of(one)}
        return found | {party} if party.is_group else found

    def name(self, party: Party) -> str:
        """The name of a group or instance; empty if it has none, or was not read."""
        shown: Group | Instance | None = self.snapshot.groups.get(party) or self.snapshot.instances.get(party)
        return clean(shown.name) if shown and shown.name != party.id else ""

    def titled(self, party: Party) -> str:
        """A party with its account and its name: `sg-…@<uid> (orders)`."""
        name = self.name(party)
        return f"{party} ({name})" if name else str(party)


def groups_of(instance: Instance) -> list[Party]:
    """The groups of an instance."""
    return [Party(instance.party.account, group) for group in instance.groups]
