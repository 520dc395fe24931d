"""Which claims each rule of ours loses, and why. Pure.

A delivery may take a claim only as far as its scope says so (`MayLose`). Explicit causes are a claim's end, an unlink,
the policy, a lock, and consent; what is removed because nothing shown asks for it any more needs more: everything that
could want the rule must have been read, in a live account, and the delivery must not hold it: it counts those removals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from enum import Enum

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import CLAIM_EXPIRED, UNWANTED, Denial
from link_peer.domain.model import Claim, Link, Party, Port, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import HALF_OPEN_SECONDS, created, link_of, moved_end
from link_peer.planning.decision import NOTHING_MISSING, Context, Missing, Unseen, all_missing
from link_peer.planning.verdict.acceptance import closed_by_group, unseen_senders
from link_peer.planning.verdict.answers import Judged, PlanView, WantedClaims, judge_link
from link_peer.planning.verdict.holders import Judgment
from link_peer.planning.verdict.single_link import may_stand
from link_peer.planning.writing import is_admitted_by_people, misplaced, missing_outlets


class May(Enum):
    """How far a delivery may take a claim."""

    KEEP = "keep"  # another delivery's business
    CLOSE = "close"  # for an explicit cause only
    TAKE = "take"  # also when nothing asks for it any more
    BESIDE = "beside"  # for an explicit cause, beside what the delivery is about: a group that it read forbids the rule
    READ = "read"  # as TAKE, once everything that could want the rule's link is read; until then as CLOSE


MayLose = Callable[[Rule, Link, Claim], May]
"""How far a claim may be taken from a rule of a link."""

Hold = Callable[[Mapping[Unseen, int]], Set[Unseen]]
"""Of the removals whose only cause is that something is not shown, counted by what that is, those that are too many."""


def hold_none(_due: Mapping[Unseen, int]) -> Set[Unseen]:
    """All of them are made."""
    return frozenset()


def hold_above(limit: int) -> Hold:
    """None is made where more are due than a limit."""
    return lambda due: {unseen for unseen, count in due.items() if count > limit}


class Loss(msgspec.Struct, frozen=True):
    """The claims that a rule of ours loses, and why."""

    claims: frozenset[Claim]
    denial: Denial
    unseen: frozenset[Unseen] = frozenset()  # set where the only cause is that something is not shown
    by_absence: bool = False  # a read did not show a party, or a tag
    beside: bool = False  # the delivery is about none of them


class Losses(msgspec.Struct, frozen=True):
    """What rules of ours lose in a plan."""

    by_rule: Mapping[RuleKey, Loss]
    freed: frozenset[RuleKey]  # rules that lose every claim, and so are removed
    due: Mapping[Unseen, frozenset[RuleKey]]  # rules that would be removed only because something is not shown
    held_removals: Mapping[Unseen, int]  # how many of these are held back
    missing: Missing = NOTHING_MISSING

    def claims(self, key: RuleKey) -> Set[Claim]:
        """The claims that a rule loses."""
        return self.by_rule[key].claims if key in self.by_rule else frozenset()


class _Cause(msgspec.Struct, frozen=True):
    """Why a claim is removed."""

    denial: Denial | None = None  # None: it is kept
    unseen: frozenset[Unseen] = frozenset()
    by_absence: bool = False
    beside: bool = False
    missing: Missing = NOTHING_MISSING  # what kept it, or would tell more of it


_NO_CAUSE = _Cause()


_Carried = tuple[Party | str, Party, Port, str]
"""A request between two groups, or from an account to an instance, on one port: source, target, port and its id."""


class _Standing(msgspec.Struct, frozen=True):
    """One rule of ours, and all that decides about its claims."""

    view: PlanView
    judged: Judged
    key: RuleKey
    rule: Rule
    link: Link
    carriers: Mapping[_Carried, Mapping[RuleKey, _Cause]] = {}

    @property
    def is_shared(self) -> bool:
        """Whether links of several instances may have the rule, whatever becomes of one of them."""
        return self.key.is_egress and not self.link.target.is_group

    def denied(self, claim: Claim) -> Denial | None:
        """Why a claim of a desired link is denied."""
        return self.judged.denied.get((self.link, claim.request))

    def judgment(self) -> Judgment:
        """The judgment of the rule's link."""
        return self.judged.judgments.get(self.link) or judge_link(self.view, self.link)


