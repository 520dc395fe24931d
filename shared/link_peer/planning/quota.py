"""Is there room for what a plan would write: in groups, and in the descriptions that carry the claims? Pure.

What visibly has no room is not tried: `failed`, `quota`, without a write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain import denial as denials
from link_peer.domain import marker as markers
from link_peer.domain.denial import Denial
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Context, Edit

GROUP_RULES = 20
"""Rules that name a group which a basic group may hold [doc security group limits]; the stricter of the two readings."""


class Reservation(msgspec.Struct, frozen=True):
    """`denial` where there is no room, `group_full` where it is a group that has none. `removes_first`: there is room only
    once other rules have been removed."""

    denial: Denial | None = None
    group_full: bool = False
    removes_first: bool = False


class QuotaLedger:
    """The room of one plan, reserved link by link. `freed` are the groups of rules that the plan removes."""

    def __init__(self, snapshot: Snapshot, context: Context, freed: Iterable[Party]) -> None:
        self._snapshot = snapshot
        self._context = context
        self._freed = Counter(freed)
        self._left: dict[Party, int] = {}
        self._adding: set[RuleKey] = set()  # two links may need one rule: it takes room once

    def reserve(self, edits: Sequence[Edit]) -> Reservation:
        """Reserves room for all of these edits, or for none."""
        if not all(self._fits(edit) for edit in edits):
            return Reservation(denials.description_full())
        added = [edit for edit in edits if edit.kind == "add" and edit.key not in self._adding]
        needed = Counter(edit.key.group for edit in added if edit.key.source.startswith("sg-"))
        removes_first = False
        for party, count in needed.items():
            left = self._room(party)
            if left + self._freed[party] < count:
                return Reservation(denials.group_full(party, left, count, GROUP_RULES), group_full=True)
            removes_first |= left < count
        for party, count in needed.items():
            self._left[party] = self._room(party) - count
        self._adding |= {edit.key for edit in added}
        return Reservation(removes_first=removes_first)

    def _fits(self, edit: Edit) -> bool:
        policy = self._context.policy
        return markers.fits(markers.render(edit.marker(policy, self._context.region), policy.home))

    def _room(self, party: Party) -> int:
        group = self._snapshot.groups.get(party)
        return self._left.get(party, GROUP_RULES - (group.group_rules if group else 0))
