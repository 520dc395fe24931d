"""Is there room for what a plan would write? In groups, and in the descriptions that carry the reasons. Pure.

What is seen to have no room is not tried: `failed`, `quota`, without a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from link_peer.domain import marker as markers
from link_peer.domain.model import Party, RuleKey
from link_peer.engine.reader import View
from link_peer.inbound.policy_file import Policy
from link_peer.planning.decision import Edit, marker_of
from link_peer.planning.evaluate import Denial

GROUP_RULES = 20  # rules a basic group may hold that name a group [doc limits]; the stricter of the two readings


class Room:
    """The room of one plan, used up as its links are granted."""

    def __init__(self, view: View, policy: Policy, region: str) -> None:
        self._view = view
        self._policy = policy
        self._region = region
        self._left: dict[Party, int] = {}
        self._adding: set[RuleKey] = set()  # two links may need one rule: it takes room once

    def too_long(self, edits: Iterable[Edit]) -> Denial | None:
        """Reasons that a rule's description cannot hold, if there are any."""
        for edit in edits:
            if not markers.fits(markers.render(marker_of(edit, self._policy, self._region), self._policy.home)):
                detail = "the rule's description has no room for one more reason (512 characters)"
                return Denial("quota", detail, "unlink requests that are not needed any more")
        return None

    def take(self, edits: Sequence[Edit], freed: Mapping[Party, int]) -> tuple[Denial | None, bool]:
        """What has no room, if anything; and whether what goes (`freed`, by group) must go first."""
        needed: dict[Party, int] = {}
        for edit in edits:
            if edit.kind == "add" and edit.key.source.startswith("sg-") and edit.key not in self._adding:
                needed[edit.key.group] = needed.get(edit.key.group, 0) + 1
        inverted = False
        for party, count in needed.items():
            left = self._room(party)
            if left + freed.get(party, 0) < count:
                detail = f"{party} has room for {max(left, 0)} of {count} rules that name a group ({GROUP_RULES} are allowed)"
                return Denial("quota", detail, "take away rules that are not needed, or name instances (i-…)"), False
            inverted |= left < count
        for party, count in needed.items():
            self._left[party] = self._room(party) - count
        self._adding |= {edit.key for edit in edits if edit.kind == "add"}
        return None, inverted

    def _room(self, party: Party) -> int:
        group = self._view.groups.get(party)
        return self._left.get(party, GROUP_RULES - (group.group_rules if group else 0))