def losses(view: PlanView, judged: Judged, wishes: WantedClaims, may_lose: MayLose, hold: Hold = hold_none) -> Losses:
    """What each rule of ours loses, without the removals that are held back."""
    causes: dict[RuleKey, Mapping[Claim, _Cause]] = {}
    carriers: dict[_Carried, dict[RuleKey, _Cause]] = {}  # whose claims egress rules have, with what becomes of them
    for key, (rule, marker) in sorted(view.actual.owned.items(), key=lambda owned: (owned[0].is_egress, owned[0])):
        requests = {claim.request for claim in wishes.get(key, ())}
        unwanted = [claim for claim in marker.claims if claim.request not in requests]
        link = link_of(key, marker)
        standing = _Standing(view, judged, key, rule, link, carriers)
        if (moved := moved_end(view.snapshot, key, link)) and _is_about(judged, link):
            address_changed = _Cause(denials.address_changed(moved.party, moved.ip))
            causes[key] = dict.fromkeys(unwanted, address_changed)
            continue
        may = {claim: may for claim in unwanted if (may := may_lose(rule, link, claim)) is not May.KEEP}
        if may:
            causes[key] = {
                claim: msgspec.structs.replace(_cause(standing, claim, how), beside=how is May.BESIDE)
                for claim, how in may.items()
            }
        for claim in marker.claims if not key.is_egress else ():
            cause = causes.get(key, {}).get(claim, _NO_CAUSE)
            carriers.setdefault(_carried(link, key.port, claim), {})[key] = cause
    due = _due(view, causes)
    held_unseen = hold({unseen: len(keys) for unseen, keys in due.items()})
    losses_by_rule = {key: loss for key, claim_causes in causes.items() if (loss := _loss(claim_causes, held_unseen))}
    missing = [cause.missing for claim_causes in causes.values() for cause in claim_causes.values()]
    return Losses(
        losses_by_rule,
        frozenset(key for key, loss in losses_by_rule.items() if view.actual.claims(key) == loss.claims),
        due,
        {unseen: len(due[unseen]) for unseen in sorted(due.keys() & held_unseen)},
        all_missing([*missing, Missing(unconfirmed=_unconfirmed(view, losses_by_rule))]),
    )


def _is_about(judged: Judged, link: Link) -> bool:
    """Whether the delivery answers for a link of the same pair; an egress rule for one instance belongs to links to
    that instance, too."""
    pairs = (answer.desired_link.link.pair for answer in judged.answers if answer.desired_link.in_scope)
    source, target = link.pair
    is_for_one = link.is_egress and not link.target.is_group
    return any(pair in (link.pair, (target, source)) or (is_for_one and pair[1] == target) for pair in pairs)


def _due(view: PlanView, causes: Mapping[RuleKey, Mapping[Claim, _Cause]]) -> dict[Unseen, frozenset[RuleKey]]:
    """The rules that would be removed, by what is not shown."""
    due: dict[Unseen, set[RuleKey]] = {}
    for key, claim_causes in causes.items():
        ended_claims = {claim for claim, cause in claim_causes.items() if cause.denial}
        if ended_claims == view.actual.claims(key):
            for unseen in {unseen for cause in claim_causes.values() for unseen in cause.unseen}:
                due.setdefault(unseen, set()).add(key)
    return {unseen: frozenset(keys) for unseen, keys in due.items()}


def _unconfirmed(view: PlanView, losses_by_rule: Mapping[RuleKey, Loss]) -> frozenset[Party]:
    """The parties whose absence, or whose missing tag, is why rules lose claims: those that asked, and ends that are
    not shown."""
    parties: set[Party] = set()
    for key, loss in losses_by_rule.items():
        if loss.by_absence:
            link = link_of(key, view.actual.owned[key][1])
            parties |= {*link.askers, *(party for party in link.parties if not _exists(view.snapshot, party))}
    return frozenset(parties)


