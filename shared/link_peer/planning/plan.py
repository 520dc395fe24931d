"""Desired state against actual state: a plan that can be printed. Pure: no I/O, reads no clock.

    snapshot ─┬─▶ actual_state ─┐
    desired ──┼─▶ judge ─▶ wanted_claims ─▶ losses ─▶ edits ─▶ room ─▶ decisions
    links     └─────────────────┘

Each step is a function from frozen values to a frozen value, which says what is missing. The cases of a single rule are the
table in `planning.diff`. The order in which links, groups and rules are given decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Set

from link_peer.domain.denials import Denial
from link_peer.domain.model import Link, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual, actual_state
from link_peer.planning.decide import Asked, Edits, Settled, decisions, needs_of, opening_edits
from link_peer.planning.decision import Context, DesiredLink, Plan, Refusal, Unseen, all_missing
from link_peer.planning.diff import edit_of
from link_peer.planning.evaluate import Answer, Ends, Judged, Seen, Wanted, judge, wanted_claims
from link_peer.planning.removals import Losses, MayLose, losses
from link_peer.planning.room import after_edits, no_room, room_in


def make_plan(
    snapshot: Snapshot,
    context: Context,
    links: Iterable[DesiredLink],
    *,
    may_lose: MayLose,
    focus: Set[Link] | None = None,
    held: Collection[Unseen] = frozenset(),
    refused: Mapping[Link, Refusal] = {},
) -> Plan:
    """Decisions for the desired links that are answered here (of these, those in `focus`), and for every rule of ours with a
    claim that may be taken. Removals that are `held` are not made.

    `refused` are links that the cloud has just refused to write. A link that exists in part and has no room for the rest
    is refused too, and the room that this frees is given to others.
    """
    links = list(links)
    seen = Seen(snapshot, context, actual_state(snapshot, context.policy, context.region), refused)
    judged = judge(seen, links)
    asked = _by_link(answer for answer in judged.answers if _in_focus(answer, focus))
    wanted = wanted_claims(judged.answers, seen.actual)
    lost = losses(seen, judged, wanted, may_lose, held)
    edits = _edits(seen, judged, asked, wanted, lost)
    without_room = _without_room(seen, judged, asked, edits, lost)
    if stuck := {link: Refusal(why) for link, why in without_room.items() if _stands(seen.actual, judged, link)}:
        more = {**refused, **stuck}
        return make_plan(snapshot, context, links, may_lose=may_lose, focus=focus, held=held, refused=more)
    if without_room:
        roomy = [answer for answer in judged.answers if answer.wanted.link.whole not in without_room]
        edits = _edits(seen, judged, asked, wanted_claims(roomy, seen.actual), lost)
    settled = Settled(seen, judged, asked, lost, edits, without_room)
    missing = all_missing([judged.missing, lost.missing])
    return Plan(decisions(settled), missing, lost.due, lost.held)


def _in_focus(answer: Answer, focus: Set[Link] | None) -> bool:
    return answer.wanted.here and (focus is None or answer.wanted.link.whole in focus)


def _by_link(answers: Iterable[Answer]) -> dict[Asked, tuple[Answer, ...]]:
    grouped: dict[Asked, list[Answer]] = {}
    for answer in answers:
        grouped.setdefault((answer.wanted.link.whole, answer.wanted.raw), []).append(answer)
    return {asked: tuple(found) for asked, found in grouped.items()}


# edits, and room for them


def _edits(
    seen: Seen, judged: Judged, asked: Mapping[Asked, tuple[Answer, ...]], wanted: Wanted, lost: Losses
) -> Edits:
    """The one edit of each rule that someone in focus needs, that loses claims, or that someone changed."""
    ends: dict[RuleKey, Ends | None] = {need.key: need.ends for found in asked.values() for need in needs_of(found)}
    requested = _requested(answer for found in asked.values() for answer in found)
    ends |= requested
    moved = {key for judgment in judged.judgments.values() for key in judgment.moved}
    restated = {key for judgment in judged.judgments.values() for key in judgment.restated}
    restated |= {k for k in requested.keys() & seen.actual.owned.keys() if not seen.actual.owned[k][1].is_followed}
    changed = {key for key in seen.actual.owned if key in lost.lost or seen.actual.tampered(key)}
    found = {}
    for key in sorted(ends.keys() | changed):
        edit = edit_of(
            seen.context,
            seen.actual,
            key,
            wanted.get(key, frozenset()),
            ends=ends.get(key),
            lost=lost.claims(key),
            moved=key in moved,
            restated=key in restated,
        )
        if edit:
            found[key] = edit
    return found


def _requested(answers: Iterable[Answer]) -> dict[RuleKey, Ends | None]:
    """For whom requests want the rules of links by address: these rules stand for their groups, since members follow."""
    granted = (one for one in answers if one.wanted.link.member and not one.wanted.claim.is_tag and not one.denial)
    return {need.key: need.ends for one in granted if one.verdict for need in one.verdict.needs}


def _without_room(
    seen: Seen, judged: Judged, asked: Mapping[Asked, tuple[Answer, ...]], edits: Edits, lost: Losses
) -> dict[Link, Denial]:
    """The links in focus whose rules have no room once the plan's removals are made. The last room is given to links of which
    some rule stands, then by order of links."""
    opening = {
        link: found for (link, _), one in asked.items() if (found := opening_edits(needs_of(one), edits, seen.actual))
    }
    room = dict(room_in(seen.snapshot, {edit.key.group for one in opening.values() for edit in one}, lost.freed))
    full: dict[Link, Denial] = {}
    for link in sorted(opening, key=lambda link: (not _stands(seen.actual, judged, link), link)):
        if denial := no_room(room, opening[link], seen.context):
            full[link] = denial
        else:
            room |= after_edits(room, opening[link])
    return full


def _stands(actual: Actual, judged: Judged, link: Link) -> bool:
    """Whether some rule of the link is ours already."""
    return any(key in actual.owned for key in judged.needs(link))
