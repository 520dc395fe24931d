"""What the checks judge: what a sweep that changes nothing has read, and what it would leave."""

from __future__ import annotations

import functools
from collections.abc import Set

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Policy
from link_peer.planning.scene import Scene, groups_of
from link_peer.planning.standing import Standing, standing


class CloudSeen(msgspec.Struct, frozen=True, dict=True):
    """`accounts` are those that were read completely, with keys that belong there: what these do not show does not exist."""

    policy: Policy
    scene: Scene
    region: str
    now: float
    accounts: Set[str]

    def title(self, party: Party) -> str:
        """A party's id and name, without its account: `sg-… (orders)`."""
        name = self.scene.name(party)
        return f"{party.id} ({name})" if name else party.id

    @functools.cached_property
    def links(self) -> list[Standing]:
        """The links that stand, as far as the sweep read their rules."""
        return standing(self.scene.snapshot, self.policy, self.region, self.now)

    @functools.cached_property
    def linked_groups(self) -> frozenset[Party]:
        """The groups that links open or name; of links between instances, the groups that those are in."""
        found = {rule.group for link in self.links for rule in link.rules}
        for link in self.links:
            for party in (link.source, link.target):
                found |= {party} if party.is_group else {g for one in self.scene.members(party) for g in groups_of(one)}
        return frozenset(found)
