"""Is there room for the rules of a link: in groups, and in the descriptions that carry the claims? Pure.

What visibly has no room is not tried: `failed`, `quota`, without a write. `verdict.holders` asks for one link against
the rules that stand; a plan asks for one link after the other, once its removals are made: closing comes first. A new
limit is a row in LIMITS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial
from link_peer.domain.model import Claim, Party, Rule, RuleKey
from link_peer.domain.platform_limits import GROUP_RULES, GROUP_SOURCES
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual
from link_peer.planning.decision import Context, Edit, Need
from link_peer.planning.diff import edit_of


class Limit(msgspec.Struct, frozen=True):
    """How many distinct values the rules of one group may have."""

    value: Callable[[Rule], str]  # what counts of a rule that stands; empty where the rule does not count
    new: Callable[[RuleKey], str]  # the same, of a rule to be written
    most: int
    denial: Callable[[Party, int, int], Denial]  # (group, how many it has, the limit)


def _source_group(key: RuleKey | None) -> str:
    return key.source if key and key.source.startswith("sg-") else ""


LIMITS = (
    Limit(lambda rule: _source_group(rule.key), _source_group, GROUP_SOURCES.high, denials.group_full),
    Limit(lambda rule: rule.id, repr, GROUP_RULES.high, denials.rules_full),
)


def in_doubt(rules: int, naming: int, room: tuple[int, int] = (0, 0)) -> list[str]:
    """What only one reading of the documents refuses of a group with so many rules, of which `naming` name a group;
    also where there is no more `room` for so many of either."""
    doubts = []
    if rules + room[0] > GROUP_RULES.low:
        allowed = (
            f"one document allows {GROUP_RULES.low} a group, another {GROUP_RULES.high} in all groups of an instance"
        )
        doubts.append(f"{rules} rules: {allowed}")
    if naming + room[1] > GROUP_SOURCES.low:
        allowed = f"one document allows {GROUP_SOURCES.low}, another those of {GROUP_SOURCES.high} groups"
        doubts.append(f"{naming} rules with a group as source: {allowed}")
    return doubts


Room = Mapping[Party, tuple[frozenset[str], ...]]
"""What is taken in each group: the values that count for each limit."""


def room_in(snapshot: Snapshot, groups: Iterable[Party], freed: Set[RuleKey] = frozenset()) -> Room:
    """What the rules of these groups take once those that are `freed` are removed. A group that was not read is taken
    to be empty: the cloud decides when the rule is written."""
    room = {}
    for group in groups:
        rules = [rule for rule in snapshot.rules.get(group, ()) if rule.key is None or rule.key not in freed]
        room[group] = tuple(frozenset(filter(None, map(limit.value, rules))) for limit in LIMITS)
    return room


def no_room(room: Room, edits: Sequence[Edit], context: Context) -> Denial | None:
    """Why there is no room for all of these edits together. Losing a claim needs none."""
    for edit in edits:
        if edit.gain and not markers.fits(edit.marker(context.policy, context.region)):
            return denials.description_full(edit.key.group)
    for group, after in after_edits(room, edits).items():
        for limit, before, now in zip(LIMITS, room[group], after, strict=True):
            if before != now and len(now) > limit.most:
                return limit.denial(group, len(before), limit.most)
    return None


def after_edits(room: Room, edits: Iterable[Edit]) -> Room:
    """What is taken in the groups of new rules once these are written, too."""
    sources: dict[Party, tuple[frozenset[str], ...]] = {}
    for edit in edits:
        if edit.kind == "add":
            used = sources.get(edit.key.group, room[edit.key.group])
            values = (limit.new(edit.key) for limit in LIMITS)
            sources[edit.key.group] = tuple(
                values_before | {v} if v else values_before for values_before, v in zip(used, values, strict=True)
            )
    return sources


def no_room_for_link(
    snapshot: Snapshot,
    context: Context,
    actual: Actual,
    needs: Sequence[Need],
    claims: Set[Claim],
    moved: Set[RuleKey] = frozenset(),
) -> Denial | None:
    """Why the rules that a link needs have no room beside those that stand, if each is to carry `claims`. `actual` has
    at least the rules of the link; of these, `moved` have stood for others."""
    edits = [edit_of(context, actual, n.key, claims, ends=n.ends, moved=n.key in moved) for n in needs]
    return no_room(room_in(snapshot, {need.key.group for need in needs}), [edit for edit in edits if edit], context)
