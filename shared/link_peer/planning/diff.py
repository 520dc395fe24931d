"""Desired against actual state, one rule at a time: the edit that makes the one into the other. Pure.

rule exists?        wanted by a claim?   may be lost?   → edit
no                  yes                  -              → add       (unless a person's equal rule exists)
ours, has claim     yes                  -              → nothing
ours, lacks claim   yes                  -              → mark      (the claim joins the marker)
ours                no                   no             → nothing   (another delivery's business, or not all was read)
ours, others left   no                   yes            → mark      (the claim leaves the marker)
ours, last claim    no                   yes            → remove    (by rule id)
ours, priority ≠ 100, kept                              → mark      (put back: an operator's drop must win)
not ours            -                    -              → nothing, ever
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from link_peer.domain.model import Claim, Party, RuleKey
from link_peer.planning.actual import Actual
from link_peer.planning.decision import Context, Edit


def claims_after(edit: Edit, claims: Iterable[Claim]) -> frozenset[Claim]:
    """The claims that a rule has once the edit is made, given those that it has now: one per request. A delivery that
    writes gives those that it has just read, which may be others than those of the plan."""
    return _changed(claims, edit.gain, edit.lose)


def edit_of(
    context: Context,
    actual: Actual,
    key: RuleKey,
    desired: Set[Claim],
    *,
    ends: tuple[Party, Party] | None = None,
    withdrawn: Set[Claim] = frozenset(),
    moved: bool = False,
    restated: bool = False,
) -> Edit | None:
    """The edit of one rule: all that it gains and loses, or a priority that someone changed; None where it stays as it
    is.

    `ends` are the instances that want it. Where the addresses of an instance rule have `moved`, belonged to others
    before, those others' claims are dropped. `restated`: the rule is now for the same instance as a member of another
    group; requests for the former group go, since the members of the new one would follow them.
    """
    if key in actual.equal:
        return None
    if key not in actual.owned:
        gain = frozenset(desired)
        return Edit(key, gain, ends=ends, claims=tuple(sorted(gain))) if gain else None
    rule, marker = actual.owned[key]
    has_new_ends = ends is not None and ends != marker.ends
    inherited, restated = moved and has_new_ends, restated and has_new_ends
    claims = set(desired) if inherited else set(_changed(marker.claims, desired, withdrawn))
    if restated:
        claims -= {claim for claim in marker.claims if not claim.is_tag and claim not in desired}
    changed = inherited or restated
    if claims == set(marker.claims) and not changed and not actual.tampered(key):
        return None
    valid_claims = tuple(sorted(claim for claim in claims if not context.expired(claim)))
    gain, lose = frozenset(valid_claims) - frozenset(marker.claims), frozenset(marker.claims) - frozenset(valid_claims)
    return Edit(key, gain, lose, ends if changed else marker.ends, rule, valid_claims)


def opens(edit: Edit, actual: Actual) -> bool:
    """Whether an edit is due for a link that needs the rule: a new rule, claims that one of ours gains, other
    instances, or a priority to put back. What a rule only loses is a decision of its own."""
    if edit.gain or actual.tampered(edit.key):
        return True
    return edit.ends != actual.owned[edit.key][1].ends


def _changed(claims: Iterable[Claim], gain: Set[Claim], withdrawn: Set[Claim]) -> frozenset[Claim]:
    """A claim that is gained replaces the other ends of the same requests."""
    requests = {claim.request for claim in gain}
    return frozenset({claim for claim in claims if claim.request not in requests} - withdrawn | gain)
