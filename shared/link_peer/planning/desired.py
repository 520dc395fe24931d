"""Desired state: which claims each rule should carry, and why other claims get none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain.denial import CLAIM_EXPIRED, Denial
from link_peer.domain.model import Claim, Link, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Refusal
from link_peer.planning.evaluate import Verdict, evaluate


class Verdicts:
    """The verdict of each link, worked out once. A link that the cloud has just refused to write is denied."""

    def __init__(self, snapshot: Snapshot, context: Context, refused: Mapping[Link, Refusal]) -> None:
        self._snapshot = snapshot
        self._context = context
        self._known: dict[Link, Verdict] = {}
        self.refused = refused
        self.refusals = {refusal.denial for refusal in refused.values()}

    def of(self, link: Link) -> Verdict:
        """The link's verdict."""
        if link not in self._known:
            verdict = evaluate(self._snapshot, self._context.policy, link)
            if verdict.denial is None and link in self.refused:
                verdict = msgspec.structs.replace(verdict, denial=self.refused[link].denial)
            self._known[link] = verdict
        return self._known[link]

    def denial(self, wanted: DesiredLink) -> Denial | None:
        """Why a desired link is denied, if it is."""
        if wanted.denial:
            return wanted.denial
        if self._context.expired(wanted.claim):
            return CLAIM_EXPIRED
        return self.of(wanted.link).denial

    def needs(self, link: Link) -> set[RuleKey]:
        """The rules that the link needs."""
        return {need.key for need in self.of(link).needs}


class DesiredState:
    """`wanted` are the claims of each rule that may exist; `denied` says, by rule and request id, why a claim may not."""

    def __init__(self, links: Iterable[DesiredLink], verdicts: Verdicts) -> None:
        self.wanted: dict[RuleKey, set[Claim]] = {}
        self.denied: dict[tuple[RuleKey, str], Denial] = {}
        for wanted in links:
            if wanted.same_group:
                continue
            denial = verdicts.denial(wanted)
            for need in verdicts.of(wanted.link).needs:
                if denial is None:
                    self.wanted[need.key] = _one_per_request({*self.claims(need.key), wanted.claim})
                else:
                    self.denied[need.key, wanted.claim.request] = denial

    def claims(self, key: RuleKey) -> set[Claim]:
        """The claims that want this rule."""
        return self.wanted.get(key, set())

    def requests(self, key: RuleKey) -> set[str]:
        """The request ids of those claims; the empty one is the tag's."""
        return {claim.request for claim in self.claims(key)}


def _one_per_request(claims: set[Claim]) -> set[Claim]:
    """One claim per request. A delivery that died half-way may leave two ends of one request: the earlier one holds."""
    found: dict[str, Claim] = {}
    for claim in sorted(claims, key=lambda claim: (claim.request, claim.until is None, claim.until or 0)):
        found.setdefault(claim.request, claim)
    return set(found.values())
