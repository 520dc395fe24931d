"""Desired state: which claims each rule should carry, and why other claims get none. Pure.

desired links ─▶ judge: a verdict and a denial for each ─▶ desired_state: the claims of each rule

Nothing here depends on the order in which links, groups or instances are given: see `judge`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import CLAIM_EXPIRED, Denial
from link_peer.domain.model import Claim, Link, Party, Port, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import Actual, link_of
from link_peer.planning.choice import uncounted
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import NOTHING_MISSING, Context, Missing, Refusal, Verdict, all_missing
from link_peer.planning.evaluate import Ends, Judgment, first_difference, with_holders
from link_peer.planning.permitted import permitted
from link_peer.planning.writing import MAX_RULES


class Seen(msgspec.Struct, frozen=True):
    """What all steps of a plan start from. `refused` are links that the cloud has just refused to write, or that have no
    room."""

    snapshot: Snapshot
    context: Context
    actual: Actual
    refused: Mapping[Link, Refusal] = {}

    @property
    def refusals(self) -> set[Denial]:
        """Why links were refused."""
        return {refusal.denial for refusal in self.refused.values()}


class Answer(msgspec.Struct, frozen=True):
    """Whether a desired link is granted, and why not. A link to the instance's own group needs no rule, and so no verdict."""

    wanted: DesiredLink
    verdict: Verdict | None
    denial: Denial | None


class Judged(msgspec.Struct, frozen=True, dict=True):
    """The answers to all desired links, in canonical order, and the judgments that they and the refused links rest on."""

    answers: tuple[Answer, ...]
    judgments: Mapping[Link, Judgment]
    missing: Missing = NOTHING_MISSING

    def needs(self, link: Link) -> Set[RuleKey]:
        """The rules that a link needs, with all of its parts."""
        return self._needs.get(link, frozenset())

    @functools.cached_property
    def _needs(self) -> Mapping[Link, Set[RuleKey]]:
        found: dict[Link, set[RuleKey]] = {}
        for link, judgment in self.judgments.items():
            found.setdefault(link.whole, set()).update(judgment.needs)
        return found


class Desired(msgspec.Struct, frozen=True):
    """`wanted` are the claims of each rule that may exist; `denied` says, by the link of one rule and request id, why a claim
    may not: also where the rules of a link are not known, since an account cannot be read."""

    wanted: Mapping[RuleKey, frozenset[Claim]]
    denied: Mapping[tuple[Link, str], Denial]

    def claims(self, key: RuleKey) -> frozenset[Claim]:
        """The claims that want this rule."""
        return self.wanted.get(key, frozenset())

    def requests(self, key: RuleKey) -> set[str]:
        """The request ids of those claims; the empty one is the tag's."""
        return {claim.request for claim in self.claims(key)}


def judge(seen: Seen, links: Iterable[DesiredLink]) -> Judged:
    """Answers every desired link; of a mutual one, an instance whose account refuses access does not count as asking. Where instances with one address need the same rule, it is given to the one for which it
    stands, unless that has another address now; else to the links for which some rule stands, then by order of links."""
    refused = seen.snapshot.refused_accounts
    asking = (w for w in links if not (w.link.mutual and w.instance and w.instance.account in refused))
    ordered = sorted(asking, key=_order)
    asked = dict.fromkeys(wanted.link for wanted in ordered if not wanted.same_group)
    unasked = seen.refused.keys() - {link.whole for link in asked}
    judgments = {link: judge_link(seen, link) for link in [*asked, *unasked]}
    own = {w.link.target: _own_group(seen.snapshot, w.link.target) for w in ordered if w.same_group and w.here}

    def denial(wanted: DesiredLink) -> Denial | None:
        if wanted.same_group:
            return own[wanted.link.target][0] if wanted.here else None
        if wanted.denial:
            return wanted.denial
        return CLAIM_EXPIRED if seen.context.expired(wanted.claim) else judgments[wanted.link].verdict.denial

    first = [(wanted, denial(wanted)) for wanted in ordered]
    granted = dict.fromkeys(wanted.link for wanted, why in first if why is None and not wanted.same_group)
    verdicts = [judgments[link].verdict for link in granted]
    taken = {**too_many(seen, verdicts), **_taken_by_others(seen.actual, verdicts)}
    unfollowed = _unfollowed(seen.actual, judgments, [wanted for wanted, why in first if why is None])
    answers = (
        Answer(wanted, None, why)
        if wanted.same_group
        else Answer(
            wanted,
            judgments[wanted.link].verdict,
            why or taken.get(wanted.link) or unfollowed.get((wanted.link, wanted.claim)),
        )
        for wanted, why in first
    )
    missing = [*(one.missing for one in judgments.values()), *(missing for _, missing in own.values())]
    missing += [Missing(questions=uncounted(seen.snapshot, w.denied)) for w in ordered if w.here and not w.denial]
    return Judged(tuple(answers), judgments, all_missing(missing))


