"""The answers to all desired links of a plan. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import CLAIM_EXPIRED, Denial
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Claim, Link, Party, Port, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import covers
from link_peer.planning.actual import HALF_OPEN_SECONDS, Actual, created, link_of
from link_peer.planning.consent import beyond_limits
from link_peer.planning.decision import (
    NOTHING_MISSING,
    Context,
    DesiredLink,
    Ends,
    Missing,
    Refusal,
    RulesOf,
    Verdict,
    all_missing,
)
from link_peer.planning.guardrails import forbidden
from link_peer.planning.verdict.holders import Judgment, first_difference, with_holders
from link_peer.planning.verdict.single_link import may_stand, several_uncounted, uncounted
from link_peer.planning.writing import MAX_RULES, missing_outlets


class PlanView(msgspec.Struct, frozen=True):
    """What all steps of a plan start from. `refused` are links that the cloud has just refused to write, or that have
    no room."""

    snapshot: Snapshot
    context: Context
    actual: Actual
    refused: Mapping[Link, Refusal] = {}

    @property
    def refusals(self) -> set[Denial]:
        """Why links were refused."""
        return {refusal.denial for refusal in self.refused.values()}


class Answer(msgspec.Struct, frozen=True):
    """Whether a desired link is granted, and why not. A link to the instance's own group needs no rule, and so no
    verdict."""

    desired_link: DesiredLink
    verdict: Verdict | None
    denial: Denial | None


class Judged(msgspec.Struct, frozen=True, dict=True):
    """The answers to all desired links, in canonical order, and the judgments that they and the refused links rest on.
    The last answers are those about single rules that stand for wishes which are denied as a whole (`rule_answers`)."""

    answers: tuple[Answer, ...]
    judgments: Mapping[Link, Judgment]
    rule_answers: tuple[Answer, ...] = ()
    missing: Missing = NOTHING_MISSING

    def needs(self, link: Link) -> Set[RuleKey]:
        """The rules that a link needs, with all of its parts."""
        return self._needs.get(link, frozenset())

    @functools.cached_property
    def _needs(self) -> Mapping[Link, Set[RuleKey]]:
        needs: dict[Link, set[RuleKey]] = {}
        for link, judgment in self.judgments.items():
            needs.setdefault(link.whole, set()).update(judgment.needs)
        return needs

    @functools.cached_property
    def mutual_pairs(self) -> Set[frozenset[Party]]:
        """The two of each mutual link that tags ask for and that is granted."""
        granted_links = (answer.desired_link for answer in self.answers if answer.denial is None)
        return {frozenset(d.link.pair) for d in granted_links if d.link.mutual and d.claim.is_tag and not d.same_group}

    @functools.cached_property
    def denied(self) -> Mapping[tuple[Link, str], Denial]:
        """Why claims are denied, by the link of one rule and request id: also where the rules of a link are not known,
        since an account cannot be read. Of several denials of one claim, one that decides nothing counts: somebody
        asks."""
        denial_by_claim: dict[tuple[Link, str], Denial] = {}
        for answer in self.answers:
            if answer.denial is not None:
                for link in _single(answer.desired_link.link):
                    claimed_link = link, answer.desired_link.claim.request
                    denial_by_claim[claimed_link] = (
                        answer.denial if answer.denial.undecided else denial_by_claim.get(claimed_link, answer.denial)
                    )
        for answer in self.rule_answers:  # what is said of the rule by itself
            claimed_link = answer.desired_link.link, answer.desired_link.claim.request
            if answer.denial and claimed_link in denial_by_claim and not denial_by_claim[claimed_link].undecided:
                denial_by_claim[claimed_link] = answer.denial
        return denial_by_claim


WantedClaims = Mapping[RuleKey, frozenset[Claim]]
"""The claims that want each rule which may exist."""


def judge(view: PlanView, links: Iterable[DesiredLink]) -> Judged:
    """Answers every desired link; of a mutual one, an instance whose account refuses access does not count as asking.
    Where instances with one address need the same rule, it is given to the one for which it stands, unless that has
    another address now; else to the links for which some rule stands, then by order of links."""
    refused = view.snapshot.refused_accounts
    asking = (w for w in links if not (w.link.mutual and w.instance and w.instance.account in refused))
    ordered = sorted(asking, key=_order)
    links_to_judge = dict.fromkeys(desired.link for desired in ordered if not desired.same_group)
    unasked = view.refused.keys() - {link.whole for link in links_to_judge}
    judgments = {link: judge_link(view, link) for link in [*links_to_judge, *unasked]}
    own_groups = {
        w.link.target: _own_group(view.snapshot, w.link.target) for w in ordered if w.same_group and w.in_scope
    }

    def denial(desired: DesiredLink) -> Denial | None:
        if desired.same_group:
            return own_groups[desired.link.target][0] if desired.in_scope else None
        late = _claim_denial(view, desired, judgments[desired.link])
        barred = wish_denial(view.snapshot, view.context.policy, desired)
        return barred or (beyond_limits(view.context.policy, desired.link.ports) if desired.opens else None) or late

    first = _both_ends(view.actual, [(desired, denial(desired)) for desired in ordered])
    granted = dict.fromkeys(desired.link for desired, refusal in first if refusal is None and not desired.same_group)
    conflicts = _taken_by_others(view.actual, [judgments[link].verdict for link in granted])
    accepted = [desired for desired, refusal in first if refusal is None]
    of_claims = {**_unfollowed(view.actual, judgments, accepted), **too_many(view, accepted)}
    final = _both_ends(
        view.actual,
        [
            (desired, refusal or conflicts.get(desired.link) or of_claims.get((desired.link, desired.claim)))
            for desired, refusal in first
        ],
    )
    answers = [
        Answer(desired, None if desired.same_group else judgments[desired.link].verdict, refusal)
        for desired, refusal in final
    ]
    standing = _standing_for(view, answers)
    judgments |= {wish.link: judge_link(view, wish.link) for wish in standing if wish.link not in judgments}
    rule_answers = [Answer(wish, judgments[wish.link].verdict, denial(wish)) for wish in standing]
    missing = [*(judgment.missing for judgment in judgments.values()), *(missing for _, missing in own_groups.values())]
    missing += [_unread_peer(view, desired) for desired, _ in first]
    missing += [
        Missing(questions=uncounted(view.snapshot, desired.denied) | several_uncounted(view.snapshot, desired.link))
        for desired, refusal in first
        if desired.in_scope and refusal and refusal.owners
    ]
    return Judged((*answers, *rule_answers), judgments, tuple(rule_answers), all_missing(missing))


def _unread_peer(view: PlanView, desired: DesiredLink) -> Missing:
    """What to read of a peer that is one too many: where rules stand for it, it counts before those for which none
    do."""
    peer, snapshot = desired.link.target, view.snapshot
    if not (desired.in_scope and desired.denial and desired.denial.by_limit and peer.is_group):
        return NOTHING_MISSING
    may_be_read = peer.account in view.context.policy.accounts and snapshot.readable(peer.account)
    may_have_rules = peer not in snapshot.groups or snapshot.groups[peer].may_have_rules
    is_unread = may_be_read and may_have_rules and peer not in snapshot.rules
    return Missing(questions=frozenset({RulesOf(peer)} if is_unread else ()))


def _claim_denial(view: PlanView, desired: DesiredLink, judgment: Judgment) -> Denial | None:
    """Why a claim may not have the rules of its link: it has ended, the link is denied, or one of the rules carries the
    same request with another end, for a link of another pair."""
    claim, owned = desired.claim, view.actual.owned
    if view.context.expired(claim):
        return CLAIM_EXPIRED
    for key in sorted(judgment.needs & owned.keys()) if view.context.is_request and not claim.is_tag else ():
        if any(standing.request == claim.request and standing != claim for standing in owned[key][1].claims):
            return judgment.verdict.denial or denials.id_of_a_shared_rule(claim.request, key.group)
    return judgment.verdict.denial


def _standing_for(view: PlanView, answers: Iterable[Answer]) -> list[DesiredLink]:
    """For each wish that is denied, the links of those rules of ours that stand for its claim, on ports that it asks
    for: a denial closes nothing by itself. None where the wish is over, or where a refusal of the cloud decides what is
    rolled back."""
    wishes: dict[tuple[Link, Claim], DesiredLink] = {}
    for answer in answers:
        desired, denial = answer.desired_link, answer.denial
        if denial is None or desired.same_group or (desired.denial and not desired.denial.keeps_standing):
            continue
        decided = set() if denial.keeps_standing else {desired.link}
        decided |= {*_single(desired.link)} if denial in view.refusals else set()
        asked_for = [
            (key, link)
            for key, link, marker in view.actual.owned_by_target.get(desired.link.target, ())
            if any(claim.request == desired.claim.request for claim in marker.claims) and link not in decided
            if asks_for(view.snapshot, desired, link)
        ]
        admitted = {link.ports for _, link in asked_for if not link.is_egress}
        changes = {"denial": None, "opens": False, "in_scope": False, "passed": (), "denied": ()}
        if desired.link.mutual and denial.keeps_standing and answer.verdict:  # both halves, or none
            keys = [need.key for need in answer.verdict.needs]
            if all(desired.claim in view.actual.claims(key) for key in keys):
                wishes[desired.link, desired.claim] = msgspec.structs.replace(desired, **changes)
        for key, link in asked_for:
            if link.is_egress and link.ports not in admitted and _lets_out_others(view, desired, key):
                continue
            wish = msgspec.structs.replace(desired, link=link, **changes)
            if _is_shut_in(view, key, link):
                wish = msgspec.structs.replace(wish, denial=denials.half_of_denied(link.source, denial))
            first = wishes.setdefault((link, desired.claim), wish)
            if first is not wish and wish_denial(view.snapshot, view.context.policy, first):
                wishes[link, desired.claim] = wish  # what is refused to one instance may not be to another
    return list(wishes.values())


def _lets_out_others(view: PlanView, desired: DesiredLink, key: RuleKey) -> bool:
    """Whether an egress rule, beside which no ingress rule of ours admits the instance that asks, is only for others of
    its group: no rule of a person admits it either, and the egress rule is not so young that the ingress rule may not
    be shown yet."""
    asker = view.snapshot.instances.get(desired.instance) if desired.instance else None
    if asker is None or not desired.link.target.is_group:
        return False
    if RuleKey(desired.link.target, f"{asker.ip}/32", "", key.port) in view.actual.equal:
        return False
    return view.context.now - created(view.actual.owned[key][0]) >= HALF_OPEN_SECONDS


def _is_shut_in(view: PlanView, key: RuleKey, link: Link) -> bool:
    """Whether nothing lets out any more whom an ingress rule by address admits. Beside a young one, the egress rule may
    not be shown yet."""
    if not link.member or link.is_egress or view.context.now - created(view.actual.owned[key][0]) < HALF_OPEN_SECONDS:
        return False
    return bool(missing_outlets(view.snapshot, view.context.policy, link))


def asks_for(snapshot: Snapshot, desired: DesiredLink, rule_link: Link) -> bool:
    """Whether a wish asks for the link of one rule, by itself: on all ports of the rule, between the same two. Of an
    instance's tag, whichever of its groups stands for it. A wish without ports asks for every port, and a rule without
    ports is half of a link that is judged whole. The egress rule of a link between instances is that of the group of
    the one that asks."""
    link = desired.link
    if rule_link.mutual or rule_link.target != link.target or not covers(link.ports, rule_link.ports[0]):
        return False
    asker = snapshot.instances.get(desired.instance) if desired.instance else None
    if asker and not link.source.is_group and rule_link.is_egress:
        return rule_link.source in asker.own_groups
    if asker is None or not link.source.is_group:
        return (rule_link.source, rule_link.member, rule_link.is_egress) == (link.source, link.member, link.is_egress)
    is_own = rule_link.is_egress or not rule_link.member or rule_link.asker == asker.party
    return rule_link.source in asker.own_groups and is_own


def _both_ends(
    actual: Actual, answers: Sequence[tuple[DesiredLink, Denial | None]]
) -> list[tuple[DesiredLink, Denial | None]]:
    """The answers where both ends of a link by address are asked for, and one is denied as a whole: then so is the
    other, unless rules of ours stand at the one that is denied, which instances join."""
    by_end = grouped(
        ((desired.link.side, desired.claim), refusal) for desired, refusal in answers if desired.link.member
    )
    closed = {end: refusals[0] for end, refusals in by_end.items() if all(refusals)}
    if not any(side.is_egress for side, _ in by_end) or not closed:
        return list(answers)
    standing = {link_of(key, marker).side for key, (_, marker) in actual.owned.items() if key.is_egress}

    def opposite_denial(desired: DesiredLink) -> Denial | None:
        side = desired.link.side
        opposite = msgspec.structs.replace(side, is_egress=not side.is_egress)
        ports = (msgspec.structs.replace(opposite, ports=(port,)) for port in side.ports)
        joins = opposite.is_egress and any(one_port in standing for one_port in ports)
        return None if joins or not desired.link.member else closed.get((opposite, desired.claim))

    return [(desired, refusal or opposite_denial(desired)) for desired, refusal in answers]


def wish_denial(snapshot: Snapshot, policy: Policy, desired: DesiredLink) -> Denial | None:
    """Why a wish is denied whatever stands for its link: for what it says, or since a refusal or `never` forbids it to
    the instance that asks, which is judged with all its groups. Of another instance of its group, the same link may be
    opened."""
    if desired.denial or not desired.instance:
        return desired.denial
    return forbidden(snapshot, policy, desired.instance, desired.link.target, desired.link.ports)


def judge_link(view: PlanView, link: Link) -> Judgment:
    """The verdict on a link by the snapshot, but for room and limits. One that was refused is denied."""
    verdict = may_stand(view.snapshot, view.context.policy, link, view.context.now)
    if verdict.denial is None and link.whole in view.refused:
        verdict = msgspec.structs.replace(verdict, denial=view.refused[link.whole].denial)
    return with_holders(view.snapshot, view.context, view.actual, verdict)


def wanted_claims(answers: Iterable[Answer], actual: Actual) -> WantedClaims:
    """What the answers want of each rule. A claim that is only read from a rule keeps that rule and opens none."""
    claims_by_rule: dict[RuleKey, set[Claim]] = {}
    for answer in answers:
        desired = answer.desired_link
        for need in answer.verdict.needs if answer.verdict and answer.denial is None else ():
            if desired.opens or desired.claim in actual.claims(need.key):
                claims_by_rule.setdefault(need.key, set()).add(desired.claim)
    return {key: _one_per_request(claims) for key, claims in claims_by_rule.items()}


def _single(link: Link) -> list[Link]:
    """The link of each of its rules."""
    if link.mutual:
        return [link, Link(link.target, link.source)]
    return [msgspec.structs.replace(link, ports=(port,)) for port in link.ports]


def _order(desired: DesiredLink) -> tuple[object, ...]:
    """The canonical order of desired links. Who is admitted comes before who is let out for it."""
    claim, asker = desired.claim, str(desired.instance)
    detail = desired.denial.detail if desired.denial else ""
    return (
        desired.link.whole,
        desired.link.is_egress,
        desired.link,
        desired.raw,
        asker,
        desired.tag,
        claim.request,
        str(claim.until),
        desired.opens,
        detail,
    )


def _taken_by_others(actual: Actual, granted: Iterable[Verdict]) -> dict[Link, Denial]:
    """The links that are denied because an instance with the same address is granted one of their rules."""

    def stands(verdict: Verdict) -> bool:
        owned = ((need.ends, actual.owned[need.key]) for need in verdict.needs if need.key in actual.owned)
        return any(ends and ends == marker.ends for ends, (_, marker) in owned)

    holders: dict[RuleKey, Ends] = {}
    denied: dict[Link, Denial] = {}
    for verdict in sorted(granted, key=lambda granted_verdict: (not stands(granted_verdict), granted_verdict.link)):
        ends_by_rule = {need.key: need.ends for need in verdict.needs if need.ends}
        differences = (first_difference(holders[key], ends) for key, ends in ends_by_rule.items() if key in holders)
        if holder := next(filter(None, differences), None):
            denied[verdict.link] = denials.address_of_another(verdict.link.represented, holder)
        else:
            holders |= {key: ends for key, ends in ends_by_rule.items() if key not in holders}
    return denied


def _unfollowed(
    actual: Actual, judgments: Mapping[Link, Judgment], granted: Iterable[DesiredLink]
) -> dict[tuple[Link, Claim], Denial]:
    """The parts of requested links by address whose rule stands for a request of another group of the instance, or is
    given to one. A request's claim is followed by the members of the group in the marker, so that a rule is for the
    requests of one."""
    holders: dict[RuleKey, Party] = {}
    denied: dict[tuple[Link, Claim], Denial] = {}
    for desired in granted:
        link = desired.link
        if not link.member or desired.claim.is_tag:
            continue
        keys, given_up = judgments[link].needs, judgments[link].restated | judgments[link].moved
        for key in sorted(keys - given_up):
            marker = actual.owned[key][1] if key in actual.owned else None
            if marker and marker.ends and marker.is_followed:
                holders.setdefault(key, marker.ends[1])
        group = link.followed
        if holder := next((holders[key] for key in sorted(keys) if holders.get(key, group) != group), None):
            denied[link, desired.claim] = denials.rule_of_another_group(link.represented, holder)
        else:
            holders |= dict.fromkeys(keys, group)
    return denied


def too_many(view: PlanView, granted: Iterable[DesiredLink]) -> dict[tuple[Link, Claim], Denial]:
    """The parts of links by address that are denied because a link has too many. Those that stand stay, and others join
    them in order of their instances as long as there is room; of a link of which none stands, all are denied or
    none."""
    by_end = grouped((desired.link.side, desired) for desired in granted if desired.link.member)
    standing = _standing_members(view.actual) if by_end else {}
    requested_ports = _requested_ports(view.actual) if by_end else {}
    denied: dict[tuple[Link, Claim], Denial] = {}
    for whole, desired_links in by_end.items():
        one_port = (msgspec.structs.replace(whole, ports=(port,)) for port in whole.ports)
        present_members = {member for side in one_port for member in standing.get(side, ())}
        member_links = sorted({desired.link for desired in desired_links})
        new = [member_link for member_link in member_links if member_link.member not in present_members]
        for claim, links in grouped((desired.claim, desired.link) for desired in desired_links).items():
            ports = {*whole.ports, *requested_ports.get((msgspec.structs.replace(whole, ports=()), claim), ())}
            limit = most_members(view.context.policy, len(ports))
            room = limit - len(present_members)
            if len(new) > room:
                late = new[max(room, 0) :] if present_members else new
                denial = denials.too_many_members(len(present_members) + len(new), limit)
                denied |= dict.fromkeys(((link, claim) for link in late if link in {*links}), denial)
    return denied


def most_members(policy: Policy, ports: int) -> int:
    """How many instances a link by address on so many ports may have: as the policy says, and as one call can write."""
    return min(policy.limits.max_members, MAX_RULES // max(1, ports))


def _requested_ports(actual: Actual) -> dict[tuple[Link, Claim], set[Port]]:
    """The ports of each request's link by address, by one end of it without ports: who joins asks for one port at a
    time."""
    ports: dict[tuple[Link, Claim], set[Port]] = {}
    for key, (_, marker) in actual.owned.items():
        link = link_of(key, marker)
        end = msgspec.structs.replace(link.side, ports=())
        for claim in marker.claims if link.member else ():
            if not claim.is_tag:
                ports.setdefault((end, claim), set()).update(link.ports)
    return ports


def _standing_members(actual: Actual) -> dict[Link, set[str]]:
    """The instances for which rules by address stand, by one end of a link on one port."""
    links = (link_of(key, marker) for key, (_, marker) in actual.owned.items())
    return {
        side: set(members)
        for side, members in grouped((link.side, link.member) for link in links if link.member).items()
    }


def _own_group(snapshot: Snapshot, party: Party) -> tuple[Denial | None, Missing]:
    """Why the members of an instance's own group do not reach each other, if they do not; and what is missing to say
    so."""
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
    claims_by_request: dict[str, Claim] = {}
    for claim in sorted(claims, key=lambda claim: (claim.request, claim.until is None, claim.until or 0)):
        claims_by_request.setdefault(claim.request, claim)
    return frozenset(claims_by_request.values())
