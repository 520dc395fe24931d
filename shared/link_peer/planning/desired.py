"""Desired state: which claims each rule should carry, and why other claims get none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain import denials
from link_peer.domain.denial import Denial
from link_peer.domain.denials import CLAIM_EXPIRED
from link_peer.domain.model import Claim, Link, Marker, Party, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import ActualState, link_of
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Question, Refusal
from link_peer.planning.evaluate import Need, Verdict, evaluate

Ends = tuple[Party, Party]
"""The instances of an instance rule: its source's and its destination's."""


class Verdicts:
    """The verdict of each link, worked out once. A link that the cloud has just refused to write is denied, and so is one
    whose rule belongs to other instances with the same addresses.

    `unread` are links, and `questions` things, that must be read before all verdicts count. `absent` are instances whose
    rules others may have, as nothing shows them; `doubted_accounts` are theirs, where these show no instances at all.
    """

    def __init__(
        self, snapshot: Snapshot, context: Context, actual: ActualState, refused: Mapping[Link, Refusal]
    ) -> None:
        self._snapshot = snapshot
        self._context = context
        self._actual = actual
        self._known: dict[Link, Verdict] = {}
        self._holders: dict[RuleKey, Ends] = {}
        self.refused = refused
        self.refusals = {refusal.denial for refusal in refused.values()}
        self.unread: set[Link] = set()
        self.questions: set[Question] = set()
        self.absent: set[Party] = set()
        self.doubted_accounts: set[str] = set()

    def of(self, link: Link) -> Verdict:
        """The link's verdict."""
        if link not in self._known:
            verdict = evaluate(self._snapshot, self._context.policy, link, self._context.now)
            self._known[link] = verdict  # before the next look, which may lead back here
            self.questions |= set(verdict.open_questions)
            if verdict.denial is None and link in self.refused:
                verdict = msgspec.structs.replace(verdict, denial=self.refused[link].denial)
            if verdict.denial is None and (other := self._other_holder(verdict.needs)):
                verdict = msgspec.structs.replace(verdict, denial=denials.address_of_another(link.source, other))
            self._known[link] = verdict
        return self._known[link]

    def denial(self, wanted: DesiredLink) -> Denial | None:
        """Why a desired link is denied, if it is."""
        if wanted.same_group:
            return self._isolated(wanted.link)
        if wanted.denial:
            return wanted.denial
        if self._context.expired(wanted.claim):
            return CLAIM_EXPIRED
        return self.of(wanted.link).denial or self._taken_by_another(wanted.link)

    def needs(self, link: Link) -> set[RuleKey]:
        """The rules that the link needs."""
        return {need.key for need in self.of(link).needs}

    def address_moved(self, key: RuleKey, marker: Marker) -> bool:
        """Whether the instances that an instance rule was written for have other addresses now, or do not exist. False
        where they were not read; they are then noted as unread. An account that shows instances is taken at its word that one does not exist."""
        old = link_of(key, marker)
        ends = {old.source, old.target}
        if not ends <= self._snapshot.requested:
            self.unread.add(old)
            return False
        if needs := self.needs(old):
            return key not in needs
        missing = ends - self._snapshot.instances.keys()
        if not missing or not all(self._snapshot.readable(end.account) for end in ends):
            return False
        missing -= self._context.deleted
        doubted = {end.account for end in missing} - self._snapshot.live_accounts
        self.absent |= missing
        self.doubted_accounts |= doubted
        return not doubted

    def _other_holder(self, needs: Iterable[Need]) -> Party | None:
        """The instance whose rule one of these already is. Two instances with one address cannot be told apart by a /32:
        the one that the rule was written for keeps it, unless they have other addresses now."""
        for need in needs:
            if need.ends is None or need.key not in self._actual.owned:
                continue
            _, marker = self._actual.owned[need.key]
            if marker.ends and marker.ends != need.ends and not self.address_moved(need.key, marker):
                return _first_difference(marker.ends, need.ends)
        return None

    def _taken_by_another(self, link: Link) -> Denial | None:
        """The denial where an instance with the same address was granted one of these rules before."""
        granted = {need.key: need.ends for need in self.of(link).needs if need.ends}
        for key, ends in granted.items():
            if (holder := self._holders.get(key, ends)) != ends:
                return denials.address_of_another(link.source, _first_difference(holder, ends))
        self._holders.update(granted)
        return None

    def _isolated(self, link: Link) -> Denial | None:
        """Why the members of an instance's own group do not reach each other, if they do not."""
        group = self._snapshot.groups.get(link.target)
        if group is None:
            return None
        if group.advanced:
            return denials.isolated_group(group.party, advanced=True)
        if group.party not in self._snapshot.inner_access:
            self.questions.add(group.party)
        if self._snapshot.inner_access.get(group.party, True):
            return None
        return denials.isolated_group(group.party, advanced=False)


def _first_difference(holder: Ends, ends: Ends) -> Party:
    return next(one for one, ours in zip(holder, ends, strict=True) if one != ours)


class DesiredState:
    """`wanted` are the claims of each rule that may exist; `denied` says, by rule and request id, why a claim may not."""

    def __init__(self, links: Iterable[DesiredLink], verdicts: Verdicts, actual: ActualState) -> None:
        self.wanted: dict[RuleKey, set[Claim]] = {}
        self.denied: dict[tuple[RuleKey, str], Denial] = {}
        for wanted in links:
            if wanted.same_group:
                continue
            denial = verdicts.denial(wanted)
            for need in verdicts.of(wanted.link).needs:
                if denial is not None:
                    self.denied[need.key, wanted.claim.request] = denial
                elif wanted.opens or wanted.claim in actual.claims(need.key):
                    self.wanted[need.key] = _one_per_request({*self.claims(need.key), wanted.claim})

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