def judge_link(seen: Seen, link: Link) -> Judgment:
    """The verdict on a link by the snapshot, but for room. One that was refused is denied."""
    verdict = permitted(seen.snapshot, seen.context.policy, link, seen.context.now)
    if verdict.denial is None and link.whole in seen.refused:
        verdict = msgspec.structs.replace(verdict, denial=seen.refused[link.whole].denial)
    return with_holders(seen.snapshot, seen.context, seen.actual, verdict)


def desired_state(answers: Iterable[Answer], actual: Actual) -> Desired:
    """What the answers want of each rule. A claim that is only read from a rule keeps that rule and opens none. Of several
    denials of one claim, one that decides nothing counts: somebody asks."""
    found: dict[RuleKey, set[Claim]] = {}
    denied: dict[tuple[Link, str], Denial] = {}
    for answer in answers:
        wanted = answer.wanted
        if answer.denial is not None:
            for link in _single(wanted.link) if answer.verdict else ():
                asked = link, wanted.claim.request
                denied[asked] = answer.denial if answer.denial.undecided else denied.get(asked, answer.denial)
            continue
        for need in answer.verdict.needs if answer.verdict else ():
            if wanted.opens or wanted.claim in actual.claims(need.key):
                found.setdefault(need.key, set()).add(wanted.claim)
    return Desired({key: _one_per_request(claims) for key, claims in found.items()}, denied)


def _single(link: Link) -> list[Link]:
    """The link of each of its rules."""
    if link.mutual:
        return [link, Link(link.target, link.source)]
    return [Link(link.source, link.target, (port,), link.member) for port in link.ports]


def _order(wanted: DesiredLink) -> tuple[object, ...]:
    """The canonical order of desired links."""
    claim, asker = wanted.claim, str(wanted.instance)
    why = wanted.denial.detail if wanted.denial else ""
    return wanted.link, wanted.raw, asker, wanted.tag, claim.request, str(claim.until), wanted.opens, why


def _taken_by_others(actual: Actual, granted: Iterable[Verdict]) -> dict[Link, Denial]:
    """The links that are denied because an instance with the same address is granted one of their rules."""

    def stands(verdict: Verdict) -> bool:
        owned = ((need.ends, actual.owned[need.key]) for need in verdict.needs if need.key in actual.owned)
        return any(ends and ends == marker.ends for ends, (_, marker) in owned)

    holders: dict[RuleKey, Ends] = {}
    denied: dict[Link, Denial] = {}
    for verdict in sorted(granted, key=lambda one: (not stands(one), one.link)):
        asked = {need.key: need.ends for need in verdict.needs if need.ends}
        others = (first_difference(holders[key], ends) for key, ends in asked.items() if key in holders)
        if holder := next(filter(None, others), None):
            denied[verdict.link] = denials.address_of_another(verdict.link.asker, holder)
        else:
            holders |= {key: ends for key, ends in asked.items() if key not in holders}
    return denied


