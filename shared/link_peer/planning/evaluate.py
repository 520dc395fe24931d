"""The one verdict on a link, which plan, tests, advice, adoption and the look right before a write all read. Pure.

tag of an instance  ─┐
request             ─┼─▶ desired link (a link and a claim) ─▶ judge ─▶ Answer: the rules it needs, or a denial
claims on our rules ─┘

| denial by …     | decided by                                                                                    |
|-----------------|-----------------------------------------------------------------------------------------------|
| the policy      | its accounts, ports and limits                                                                |
| access          | an account that refuses it, or could not be read                                              |
| what a party is | it exists, in a VPC, in a group that takes rules; two groups in one VPC                       |
| a refusal       | the tags of all groups of either end                                                          |
| a lock          | the tags of the groups that hold the rules                                                    |
| consent         | the tags of those groups, and the policy                                                      |
| the address     | private, in the account's ranges, and in the target's VPC nobody else's                       |
| another holder  | the markers of the rules that stand: two instances with one address cannot share a rule       |
| room            | the limits of a group, and of a rule's description: `planning.room`                           |

`permitted` asks all but the last two. A rule that stands takes its room already, so that a full group closes nothing: a plan
asks for room last, when it knows what it removes.

`judge` answers all desired links of a plan together. Nothing here depends on the order in which links, groups or instances are
given.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TypeVar

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import CLAIM_EXPIRED, Denial
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, TAG, Claim, Group, Instance, Link, Marker, Party, Port, Ports, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.domain.tags import TagKeys, covers
from link_peer.planning.actual import HALF_OPEN_SECONDS, Actual, actual_state, created, link_of
from link_peer.planning.authority import unknown_account
from link_peer.planning.consent import Gate, beyond_limits, consent_to, consents, forbidden_ports, groups_named_at
from link_peer.planning.decision import (
    NOTHING_MISSING,
    Context,
    DesiredLink,
    InstancesOf,
    MembersOf,
    Missing,
    Need,
    Question,
    Refusal,
    RulesOf,
    Verdict,
    all_missing,
)
from link_peer.planning.effect import inside
from link_peer.planning.guardrails import forbidden, with_sets
from link_peer.planning.room import no_room_for_link
from link_peer.planning.writing import (
    MAX_RULES,
    by_reference,
    is_let_out,
    is_ours,
    may_be_let_out,
    missing_outlets,
    needs_outlet,
    not_written,
    outward,
    part,
    parts,
)

# [RFC 1918, RFC 6598] A VPC may have other ranges too, by custom range (help page 65398).
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


Ends = tuple[Party, Party]
"""For whom a rule by address stands, as in its marker."""


class Judgment(msgspec.Struct, frozen=True):
    """The verdict on a link except for room: it does not depend on who asks. `moved` are those of its rules that stand for other instances,
    which have other addresses now; `restated` those that stand for the same instance as a member of a group for which it may
    not be admitted any more."""

    verdict: Verdict
    moved: frozenset[RuleKey] = frozenset()
    restated: frozenset[RuleKey] = frozenset()
    missing: Missing = NOTHING_MISSING

    @property
    def needs(self) -> set[RuleKey]:
        """The rules that the link needs."""
        return {need.key for need in self.verdict.needs}


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

    desired_link: DesiredLink
    verdict: Verdict | None
    denial: Denial | None


class Judged(msgspec.Struct, frozen=True, dict=True):
    """The answers to all desired links, in canonical order, and the judgments that they and the refused links rest on. The last
    answers are those about single rules that stand for wishes which are denied as a whole (`rule_answers`)."""

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
        """Why claims are denied, by the link of one rule and request id: also where the rules of a link are not known, since an
        account cannot be read. Of several denials of one claim, one that decides nothing counts: somebody asks."""
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


Wanted = Mapping[RuleKey, frozenset[Claim]]
"""The claims that want each rule which may exist."""


def evaluate(
    snapshot: Snapshot,
    context: Context,
    link: Link,
    claims: Set[Claim] = frozenset({TAG}),
    *,
    taken_over: Set[RuleKey] = frozenset(),
) -> Verdict:
    """Whether a link may exist as things are now, beside the rules that stand, if each of its rules is to carry `claims`.

    Where several checks fail, the first one is reported. `taken_over` are rules of other instances that a plan found to have
    other addresses.
    """
    verdict = permitted(snapshot, context.policy, link, context.now)
    if verdict.denial is not None:
        return verdict
    keys = {need.key for need in verdict.needs}
    if unread := _unread_rules(snapshot, keys):
        return _undecided(verdict, f"the rules of {unread[0].group.id}", unread[0].group.account, unread)
    standing = {key.group: tuple(r for r in snapshot.rules.get(key.group, ()) if r.key in keys) for key in keys}
    actual = actual_state(msgspec.structs.replace(snapshot, rules=standing), context.policy, context.region)
    judgment = with_holders(snapshot, context, actual, verdict, taken_over)
    if unseen := sorted({end for party in judgment.missing.unread for end in party.parties if not end.is_group}):
        return _undecided(verdict, f"instance {unseen[0].id}, whose rule stands", unseen[0].account, unseen)
    if judgment.verdict.denial is not None:
        return judgment.verdict
    full = no_room_for_link(snapshot, context, actual, verdict.needs, claims, judgment.moved | taken_over)
    return msgspec.structs.replace(verdict, denial=full)


def with_holders(
    snapshot: Snapshot, context: Context, actual: Actual, verdict: Verdict, taken_over: Set[RuleKey] = frozenset()
) -> Judgment:
    """The verdict where a rule that stands belongs to other instances with the same addresses, if one does."""
    missing = [Missing(questions=frozenset(verdict.open_questions))]
    moved: set[RuleKey] = set()
    restated: set[RuleKey] = set()
    for need in verdict.needs if verdict.denial is None else ():
        holder = _other_holder(actual, need)
        if need.key in taken_over:
            continue
        if holder is None:
            denial, questions = _standing_denial(snapshot, context, actual, need, verdict.link.ports)
            missing.append(questions)
            if denial is not None:
                restated.add(need.key)
            continue
        moved_away, questions = _have_moved(snapshot, context, need.key, actual.owned[need.key][1])
        missing.append(questions)
        if not moved_away:
            denial = denials.address_of_another(verdict.link.followed, holder)
            verdict = msgspec.structs.replace(verdict, denial=denial)
            break
        moved.add(need.key)
    return Judgment(verdict, frozenset(moved), frozenset(restated), all_missing(missing))


def _standing_denial(
    snapshot: Snapshot, context: Context, actual: Actual, need: Need, ports: Ports
) -> tuple[Denial | None, Missing]:
    """Why the rule of an instance's address may not stand for another group of it, for which it does: the instance left that group,
    or the group does not accept it any more. Where tags alone ask for it, it is judged with all `ports` of the link that needs it,
    whose rules are to name one group. What is missing to say so is read before anything joins the rule, whose marker keeps naming
    that group."""
    marker = actual.owned[need.key][1] if need.key in actual.owned else None
    if marker is None or marker.ends == need.ends:
        return None, NOTHING_MISSING
    standing_link = link_of(need.key, marker)
    if ports and not marker.is_followed:
        standing_link = msgspec.structs.replace(standing_link, ports=ports)
    verdict = may_stand(snapshot, context.policy, standing_link, context.now)
    if verdict.denial is not None and verdict.denial.undecided:
        return None, Missing(questions=frozenset(verdict.open_questions))
    return verdict.denial, NOTHING_MISSING


def _other_holder(actual: Actual, need: Need) -> Party | None:
    """The other instance for which a rule of ours stands. Two instances with one address cannot be told apart by a /32: the
    one that the rule was written for keeps it."""
    owned = actual.owned.get(need.key)
    return first_difference(owned[1].ends or (), need.ends or ()) if owned else None


def first_difference(holder: Sequence[Party], ends: Sequence[Party]) -> Party | None:
    """The instance in which two pairs differ, of the first. Which group an instance stands for is no difference, nor whether it stands
    for itself: the rule of an address serves all of these links."""
    return next(
        (end for end, ours in zip(holder, ends, strict=True) if end != ours and not (end.is_group or ours.is_group)),
        None,
    )


def _have_moved(snapshot: Snapshot, context: Context, key: RuleKey, marker: Marker) -> tuple[bool, Missing]:
    """Whether the instances that an instance rule was written for have other addresses now, or do not exist; and what is
    missing to say so. False where they were not read. An account that shows instances is taken at its word that one does not
    exist."""
    old = link_of(key, marker)
    ends = {end for end in old.parties if not end.is_group}
    if not ends <= snapshot.requested:
        return False, Missing(unread=frozenset({old}))
    if needs := may_stand(snapshot, context.policy, old, context.now).needs:
        return key not in {need.key for need in needs}, NOTHING_MISSING
    absent = {end for end in ends if end not in snapshot.instances}
    if not absent or not all(snapshot.readable(end.account) for end in ends):
        return False, NOTHING_MISSING
    absent -= context.deleted
    doubted = {end.account for end in absent} - snapshot.live_accounts
    return not doubted, Missing(doubted_accounts=frozenset(doubted), unconfirmed=frozenset(absent))


def _unread_rules(snapshot: Snapshot, keys: Set[RuleKey]) -> tuple[RulesOf, ...]:
    """The groups of a link's rules whose rules were not read."""
    groups = sorted({key.group for key in keys if key.group not in snapshot.rules})
    return tuple(RulesOf(group) for group in groups if snapshot.groups[group].may_have_rules)