def _cause(standing: _Standing, claim: Claim, may: May) -> _Cause:
    """Why a claim is taken, if it is."""
    context = standing.view.context
    is_shared = standing.is_shared and standing.view.snapshot.readable(standing.link.target.account)
    if context.withdrawn is not None and may is not May.BESIDE and not is_shared:
        return _Cause(context.withdrawn)
    if context.expired(claim):
        return _Cause(CLAIM_EXPIRED)
    unread = Missing(unread=frozenset({standing.link})) if may is May.READ else NOTHING_MISSING
    if wrong := misplaced(standing.view.snapshot, standing.key, standing.link):
        return _Cause(wrong, missing=unread)
    denial = standing.denied(claim)
    if denial and not (claim.is_tag and _stands_otherwise(standing)):
        cause, missing = _by_denial(standing, claim, denial, may), NOTHING_MISSING
    else:
        judgment = standing.judgment()
        denial, missing = judgment.verdict.denial, judgment.missing
        if claim.request and standing.key in judgment.needs and denial is None:
            half_open = _half_open(standing, judgment.needs) or _uncarried(standing, claim)
            return msgspec.structs.replace(half_open or _NO_CAUSE, missing=missing)
        closed = None if standing.link.source.is_group else _closed_by_group(standing)
        if denial is None and closed and standing.key not in judgment.needs:  # another group of the instance consents
            cause = _Cause(closed)
        elif denial is None or (claim.is_tag and _stands_otherwise(standing)):
            cause = _by_absence(standing, None, may)
        else:
            cause = _by_denial(standing, claim, denial, may)
    return msgspec.structs.replace(cause, missing=all_missing([cause.missing, missing, unread]))


def _stands_otherwise(standing: _Standing) -> bool:
    """Whether a tag asks for the same traffic by another link. Then only the wish for that link decides, and the rule
    is not closed before wishes are read. An instance with a rule by address may be admitted as a member of another of
    its groups, and a mutual link replaces one with ports between the same two once it is open."""
    link, snapshot = standing.link, standing.view.snapshot
    if not link.mutual and frozenset(link.pair) in standing.judged.mutual_pairs:
        return True
    if not link.member or not link.target.is_group or link.represented not in snapshot.instances:
        return False
    context, end = standing.view.context, "target" if link.is_egress else "source"
    alternatives = (
        msgspec.structs.replace(link, **{end: group.party})
        for group in snapshot.groups_of(snapshot.instances[link.represented])
    )
    verdicts = (
        may_stand(snapshot, context.policy, alternative, context.now)
        for alternative in alternatives
        if alternative != link
    )
    return any(verdict.denial is None and standing.key in {need.key for need in verdict.needs} for verdict in verdicts)


def _is_of_unseen(standing: _Standing) -> bool:
    """Whether an egress rule may be for an instance that the policy names and that is not shown."""
    snapshot, policy = standing.view.snapshot, standing.view.context.policy
    return standing.key.is_egress and bool(unseen_senders(snapshot, policy, standing.link.source))


def _by_denial(standing: _Standing, claim: Claim, denial: Denial, may: May) -> _Cause:
    """Why a denied link loses a claim. What the group that holds the rule says is an explicit cause, even where the
    other side is not shown."""
    view, link = standing.view, standing.link
    hidden = denial.unseen or denial.undecided
    if hidden and (closed := _closed_by_group(standing)):
        return _Cause(closed)
    if denial.lacks_consent and _is_of_unseen(standing) and not _closed_by_group(standing):
        denial = denials.no_members(link.source)  # none of those to whom the policy gives consent
    if denial in view.refusals:
        # the cloud's answer to a write says nothing about what it shows
        return _Cause(denial) if _must_roll_back(standing, claim) else _NO_CAUSE
    if denial.undecided:
        return _by_absence(standing, None, may) if _nobody_asks(standing, claim) else _NO_CAUSE
    if denial.empty_group == link.target and claim.is_tag:  # what stands for a tag waits for instances
        return _NO_CAUSE if standing.denied(claim) else _by_absence(standing, None, may)
    return _by_absence(standing, denial, may) if denial.unseen or denial.empty_group else _Cause(denial)


def _closed_by_group(standing: _Standing) -> Denial | None:
    """Why the group that holds the rule does not allow it, if it says so by itself."""
    view = standing.view
    return closed_by_group(view.snapshot, view.context.policy, standing.key, standing.link, view.context.now)