def _unfollowed(
    actual: Actual, judgments: Mapping[Link, Judgment], granted: Iterable[DesiredLink]
) -> dict[tuple[Link, Claim], Denial]:
    """The parts of requested links by address whose rule stands for a request of another group of the instance, or is given to
    one. A request's claim is followed by the members of the group in the marker, so that a rule is for the requests of one."""
    holders: dict[RuleKey, Party] = {}
    denied: dict[tuple[Link, Claim], Denial] = {}
    for wanted in granted:
        link, judgment = wanted.link, judgments.get(wanted.link)
        if not link.member or wanted.claim.is_tag or judgment is None:
            continue
        keys = judgment.needs
        for key in sorted(keys - judgment.restated - judgment.moved):
            marker = actual.owned[key][1] if key in actual.owned else None
            if marker and marker.ends and marker.is_followed:
                holders.setdefault(key, marker.ends[1])
        if other := next((holders[key] for key in sorted(keys) if holders.get(key, link.source) != link.source), None):
            denied[link, wanted.claim] = denials.rule_of_another_group(link.asker, other)
        else:
            holders |= dict.fromkeys(keys, link.source)
    return denied


def too_many(seen: Seen, granted: Iterable[Verdict]) -> dict[Link, Denial]:
    """The parts of links by address that are denied because a link has too many. Those that stand stay, and others join them
    in order of their instances as long as there is room; of a link of which none stands, all are denied or none."""
    by_link: dict[Link, list[Link]] = {}
    for verdict in granted:
        if verdict.link.member:
            by_link.setdefault(verdict.link.whole, []).append(verdict.link)
    standing = _standing_members(seen.actual) if by_link else {}
    denied: dict[Link, Denial] = {}
    for whole, asked in by_link.items():
        there = {member for port in whole.ports for member in standing.get((whole.source, whole.target, port), ())}
        new = [one for one in sorted(asked) if one.member not in there]
        limit = most_members(seen.context.policy, whole)
        room = limit - len(there)
        if len(new) > room:
            late = new[max(room, 0) :] if there else new
            denied |= dict.fromkeys(late, denials.too_many_members(len(there) + len(new), limit))
    return denied


def most_members(policy: Policy, link: Link) -> int:
    """How many instances a link by address may have: as the policy says, and as one call can write."""
    return min(policy.limits.max_members, MAX_RULES // max(1, len(link.ports)))


def _standing_members(actual: Actual) -> dict[tuple[Party, Party, Port], set[str]]:
    """The instances for which rules by address stand, by the group that they stand for, the group that admits them, and port."""
    found: dict[tuple[Party, Party, Port], set[str]] = {}
    for key, (_, marker) in actual.owned.items():
        if (link := link_of(key, marker)).member:
            found.setdefault((link.source, link.target, key.port), set()).add(link.member)
    return found


def _own_group(snapshot: Snapshot, party: Party) -> tuple[Denial | None, Missing]:
    """Why the members of an instance's own group do not reach each other, if they do not; and what is missing to say so."""
    group = snapshot.groups.get(party)
    if group is None:
        return None, NOTHING_MISSING
    if group.advanced:
        return denials.isolated_group(group.party, advanced=True), NOTHING_MISSING
    if party not in snapshot.inner_access:
        return None, Missing(questions=frozenset({party}))
    return None if snapshot.inner_access[party] else denials.isolated_group(party, advanced=False), NOTHING_MISSING


def _one_per_request(claims: set[Claim]) -> frozenset[Claim]:
    """One claim per request. A delivery that died half-way may leave two ends of one request: the earlier one holds."""
    found: dict[str, Claim] = {}
    for claim in sorted(claims, key=lambda claim: (claim.request, claim.until is None, claim.until or 0)):
        found.setdefault(claim.request, claim)
    return frozenset(found.values())