def _undecided(verdict: Verdict, subject: str, account: str, questions: Sequence[Question]) -> Verdict:
    denial = denials.unreadable(account, subject)
    return msgspec.structs.replace(verdict, denial=denial, open_questions=tuple(questions))


# but for room, and what other rules there are


class _Side(msgspec.Struct, frozen=True):
    """One end of a link by address: `group` is given a rule for the address of `instance`.

    The rule lets it reach `peer`, or the whole `group` where that is the group for which the instance stands. Of an egress rule
    (`is_egress`), the group's instances reach it, and `peer` is the group for which it stands, or the instance again."""

    group: Group
    instance: Instance
    peer: Instance | Party
    is_egress: bool = False

    @property
    def vpc(self) -> str:
        """The VPC in which the address counts."""
        return self.peer.vpc if isinstance(self.peer, Instance) and not self.is_egress else self.group.vpc

    def needs(self, ports: Sequence[Port]) -> tuple[Need, ...]:
        """A rule for each port."""
        peer, address = self.peer, f"{self.instance.ip}/32"
        dest, party = (f"{peer.ip}/32", peer.party) if isinstance(peer, Instance) else ("", peer)
        traffic = ("", address) if self.is_egress else (address, dest)
        key = RuleKey(self.group.party, *traffic, ALL)
        return tuple(Need(msgspec.structs.replace(key, port=port), (self.instance.party, party)) for port in ports)