def _nobody_asks(standing: _Standing, claim: Claim) -> bool:
    """Whether a mutual link by tag stands only because an account refuses access: that side does not count as asking,
    and nothing on the other side asks. An account that met a transient error counts as asking until it can be read."""
    snapshot, link = standing.view.snapshot, standing.link
    accounts = {link.source.account, link.target.account}
    hidden = accounts & snapshot.refused_accounts.keys() and not accounts & snapshot.failed_accounts.keys()
    alone = claim.is_tag and link.mutual and standing.denied(claim) is None
    return bool(hidden) and alone and not standing.view.context.hidden_asks


def _by_absence(standing: _Standing, denial: Denial | None, may: May) -> _Cause:
    """Nothing asks for the link any more, or, where it is denied for that, one of its parties is not shown."""
    link, context, snapshot = standing.link, standing.view.context, standing.view.snapshot
    released = sorted(party for party in {*link.parties} & context.deleted if party not in snapshot.instances)
    if denial and released:
        return _Cause(denials.instance_gone(released[0]), by_absence=True)
    if may is not May.TAKE:
        return _NO_CAUSE
    accounts = unseen_accounts(snapshot, context, link, denial)
    if context.by_id and accounts and not _read_by_id(snapshot, link, denial):
        return _NO_CAUSE
    doubted = accounts - snapshot.live_accounts - snapshot.refused_accounts.keys()
    if denial is None:  # who was shown without a tag proves that instances are shown
        doubted &= {asker.account for asker in link.askers if not snapshot.shows_members(asker)}
    if doubted:
        return _Cause(missing=Missing(doubted_accounts=frozenset(doubted)))
    holders = {link.source.account, link.target.account} if link.mutual else {standing.key.group.account}
    holder = "+".join(sorted(holders))
    unseen = frozenset(Unseen(account, holder) for account in accounts)
    return _Cause(denial or UNWANTED, unseen, by_absence=True)


def _half_open(standing: _Standing, needs: Set[RuleKey]) -> _Cause | None:
    """Whether a request's rule is half of a mutual link for good. What a tag wants is completed instead."""
    view, key = standing.view, standing.key
    if not view.context.completes_tags_only:
        return None
    further_keys = sorted(needs - {key} | _outlet_keys(standing))
    missing = [
        further_key
        for further_key in further_keys
        if further_key.group in view.snapshot.rules and further_key not in view.actual
    ]
    if not missing or view.context.now - created(standing.rule) < HALF_OPEN_SECONDS:
        return None
    return _Cause(denials.half_open(missing[0].group))


def _outlet_keys(standing: _Standing) -> set[RuleKey]:
    """The egress rules that a link by address needs, where none of them stands."""
    link, snapshot = standing.link, standing.view.snapshot
    return (
        missing_outlets(snapshot, standing.view.context.policy, link) if link.member and not link.is_egress else set()
    )


def _carried(link: Link, port: Port, claim: Claim) -> _Carried:
    """What an ingress rule of a link carries. Links between instances whose sources are of one account may share an
    egress rule."""
    return link.source if link.target.is_group else link.source.account, link.target, port, claim.request


def _carriers(standing: _Standing, claim: Claim) -> dict[RuleKey, _Cause]:
    """The ingress rules that carry a request's claim on an egress rule, with what becomes of them. Links to a group and
    to the instance share that rule, whichever its marker names."""
    link = standing.link
    targets = {link.target, link.reached, *standing.view.snapshot.groups_with(link.reached)}
    shared = [_carried(Link(link.source, target), standing.key.port, claim) for target in targets]
    return {key: cause for carried in shared for key, cause in standing.carriers.get(carried, {}).items()}


def _uncarried(standing: _Standing, claim: Claim) -> _Cause | None:
    """Why a request's claim leaves an egress rule: no ingress rule from that source to that target carries it any more,
    and no person's rule takes its place."""
    view, key, link = standing.view, standing.key, standing.link
    if claim.is_tag or not key.is_egress:
        return None
    if is_admitted_by_people(view.snapshot, view.context.policy, key.group, link.target, key.port):
        return None
    carriers = _carriers(standing, claim)
    moved_sources = {carrier: source for carrier in carriers if (source := _source_elsewhere(standing, carrier))}
    causes = [cause for carrier, cause in carriers.items() if carrier not in moved_sources]
    if causes:
        return None if any(cause.denial is None for cause in causes) else causes[0]
    if moved_sources:
        return _Cause(denials.left_group(min(moved_sources.values()), key.group))
    unread = [group for group in view.snapshot.groups_with(link.target) if group not in view.snapshot.rules]
    is_known = view.snapshot.readable(link.target.account) and not unread
    is_young = view.context.now - created(standing.rule) < HALF_OPEN_SECONDS
    if not is_known or is_young or not view.context.completes_tags_only:
        return None
    return _Cause(denials.half_open(link.target))


