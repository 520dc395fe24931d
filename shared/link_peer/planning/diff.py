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

from link_peer.domain.model import Claim, Party, RuleKey
from link_peer.planning.actual import ActualState
from link_peer.planning.decision import Context, Edit
from link_peer.planning.desired import DesiredState, Verdicts
from link_peer.planning.evaluate import Need
from link_peer.planning.removals import Removals


class Diff:
    """The edits of a plan. Each rule of ours is edited once, with all that it gains and loses."""

    def __init__(
        self, context: Context, actual: ActualState, desired: DesiredState, verdicts: Verdicts, removals: Removals
    ) -> None:
        self._context = context
        self._actual = actual
        self._desired = desired
        self._verdicts = verdicts
        self._removals = removals
        self._edited: set[RuleKey] = set()

    def for_need(self, need: Need) -> list[Edit]:
        """The edit by which a rule comes to carry the claims that want it: a new rule, or claims that one of ours gains.
        What a rule only loses is left for `for_rule`."""
        if need.key in self._actual.owned:
            return self.for_rule(need.key, need.ends) if self._gains(need) else []
        if need.key in self._actual.equal:
            return []
        gain = frozenset(self._desired.claims(need.key))
        return [Edit(need.key, gain, ends=need.ends, claims=tuple(sorted(gain)))] if gain else []

    def for_rule(self, key: RuleKey, ends: tuple[Party, Party] | None = None) -> list[Edit]:
        """The edit of a rule of ours that exists: its claims, or a priority that someone changed; once per plan.

        `ends` are the instances that want it. Where the rule's addresses belonged to others before, those others' claims
        are dropped.
        """
        rule, marker = self._actual.owned[key]
        inherited = ends is not None and ends != marker.ends and self._verdicts.address_moved(key, marker)
        claims = self._claims_after(key, inherited=inherited)
        unchanged = claims == set(marker.claims) and not inherited
        if key in self._edited or (unchanged and not self._actual.tampered(key)):
            return []
        self._edited.add(key)
        wanted = self._desired.claims(key)
        kept = tuple(sorted(c for c in claims if c in wanted or not self._context.expired(c)))
        gain, lose = frozenset(kept) - frozenset(marker.claims), frozenset(marker.claims) - frozenset(kept)
        return [Edit(key, gain, lose, ends if inherited else marker.ends, rule, kept)]

    def drop(self, edits: list[Edit]) -> None:
        """Takes edits back, so that another decision may make them."""
        self._edited -= {edit.key for edit in edits}

    def _claims_after(self, key: RuleKey, *, inherited: bool) -> set[Claim]:
        _, marker = self._actual.owned[key]
        wanted, requests = self._desired.claims(key), self._desired.requests(key)
        if inherited:
            return set(wanted)
        replaced = {claim for claim in marker.claims if claim.request in requests and claim not in wanted}
        return {*wanted, *marker.claims} - set(self._removals.claims(key)) - replaced

    def _gains(self, need: Need) -> bool:
        if self._actual.tampered(need.key):
            return True
        _, marker = self._actual.owned[need.key]
        if need.ends != marker.ends and self._verdicts.address_moved(need.key, marker):
            return True
        return not self._desired.claims(need.key) <= set(marker.claims)