def permitted(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link may be opened as things are now. Where several checks fail, the first one is reported."""
    denial = beyond_limits(policy, link.ports)
    if denial is None:
        return may_stand(snapshot, policy, link, now)
    return Verdict(link, _group_needs(link) if link.source.is_group and not link.member else (), denial)


def may_stand(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link that exists may go on as things are now: as `permitted`, but for the policy's limits, which close nothing. A
    snapshot remembers the verdict: all steps of a plan ask for it."""
    memory = snapshot.memory(policy)
    if (link, now) not in memory:
        memory[link, now] = _lasting_verdict(snapshot, policy, link, now)
    verdict: Verdict = memory[link, now]
    return verdict


def _lasting_verdict(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The verdict, which an earlier snapshot may remember for the same two groups: one by reference depends on nothing else."""
    source, target = snapshot.groups.get(link.source), snapshot.groups.get(link.target)
    if link.member or not source or not target or not by_reference(source, target):
        return _verdict(snapshot, policy, link, now)
    memory, parts_of_snapshot = snapshot.lasting_memory(policy), (now, source, target, no_access(snapshot, link))
    if link not in memory or memory[link][0] != parts_of_snapshot:
        memory[link] = parts_of_snapshot, _verdict(snapshot, policy, link, now)
    verdict: Verdict = memory[link][1]
    return verdict


def _verdict(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    needs = _group_needs(link) if link.source.is_group and not link.member else ()
    denial = unknown_account(policy, link) or forbidden_ports(policy, link.ports)
    denial = denial or barred(snapshot, policy, link) or no_access(snapshot, link)
    if denial:
        return Verdict(link, needs, denial)
    policy = with_sets(snapshot, policy, link)
    if link.source.is_group and not link.target.is_group:
        verdict = _not_read_yet(snapshot, link) or _evaluate_outlet_to_instance(snapshot, policy, link, now)
    elif link.source.is_group:
        verdict = _evaluate_groups(snapshot, policy, link, needs, now)
    else:
        verdict = _not_read_yet(snapshot, link) or _evaluate_instances(snapshot, policy, link, now)
    return verdict if verdict.denial else _with_all_groups(snapshot, verdict)


def _with_all_groups(snapshot: Snapshot, verdict: Verdict) -> Verdict:
    """The verdict on a link that is granted, as long as all groups of its instances are known: any of them may refuse it."""
    for end in (verdict.link.asker, verdict.link.reached):
        instance = snapshot.instances.get(end)
        unknown = [group for group in instance.own_groups if group not in snapshot.groups] if instance else []
        if not instance or not unknown:
            continue
        if snapshot.requested >= set(unknown):
            denial = denials.own_groups_not_found(end.id, ", ".join(instance.groups))
            return msgspec.structs.replace(verdict, denial=denial)
        denial = denials.unreadable(end.account, f"the tags of {unknown[0].id}, which may refuse the link")
        return msgspec.structs.replace(verdict, denial=denial, open_questions=(end,))
    return verdict


def _not_read_yet(snapshot: Snapshot, link: Link) -> Verdict | None:
    """The verdict where an instance of the link was set aside."""
    aside = tuple(party for party in link.parties if snapshot.set_aside(party))
    if not aside:
        return None
    unread = denials.unreadable(aside[0].account, f"instance {aside[0].id} was not read yet")
    return Verdict(link, (), unread, open_questions=aside)


def no_access(snapshot: Snapshot, link: Link) -> Denial | None:
    """An account that refuses access, or could not be read: nothing can be decided about its side."""
    for account in (link.source.account, link.target.account):
        if error := snapshot.refused_accounts.get(account):
            return denials.no_access(account, error.code)
        if account in snapshot.failed_accounts:
            return denials.unreadable(account, snapshot.failed_accounts[account])
    return None


def closed_by_group(snapshot: Snapshot, policy: Policy, key: RuleKey, link: Link, now: float) -> Denial | None:
    """Whether the group that holds a rule is locked, or no longer accepts the rule's source, or a refusal or `never` forbids the
    link. Needs no look at the other side, so that a peer which cannot be read keeps nothing open (fail closed).

    An instance that is not shown may be in any group, so consent to any group of its account counts; but where the
    source's account refuses access, only consent that names that very party, or `*` of its account, does.
    """
    group = snapshot.groups.get(key.group)
    if group is None:
        return None
    if (denial := barred(snapshot, policy, link)) and not denial.undecided:
        return denial
    policy = with_sets(snapshot, policy, link, standing=True)
    end, refused = link.reached if key.is_egress else link.asker, snapshot.refused_accounts
    near: Party | Instance = link.target
    if key.is_egress:
        near = any_member(snapshot, link.source, unseen_senders(snapshot, policy, link.source))
    peer: Party | Instance = end
    if end.account not in refused and not end.is_group:
        gate = Gate(group, end, near, key.is_egress)
        unseen = Instance(end, "", groups_named_at(policy, gate))
        peer = snapshot.instances.get(end, as_member(link) if link.followed.is_group else unseen)
    return _accepted(policy, link, [Gate(group, peer, near, key.is_egress)], now)[1]


def barred(snapshot: Snapshot, policy: Policy, link: Link) -> Denial | None:
    """Why a refusal or `never` forbids a link; of a part of a link by address, its groups or its instance."""
    sources, targets = (dict.fromkeys(ends) for ends in ((link.source, link.asker), (link.target, link.reached)))
    barring = (forbidden(snapshot, policy, source, target, link.ports) for source in sources for target in targets)
    return next(filter(None, barring), None)


def as_member(link: Link) -> Instance:
    """The instance of a part of a link by address as its consent sees it: in the link's group alone."""
    return Instance(link.represented, "", (link.followed.id,))


def any_member(snapshot: Snapshot, group: Party, unseen: Sequence[Party] = ()) -> Instance:
    """A group, whichever of its instances is meant, as consent sees it: an entry may name one of them, or of those that are not
    shown."""
    return Instance(group, "", tuple(member.id for member in (*snapshot.members.get(group, ()), *unseen)))


def unseen_senders(snapshot: Snapshot, policy: Policy, group: Party) -> list[Party]:
    """The instances that the policy names and that are not shown: they may be in the group."""
    allowed = policy.allowed_instances.get(group.account, frozenset())
    return sorted(party for party in allowed if party not in snapshot.instances)


def _evaluate_groups(snapshot: Snapshot, policy: Policy, link: Link, needs: tuple[Need, ...], now: float) -> Verdict:
    for party in (link.source, link.target):
        if party not in snapshot.groups:
            return Verdict(link, needs, denials.peer_not_found(party))
    source, target = snapshot.groups[link.source], snapshot.groups[link.target]
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    if denial := not_written(source, target, link):
        return Verdict(link, needs, denial, reachability)
    if link.member:
        return _not_read_yet(snapshot, link) or _evaluate_part(snapshot, policy, link, now)
    if not by_reference(source, target):
        return _evaluate_parts(snapshot, policy, link, now)
    verdict = Verdict(link, needs, None, "same-vpc")
    gates = [Gate(target, link.source, link.target), Gate(source, link.target, link.source)]
    used, denial = _accepted(policy, link, gates if link.mutual else gates[:1], now)
    return msgspec.structs.replace(verdict, consent=used, denial=denial)


def _evaluate_parts(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """A link by address as a whole: granted where it is for some instance of its source."""
    whole = link.source in snapshot.complete_groups or link.source.account in snapshot.whole_accounts
    verdicts = [
        _verdict(snapshot, policy, member_link, now)
        for member_link in parts(snapshot, policy, link)
        if member_link.member
    ]
    if not verdicts and not whole:
        unread = denials.unreadable(link.source.account, f"the instances of {link.source.id}")
        return Verdict(link, (), unread, open_questions=(InstancesOf(link.source),))
    if not verdicts:
        return Verdict(link, (), denials.no_members(link.source))
    return merged(link, verdicts)


def merged(link: Link, verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for the parts of a link by address: the rules and the consent of those that are granted, or the denial of the
    first. Rules of the target's group come first: it is the one that may refuse."""
    granted = [verdict for verdict in verdicts if verdict.denial is None]
    granted.sort(key=lambda verdict: verdict.link.is_egress)
    questions = tuple(dict.fromkeys(question for verdict in verdicts for question in verdict.open_questions))
    if not granted:
        return msgspec.structs.replace(verdicts[0], link=link, open_questions=questions)
    return msgspec.structs.replace(
        granted[0],
        link=link,
        needs=tuple(dict.fromkeys(need for verdict in granted for need in verdict.needs)),
        consent=tuple(dict.fromkeys(entry for verdict in granted for entry in verdict.consent)),
        open_questions=questions,
    )


def _evaluate_part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The part of a link by address that is for one instance, at one end, once the other end is asked too. Consent is asked as
    for its group, and for that very instance."""
    other_end = _NO_END if link.is_egress else _egress_end(snapshot, policy, link, now)
    verdict = _part_alone(snapshot, policy, link, now, other_end.gates)
    if link.is_egress:
        if verdict.denial is None:
            other_end = _ingress_end(snapshot, policy, link.whole, now)
        elif unseen_senders(snapshot, policy, link.source) and not snapshot.shows_all_members(link.source):
            # the policy may consent to one of them
            other_end = _unread_end("the instances", [InstancesOf(link.source)])
    if verdict.denial and not (verdict.denial.lacks_consent and other_end.questions):
        return verdict
    if verdict.denial and other_end.gates and _part_alone(snapshot, policy, link, now).denial:
        return verdict  # whatever the other end says
    denial = other_end.denial
    return msgspec.structs.replace(verdict, denial=denial, open_questions=other_end.questions) if denial else verdict


def _part_alone(
    snapshot: Snapshot, policy: Policy, link: Link, now: float, further_gates: Sequence[Gate] = ()
) -> Verdict:
    """The part of a link by address, with consent at `further_gates` too, but for what its other end needs."""
    source, target = snapshot.groups[link.source], snapshot.groups[link.target]
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    party, group = link.represented, link.followed
    instance = snapshot.instances.get(party)
    if instance is None or group.id not in instance.groups:
        denial = denials.left_group(party, group) if instance else denials.instance_gone(party)
        return Verdict(link, (), denial, reachability)
    member = msgspec.structs.replace(instance, groups=(group.id,))
    side = _Side(source if link.is_egress else target, member, group, link.is_egress)
    end = any_member(snapshot, link.source) if link.is_egress else link.target
    gates = [Gate(side.group, member, end, link.is_egress), *further_gates]
    return _with_addresses(snapshot, policy, Verdict(link, (), None, reachability), [side], gates, now)


class _End(msgspec.Struct, frozen=True):
    """What the other end of a part of a link by address says: whose consent is asked there, and why the part may not be though it
    consents. `questions` are to be read to say more."""

    gates: tuple[Gate, ...] = ()
    denial: Denial | None = None
    questions: tuple[Question, ...] = ()


_NO_END = _End()


def _egress_end(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> _End:
    """Whether the source's group lets an instance out to some instance of the target, or may be given the rule for that."""
    group, sender = snapshot.groups[link.source], snapshot.instances.get(link.asker)
    if not group.advanced or is_let_out(snapshot, policy, link, sender, None):
        return _NO_END
    own_groups = sender.own_groups if sender else (link.source,)
    if unread := [RulesOf(party) for party in own_groups if party not in snapshot.rules]:
        return _unread_end("the rules", unread)
    whole = Gate(group, link.target, as_member(link), is_egress=True)
    may_be_open = may_be_let_out(snapshot, policy, own_groups, link.ports)
    if not snapshot.shows_all_members(link.target):
        # while it can be read whom people's rules let out to, a lock of the source's group does not decide
        is_open = may_be_open and snapshot.readable(link.target.account)
        return _unread_end("the instances", [InstancesOf(link.target)], *([] if is_open else [whole]))
    members = [snapshot.instances[party] for party in snapshot.members.get(link.target, ())]
    if may_be_open and not all(needs_outlet(snapshot, policy, link, sender, target) for target in members):
        return _NO_END
    return _end_by_outlets(snapshot, policy, link, whole, now)


def _end_by_outlets(snapshot: Snapshot, policy: Policy, link: Link, whole: Gate, now: float) -> _End:
    """The same of a source's group whose instances no person's rule lets out: whether rules of ours may."""
    members = [snapshot.instances[party] for party in snapshot.members.get(link.target, ())]
    refused: list[tuple[Gate, Verdict, bool]] = []
    for target in _telling(policy, link, whole, members, any_member(snapshot, link.target), now):
        target_alone = msgspec.structs.replace(target, groups=(link.target.id,))
        gate = Gate(whole.group, target_alone, whole.end, is_egress=True)
        alone = _other_part(snapshot, policy, part(outward(link), target.party), now)
        consented = not consents(policy, gate, link.ports, now)[1]
        if alone.denial is None and consented:
            return _End((gate,))
        refused.append((gate, alone, consented))
    if not refused:
        return _End((whole,), denials.no_members(link.target))
    gate, alone, consented = max(refused, key=lambda end: end[2])
    return _End((gate if consented else whole,), alone.denial, alone.open_questions)


def _ingress_end(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> _End:
    """Whether the target's group admits some instance of the source, whoever of these asks."""
    refused: list[Verdict] = []
    members, anyone = snapshot.members.get(link.source, ()), any_member(snapshot, link.source)
    gate = Gate(snapshot.groups[link.target], link.source, link.target)
    for sender in _telling(policy, link, gate, members, anyone, now):
        verdict = _other_part(snapshot, policy, part(link, sender), now)
        if verdict.denial is None:
            return _NO_END
        refused.append(verdict)
    if not snapshot.shows_all_members(link.source):
        return _unread_end("the instances", [InstancesOf(link.source)])
    if not refused:
        return _End((), denials.no_members(link.source))
    return _End((), refused[0].denial, refused[0].open_questions)


_Member = TypeVar("_Member", Party, Instance)


def _telling(
    policy: Policy, link: Link, gate: Gate, members: Iterable[_Member], anyone: Instance, now: float
) -> Iterable[_Member]:
    """The members of a group that tell what one end of a link says of them all: the first one, where it consents to none."""
    gate = msgspec.structs.replace(gate, peer=anyone)
    return itertools.islice(members, 1) if consents(policy, gate, link.ports, now)[1] else members


def _other_part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """A part of a link by address that another part needs at its other end."""
    denial = barred(snapshot, policy, link)
    return Verdict(link, (), denial) if denial else _part_alone(snapshot, policy, link, now)


def _unread_end(subject: str, questions: Sequence[RulesOf | InstancesOf], *gates: Gate) -> _End:
    group = questions[0].group
    return _End(gates, denials.unreadable(group.account, f"{subject} of {group.id}"), tuple(questions))


def _evaluate_outlet_to_instance(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """An egress rule of a group for links of its instances to one instance: whether it may stand for some of them."""
    group, target = snapshot.groups.get(link.source), snapshot.instances.get(link.target)
    if group is None:
        return Verdict(link, (), denials.peer_not_found(link.source))
    if target is None or (denial := _instance_denial(target, link.target)):
        return Verdict(link, (), denial if target else denials.instance_gone(link.target))
    reachability = "same-vpc" if group.vpc == target.vpc else "different-vpc"
    gates = [Gate(group, target, any_member(snapshot, link.source), is_egress=True)]
    side = _Side(group, target, target, is_egress=True)
    verdict = _with_addresses(snapshot, policy, Verdict(link, (), None, reachability), [side], gates, now)
    if verdict.denial:
        return verdict
    denial = None
    for sender in snapshot.members.get(link.source, ()):
        instance = snapshot.instances[sender]
        pair = Link(sender, link.target, link.ports)
        admitting = (Gate(target_group, instance, link.target) for target_group in snapshot.groups_of(target))
        answers = [_accepted(policy, pair, [gate], now)[1] for gate in admitting]
        denial = barred(snapshot, policy, pair) or (answers[0] if answers and all(answers) else None)
        if denial is None:
            return verdict
    if not snapshot.shows_all_members(link.source):
        end = _unread_end("the instances", [InstancesOf(link.source)])
        return msgspec.structs.replace(verdict, denial=end.denial, open_questions=end.questions)
    return msgspec.structs.replace(verdict, denial=denial or denials.no_members(link.source))


def _accepted(policy: Policy, link: Link, gates: Sequence[Gate], now: float) -> tuple[tuple[str, ...], Denial | None]:
    """(the entries that consent, why not) by the groups that are to hold the rules, or whose consent they need. All that a
    group says by itself is asked here, so that it is asked too where the other side cannot be read."""
    if denial := _locked([gate.group for gate in gates], policy.keys):
        return (), denial
    return consent_to(policy, link, gates, now)


def _locked(groups: Sequence[Group], keys: TagKeys) -> Denial | None:
    """The first group that is locked, and so may hold no rule."""
    for group in groups:
        if key := keys.lock_on(group.tags):
            return denials.locked(group.party, key, group.tags[key], is_own=key in keys.own_locks(group.tags))
    return None


def _evaluate_instances(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    for party in (link.source, link.target):
        if denial := _instance_denial(snapshot.instances.get(party), party):
            return Verdict(link, (), denial)
    source, target = snapshot.instances[link.source], snapshot.instances[link.target]
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    verdict = Verdict(link, (), None, reachability)
    advanced = next(
        (group.party for end in (source, target) for group in snapshot.groups_of(end) if group.advanced), None
    )
    if link.mutual and advanced:
        return msgspec.structs.replace(verdict, denial=denials.advanced_group(advanced))
    ways = [(target, source), (source, target)]
    ends = [(to, Gate(_NOWHERE, back, to.party)) for to, back in (ways if link.mutual else ways[:1])]
    is_advanced = bool(link.ports) and any(group.advanced for group in snapshot.groups_of(source))
    unread = [RulesOf(group) for group in source.own_groups if is_advanced and group not in snapshot.rules]
    if is_advanced and not unread and needs_outlet(snapshot, policy, link, source, target):
        ends.append((source, Gate(_NOWHERE, target, source, is_egress=True)))
    sides, gates = list[_Side](), list[Gate]()
    for holder, gate in ends:
        address, peer = (target, target) if gate.is_egress else (source if holder is target else target, holder)
        group = _group_for_rules(snapshot, policy, link, holder, gate, (address.party, peer.party), now)
        if isinstance(group, Denial):
            return msgspec.structs.replace(verdict, denial=group)
        gates.append(_at_group(gate, group))
        sides.append(_Side(group, address, peer, gate.is_egress))
    verdict = _with_addresses(snapshot, policy, verdict, sides, gates, now)
    if unread:
        end = _unread_end("the rules", unread)
        return msgspec.structs.replace(verdict, denial=end.denial, open_questions=end.questions)
    denial = verdict.denial and _among_groups(snapshot, policy, link, ends, now)
    return msgspec.structs.replace(verdict, denial=denial) if denial else verdict


def _among_groups(
    snapshot: Snapshot, policy: Policy, link: Link, ends: Sequence[tuple[Instance, Gate]], now: float
) -> Denial | None:
    """The one denial of a link between instances for which no group consents at some end: it names each group that could, and its
    advice is for the smallest. None where consent is not what is missing."""
    gates: list[Gate] = []
    choices: list[tuple[Party, list[denials.Candidate]]] = []
    for holder, gate in ends:
        groups = [group for group in snapshot.groups_of(holder) if not group.managed]
        at_groups = {group.party: _at_group(gate, group) for group in groups}
        answers = {party: _accepted(policy, link, [at_group], now)[1] for party, at_group in at_groups.items()}
        if (chosen := next((party for party, answer in answers.items() if answer is None), None)) is None:
            candidates = _sized(snapshot, answers.items())
            chosen = next((candidate.group for candidate in candidates if candidate.denial.lacks_consent), None)
            choices += [(holder.party, candidates)] if len(candidates) > 1 else []
        if chosen is None:
            return None
        gates.append(at_groups[chosen])
    if denial := _accepted(policy, link, gates, now)[1]:
        for party, candidates in choices:
            denial = denials.among(denial, party, candidates)
    return denial


def _several_uncounted(snapshot: Snapshot, link: Link) -> frozenset[MembersOf]:
    """What to read so that the denial of a link between instances has the numbers of instances in their groups."""
    ends = [snapshot.instances.get(party) for party in (link.source, link.target)] if not link.source.is_group else []
    several = [end.own_groups for end in ends if end and len(end.groups) > 1]
    return frozenset(MembersOf(g) for groups in several for g in groups if snapshot.member_count(g) is None)


_NOWHERE = Group(Party("", ""), "")


def _with_addresses(
    snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side], gates: Sequence[Gate], now: float
) -> Verdict:
    """The verdict once consent, at these gates, and addresses are judged, with the rules of these sides."""
    link = verdict.link
    needs = tuple(need for side in sides for need in side.needs(link.ports or (ALL,)))
    advice = denials.NO_ROUTE if verdict.reachability == "different-vpc" else ""
    ends = (sides[0].instance, sides[0].peer)
    lacking = [end.party for end in ends if isinstance(end, Instance) and not end.ip]
    used, denial = _accepted(policy, link, gates, now)
    if denial is None and lacking:
        denial = denials.no_private_ip(lacking[0])
    verdict = msgspec.structs.replace(
        verdict, needs=() if lacking else needs, consent=used, denial=denial, advice=advice
    )
    return verdict if denial else _with_safe_addresses(snapshot, policy, verdict, sides)


def _group_for_rules(
    snapshot: Snapshot, policy: Policy, link: Link, instance: Instance, gate: Gate, ends: Ends, now: float
) -> Group | Denial:
    """The group of an instance that is given the rule of one end, which stands for these `ends`: of those that no product manages
    and that consent, one on which such a rule stands, else the first; else the first of all; or why it cannot be told. A rule on any
    of them has the same effect."""
    groups = snapshot.groups_of(instance)
    if len(groups) < len(instance.groups):  # it may be one of those that are not shown
        return denials.own_groups_not_found(instance.party.id, ", ".join(instance.groups))
    able = [group for group in groups if not group.managed]
    gates = (_at_group(gate, group) for group in able)
    consenting = [at_group.group for at_group in gates if _accepted(policy, link, [at_group], now)[1] is None]
    ports = link.ports or (ALL,)

    def holds(group: Group) -> bool:
        rules = (rule for rule in snapshot.rules.get(group.party, ()) if is_ours(rule, policy))
        keyed_rules = ((rule.key, markers.parse(rule.description)) for rule in rules)
        ends_of_rules = (marker.ends for key, marker in keyed_rules if key and marker and key.port in ports)
        return ends in ends_of_rules

    holding = [group for group in consenting if holds(group)]
    return next(iter([*holding, *consenting, *able]), denials.no_group_takes_rules(instance.party))


def _at_group(gate: Gate, group: Group) -> Gate:
    """One end of a link at a group of its instance. An egress rule lets all instances of that group out, so that consent of the policy
    to another group of the instance is none."""
    end = gate.end
    if gate.is_egress and isinstance(end, Instance):
        end = msgspec.structs.replace(end, groups=(group.party.id,))
    return msgspec.structs.replace(gate, group=group, end=end)


def _instance_denial(instance: Instance | None, party: Party) -> Denial | None:
    """Why an instance cannot be one side of a link."""
    if instance is None:
        return denials.instance_gone(party)
    return denials.classic_instance(party) if instance.classic or not instance.vpc else None


def _with_safe_addresses(snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side]) -> Verdict:
    """A /32 must mean the instance that was consented to. Its owner picks the address, so it must be private, in the
    account's ranges, and belong to nothing in the VPC of the group that has the rule."""
    questions: list[Address] = []
    for side in sides:
        source = side.instance
        ranges, account = policy.accounts[source.party.account].ranges, source.party.account
        if denial := address_denial(source.party, source.ip, ranges):
            return msgspec.structs.replace(verdict, denial=denial)
        if source.vpc == side.vpc:
            continue
        if account != side.group.party.account and not ranges:
            return msgspec.structs.replace(verdict, denial=denials.ranges_missing(source.party, account))
        question = Address(side.group.party.account, side.vpc, source.ip)
        is_taken = snapshot.taken_addresses.get(question)
        if is_taken:
            denial = denials.address_in_target_vpc(source.party, source.ip, side.vpc)
            return msgspec.structs.replace(verdict, denial=denial)
        if is_taken is None:
            questions.append(question)
    if questions:
        denial = denials.unreadable(questions[0].account, f"whether {questions[0].ip} is used in {questions[0].vpc}")
        return msgspec.structs.replace(verdict, denial=denial, open_questions=tuple(questions))
    return verdict


def address_denial(party: object, ip: str, ranges: Sequence[str]) -> Denial | None:
    """Why the address cannot be a rule's source: it is not private, or lies outside the `ranges` (IPv4 CIDRs) that the
    policy gives its account, where it gives any."""
    if not any(inside(ip, cidr) is True for cidr in PRIVATE):
        return denials.public_address(party, ip)
    if ranges and not any(inside(ip, cidr) is True for cidr in ranges):
        return denials.address_out_of_range(party, ip, ranges)
    return None


def _group_needs(link: Link) -> tuple[Need, ...]:
    if link.mutual:
        return (
            Need(RuleKey(link.target, str(link.source), "", ALL)),
            Need(RuleKey(link.source, str(link.target), "", ALL)),
        )
    return tuple(Need(RuleKey(link.target, str(link.source), "", port)) for port in link.ports)


# all desired links together


def judge(view: Seen, links: Iterable[DesiredLink]) -> Judged:
    """Answers every desired link; of a mutual one, an instance whose account refuses access does not count as asking. Where
    instances with one address need the same rule, it is given to the one for which it stands, unless that has another address
    now; else to the links for which some rule stands, then by order of links."""
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
        Missing(questions=uncounted(view.snapshot, desired.denied) | _several_uncounted(view.snapshot, desired.link))
        for desired, refusal in first
        if desired.in_scope and refusal and refusal.owners
    ]
    return Judged((*answers, *rule_answers), judgments, tuple(rule_answers), all_missing(missing))


def _unread_peer(view: Seen, desired: DesiredLink) -> Missing:
    """What to read of a peer that is one too many: where rules stand for it, it counts before those for which none do."""
    peer, snapshot = desired.link.target, view.snapshot
    if not (desired.in_scope and desired.denial and desired.denial.by_limit and peer.is_group):
        return NOTHING_MISSING
    may_be_read = peer.account in view.context.policy.accounts and snapshot.readable(peer.account)
    may_have_rules = peer not in snapshot.groups or snapshot.groups[peer].may_have_rules
    is_unread = may_be_read and may_have_rules and peer not in snapshot.rules
    return Missing(questions=frozenset({RulesOf(peer)} if is_unread else ()))


def _claim_denial(view: Seen, desired: DesiredLink, judgment: Judgment) -> Denial | None:
    """Why a claim may not have the rules of its link: it has ended, the link is denied, or one of the rules carries the same request with
    another end, for a link of another pair."""
    claim, owned = desired.claim, view.actual.owned
    if view.context.expired(claim):
        return CLAIM_EXPIRED
    for key in sorted(judgment.needs & owned.keys()) if view.context.is_request and not claim.is_tag else ():
        if any(standing.request == claim.request and standing != claim for standing in owned[key][1].claims):
            return judgment.verdict.denial or denials.id_of_a_shared_rule(claim.request, key.group)
    return judgment.verdict.denial


def _standing_for(view: Seen, answers: Iterable[Answer]) -> list[DesiredLink]:
    """For each wish that is denied, the links of those rules of ours that stand for its claim, on ports that it asks for: a denial
    closes nothing by itself. None where the wish is over, or where a refusal of the cloud decides what is rolled back."""
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


def _lets_out_others(view: Seen, desired: DesiredLink, key: RuleKey) -> bool:
    """Whether an egress rule, beside which no ingress rule of ours admits the instance that asks, is only for others of its group: no
    rule of a person admits it either, and the egress rule is not so young that the ingress rule may not be shown yet."""
    asker = view.snapshot.instances.get(desired.instance) if desired.instance else None
    if asker is None or not desired.link.target.is_group:
        return False
    if RuleKey(desired.link.target, f"{asker.ip}/32", "", key.port) in view.actual.equal:
        return False
    return view.context.now - created(view.actual.owned[key][0]) >= HALF_OPEN_SECONDS


def _is_shut_in(view: Seen, key: RuleKey, link: Link) -> bool:
    """Whether nothing lets out any more whom an ingress rule by address admits. Beside a young one, the egress rule may not be shown
    yet."""
    if not link.member or link.is_egress or view.context.now - created(view.actual.owned[key][0]) < HALF_OPEN_SECONDS:
        return False
    return bool(missing_outlets(view.snapshot, view.context.policy, link))


def asks_for(snapshot: Snapshot, desired: DesiredLink, rule_link: Link) -> bool:
    """Whether a wish asks for the link of one rule, by itself: on all ports of the rule, between the same two. Of an instance's
    tag, whichever of its groups stands for it. A wish without ports asks for every port, and a rule without ports is half of
    a link that is judged whole. The egress rule of a link between instances is that of the group of the one that asks."""
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
    """The answers where both ends of a link by address are asked for, and one is denied as a whole: then so is the other, unless
    rules of ours stand at the one that is denied, which instances join."""
    by_end = grouped(
        ((desired.link.side, desired.claim), refusal) for desired, refusal in answers if desired.link.member
    )
    closed = {end: refusals[0] for end, refusals in by_end.items() if all(refusals)}
    if not any(side.is_egress for side, _ in by_end) or not closed:
        return list(answers)
    standing = {link_of(key, marker).side for key, (_, marker) in actual.owned.items() if key.is_egress}

    def other(desired: DesiredLink) -> Denial | None:
        side = desired.link.side
        opposite = msgspec.structs.replace(side, is_egress=not side.is_egress)
        ports = (msgspec.structs.replace(opposite, ports=(port,)) for port in side.ports)
        joins = opposite.is_egress and any(one_port in standing for one_port in ports)
        return None if joins or not desired.link.member else closed.get((opposite, desired.claim))

    return [(desired, refusal or other(desired)) for desired, refusal in answers]


def wish_denial(snapshot: Snapshot, policy: Policy, desired: DesiredLink) -> Denial | None:
    """Why a wish is denied whatever stands for its link: for what it says, or since a refusal or `never` forbids it to the instance that
    asks, which is judged with all its groups. Of another instance of its group, the same link may be opened."""
    if desired.denial or not desired.instance:
        return desired.denial
    return forbidden(snapshot, policy, desired.instance, desired.link.target, desired.link.ports)


def judge_link(view: Seen, link: Link) -> Judgment:
    """The verdict on a link by the snapshot, but for room and limits. One that was refused is denied."""
    verdict = may_stand(view.snapshot, view.context.policy, link, view.context.now)
    if verdict.denial is None and link.whole in view.refused:
        verdict = msgspec.structs.replace(verdict, denial=view.refused[link.whole].denial)
    return with_holders(view.snapshot, view.context, view.actual, verdict)


def wanted_claims(answers: Iterable[Answer], actual: Actual) -> Wanted:
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
    """The parts of requested links by address whose rule stands for a request of another group of the instance, or is given to
    one. A request's claim is followed by the members of the group in the marker, so that a rule is for the requests of one."""
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


def too_many(view: Seen, granted: Iterable[DesiredLink]) -> dict[tuple[Link, Claim], Denial]:
    """The parts of links by address that are denied because a link has too many. Those that stand stay, and others join them
    in order of their instances as long as there is room; of a link of which none stands, all are denied or none."""
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
    """The ports of each request's link by address, by one end of it without ports: who joins asks for one port at a time."""
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
    claims_by_request: dict[str, Claim] = {}
    for claim in sorted(claims, key=lambda claim: (claim.request, claim.until is None, claim.until or 0)):
        claims_by_request.setdefault(claim.request, claim)
    return frozenset(claims_by_request.values())


def uncounted(snapshot: Snapshot, denied: Sequence[Verdict]) -> frozenset[MembersOf]:
    """What to read so that such a denial has the numbers of instances."""
    groups = {candidate.link.source for candidate in denied}
    return frozenset(MembersOf(group) for group in groups if snapshot.member_count(group) is None)


def by_size(snapshot: Snapshot, denied: Sequence[Verdict]) -> list[denials.Candidate]:
    """The groups of denied links, those with fewest instances first, and last those that were not counted."""
    return _sized(snapshot, ((candidate.link.source, candidate.denial) for candidate in denied))


def _sized(snapshot: Snapshot, answers: Iterable[tuple[Party, Denial | None]]) -> list[denials.Candidate]:
    candidates = [denials.Candidate(group, denial, snapshot.member_count(group)) for group, denial in answers if denial]
    return sorted(candidates, key=lambda candidate: (candidate.members is None, candidate.members))


def no_group_accepted(snapshot: Snapshot, desired: DesiredLink) -> Denial:
    """The one denial of an instance none of whose groups stands for it."""
    return denials.no_group_accepted(desired.instance, by_size(snapshot, desired.denied))