def _source_elsewhere(standing: _Standing, carrier: RuleKey) -> Party | None:
    """The instance that an ingress rule admits, where it has left the group of the egress rule and so no longer needs
    it."""
    snapshot, owned = standing.view.snapshot, standing.view.actual.owned
    source = snapshot.instances.get(link_of(carrier, owned[carrier][1]).source)
    return source.party if source and standing.key.group not in source.own_groups else None


def _must_roll_back(standing: _Standing, claim: Claim) -> bool:
    """Whether a rule of a link that could not be written must go: what this delivery wrote, half of a mutual link, and
    what an earlier delivery of the same request wrote at one end. What only could not grow stays as it was, port by
    port; so does a complete link of which only a repair was refused."""
    view, key = standing.view, standing.key
    for link, refusal in view.refused.items():
        needs = standing.judged.needs(link)
        half = link.mutual and not all(need in view.actual for need in needs)
        ends = [need for need in needs if need.port == key.port]
        complete = all(need in view.actual.equal or claim in view.actual.claims(need) for need in ends)
        # one call writes a link by address, or nothing: what stands of one stood before an instance joined
        in_part = view.context.is_request and not complete and not standing.link.member
        if key in needs and (half or in_part or (key, claim) in refusal.partial):
            return True
    return False


def _loss(causes: Mapping[Claim, _Cause], held_unseen: Set[Unseen]) -> Loss | None:
    """What a rule loses, without what is held back. An explicit cause is reported before the others."""
    ended_causes = {claim: cause for claim, cause in causes.items() if cause.denial and not cause.unseen & held_unseen}
    if not ended_causes:
        return None
    first = min(ended_causes.values(), key=lambda cause: bool(cause.unseen))
    unseen = frozenset(unseen for cause in ended_causes.values() for unseen in cause.unseen)
    by_absence = any(cause.by_absence for cause in ended_causes.values())
    beside = all(cause.beside for cause in ended_causes.values())
    return Loss(frozenset(ended_causes), first.denial or UNWANTED, unseen, by_absence, beside)


def unseen_accounts(snapshot: Snapshot, context: Context, link: Link, denial: Denial | None) -> set[str]:
    """The accounts whose showing nothing is the only reason to remove a link's rule. For a denial, the accounts of
    parties that are not shown; for a link that nothing asks for, those of askers that are not shown, or whose instances
    are shown without any tags. An instance that an event reports as released counts as shown."""
    if denial is not None and denial.empty_group:
        missing = [denial.empty_group]
    elif denial is not None:
        missing = [party for party in link.parties if not _exists(snapshot, party)]
        missing = missing or [p for p in link.parties if not p.is_group and not snapshot.instances[p].ip]
    else:
        missing = [party for party in link.askers if not _shown_with_tags(snapshot, party)]
    return {party.account for party in missing if party not in context.deleted} & context.policy.accounts.keys()


def _read_by_id(snapshot: Snapshot, link: Link, denial: Denial | None) -> bool:
    """Whether reads by id can tell that a party of a link is absent. That nobody asks, or that a group has no
    instances, only listings can tell."""
    missing = [party for party in link.parties if not _exists(snapshot, party)]
    is_read = all(party in snapshot.requested and snapshot.readable(party.account) for party in missing)
    return denial is not None and not denial.empty_group and is_read


def _exists(snapshot: Snapshot, party: Party) -> bool:
    """Whether the cloud shows the party; an instance with all of its groups."""
    if party.is_group:
        return party in snapshot.groups
    instance = snapshot.instances.get(party)
    return instance is not None and len(snapshot.groups_of(instance)) == len(instance.groups)


def _shown_with_tags(snapshot: Snapshot, party: Party) -> bool:
    return snapshot.shows_members(party) and snapshot.shows_tags(party.account)
