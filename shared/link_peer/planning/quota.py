"""Is there room for what a plan would write: in groups, and in the descriptions that carry the claims? Pure.

What visibly has no room is not tried: `failed`, `quota`, without a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denial import Denial
from link_peer.domain.model import Party, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Context, Edit

GROUP_SOURCES = 20
"""Distinct groups that the rules of a basic group may name. The documents disagree whether 20 rules or 20 groups is the
limit [doc AuthorizeSecurityGroup, security group limits]: only what both refuse is refused without a write."""


class QuotaLedger:
    """The room of one plan, reserved link by link. `freed` are the rules that the plan removes: closing comes first."""

    def __init__(self, snapshot: Snapshot, context: Context, freed: Iterable[RuleKey]) -> None:
        self._snapshot = snapshot
        self._context = context
        self._freed = set(freed)
        self._sources: dict[Party, set[str]] = {}

    def reserve(self, edits: Sequence[Edit]) -> Denial | None:
        """Reserves room for all of these edits, or for none. Returns why there is none."""
        if full := next((edit for edit in edits if not self._fits(edit)), None):
            return denials.description_full(full.key.group)
        added: dict[Party, set[str]] = {}
        for edit in edits:
            if edit.kind == "add" and edit.key.source.startswith("sg-"):
                added.setdefault(edit.key.group, set()).add(edit.key.source)
        for party, sources in added.items():
            known = self._known_sources(party)
            if not sources <= known and len(known | sources) > GROUP_SOURCES:
                return denials.group_full(party, len(known), GROUP_SOURCES)
        for party, sources in added.items():
            self._known_sources(party).update(sources)
        return None

    def _fits(self, edit: Edit) -> bool:
        return not edit.gain or markers.fits(edit.marker(self._context.policy, self._context.region))

    def _known_sources(self, party: Party) -> set[str]:
        """The groups that the group's rules name, once the plan's removals and earlier reservations are made."""
        if party not in self._sources:
            rules = self._snapshot.rules.get(party, ())
            keys = (rule.key for rule in rules if rule.key and rule.key.source.startswith("sg-"))
            self._sources[party] = {key.source for key in keys if key not in self._freed}
        return self._sources[party]
