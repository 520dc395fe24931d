"""The verdict on one link but for room, and for what other rules there are. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, Port, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.planning.authority import unknown_account
from link_peer.planning.consent import Gate, beyond_limits, consents, forbidden_ports
from link_peer.planning.decision import DesiredLink, Ends, InstancesOf, MembersOf, Need, Question, RulesOf, Verdict
from link_peer.planning.effect import inside
from link_peer.planning.guardrails import with_sets
from link_peer.planning.verdict.acceptance import accepted, any_member, as_member, barred, no_access, unseen_senders
from link_peer.planning.writing import (
    by_reference,
    is_let_out,
    is_ours,
    may_be_let_out,
    needs_outlet,
    not_written,
    outward,
    part,
    parts,
)


def permitted(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link may be opened as things are now. Where several checks fail, the first one is reported."""
    denial = beyond_limits(policy, link.ports)
    if denial is None:
        return may_stand(snapshot, policy, link, now)
    return Verdict(link, _group_needs(link) if link.source.is_group and not link.member else (), denial)


def may_stand(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link that exists may go on as things are now: as `permitted`, but for the policy's limits, which close
    nothing. A snapshot remembers the verdict: all steps of a plan ask for it."""
    memory = snapshot.memory(policy)
    if (link, now) not in memory:
        memory[link, now] = _lasting_verdict(snapshot, policy, link, now)
    verdict: Verdict = memory[link, now]
    return verdict


def _lasting_verdict(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The verdict, which an earlier snapshot may remember for the same two groups: one by reference depends on nothing
    else."""
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
    """The verdict on a link that is granted, as long as all groups of its instances are known: any of them may refuse
    it."""
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
    used, denial = accepted(policy, link, gates if link.mutual else gates[:1], now)
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
    """One verdict for the parts of a link by address: the rules and the consent of those that are granted, or the
    denial of the first. Rules of the target's group come first: it is the one that may refuse."""
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


def _group_needs(link: Link) -> tuple[Need, ...]:
    if link.mutual:
        return (
            Need(RuleKey(link.target, str(link.source), "", ALL)),
            Need(RuleKey(link.source, str(link.target), "", ALL)),
        )
    return tuple(Need(RuleKey(link.target, str(link.source), "", port)) for port in link.ports)


# of a link by address: the part for one instance, at one end


def _evaluate_part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The part of a link by address that is for one instance, at one end, once the other end is asked too. Consent is
    asked as for its group, and for that very instance."""
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
    """What the other end of a part of a link by address says: whose consent is asked there, and why the part may not be
    though it consents. `questions` are to be read to say more."""

    gates: tuple[Gate, ...] = ()
    denial: Denial | None = None
    questions: tuple[Question, ...] = ()


_NO_END = _End()


def _egress_end(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> _End:
    """Whether the source's group lets an instance out to some instance of the target, or may be given the rule for
    that."""
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
    """Whether the target's group admits some instance of the source. Which of them asks does not matter."""
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
    """The members of a group that tell what one end of a link says of them all: the first one, where it consents to
    none."""
    gate = msgspec.structs.replace(gate, peer=anyone)
    return itertools.islice(members, 1) if consents(policy, gate, link.ports, now)[1] else members


def _other_part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """A part of a link by address that another part needs at its other end."""
    denial = barred(snapshot, policy, link)
    return Verdict(link, (), denial) if denial else _part_alone(snapshot, policy, link, now)


def _unread_end(subject: str, questions: Sequence[RulesOf | InstancesOf], *gates: Gate) -> _End:
    """What an end says of which this was not read: these questions are to be asked first."""
    group = questions[0].group
    return _End(gates, denials.unreadable(group.account, f"{subject} of {group.id}"), tuple(questions))


# of a link between instances


def _evaluate_instances(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The verdict on a link between instances: at each end, consent of the group that is given the rule, then the
    addresses."""
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
        answers = [accepted(policy, pair, [gate], now)[1] for gate in admitting]
        denial = barred(snapshot, policy, pair) or (answers[0] if answers and all(answers) else None)
        if denial is None:
            return verdict
    if not snapshot.shows_all_members(link.source):
        end = _unread_end("the instances", [InstancesOf(link.source)])
        return msgspec.structs.replace(verdict, denial=end.denial, open_questions=end.questions)
    return msgspec.structs.replace(verdict, denial=denial or denials.no_members(link.source))


def _among_groups(
    snapshot: Snapshot, policy: Policy, link: Link, ends: Sequence[tuple[Instance, Gate]], now: float
) -> Denial | None:
    """The one denial of a link between instances for which no group consents at some end: it names each group that
    could, and its advice is for the smallest. None where consent is not what is missing."""
    gates: list[Gate] = []
    choices: list[tuple[Party, list[denials.Candidate]]] = []
    for holder, gate in ends:
        groups = [group for group in snapshot.groups_of(holder) if not group.managed]
        at_groups = {group.party: _at_group(gate, group) for group in groups}
        answers = {party: accepted(policy, link, [at_group], now)[1] for party, at_group in at_groups.items()}
        if (chosen := next((party for party, answer in answers.items() if answer is None), None)) is None:
            candidates = _sized(snapshot, answers.items())
            chosen = next((candidate.group for candidate in candidates if candidate.denial.lacks_consent), None)
            choices += [(holder.party, candidates)] if len(candidates) > 1 else []
        if chosen is None:
            return None
        gates.append(at_groups[chosen])
    if denial := accepted(policy, link, gates, now)[1]:
        for party, candidates in choices:
            denial = denials.among(denial, party, candidates)
    return denial


_NOWHERE = Group(Party("", ""), "")


def _group_for_rules(
    snapshot: Snapshot, policy: Policy, link: Link, instance: Instance, gate: Gate, ends: Ends, now: float
) -> Group | Denial:
    """The group of an instance that is given the rule of one end, which stands for these `ends`: of those that no
    product manages and that consent, one on which such a rule stands, else the first; else the first of all; or why it
    cannot be told. A rule on any of them has the same effect."""
    groups = snapshot.groups_of(instance)
    if len(groups) < len(instance.groups):  # it may be one of those that are not shown
        return denials.own_groups_not_found(instance.party.id, ", ".join(instance.groups))
    able = [group for group in groups if not group.managed]
    gates = (_at_group(gate, group) for group in able)
    consenting = [at_group.group for at_group in gates if accepted(policy, link, [at_group], now)[1] is None]
    ports = link.ports or (ALL,)

    def holds(group: Group) -> bool:
        rules = (rule for rule in snapshot.rules.get(group.party, ()) if is_ours(rule, policy))
        keyed_rules = ((rule.key, markers.parse(rule.description)) for rule in rules)
        ends_of_rules = (marker.ends for key, marker in keyed_rules if key and marker and key.port in ports)
        return ends in ends_of_rules

    holding = [group for group in consenting if holds(group)]
    return next(iter([*holding, *consenting, *able]), denials.no_group_takes_rules(instance.party))


def _at_group(gate: Gate, group: Group) -> Gate:
    """One end of a link at a group of its instance. An egress rule lets all instances of that group out, so that
    consent of the policy to another group of the instance is none."""
    end = gate.end
    if gate.is_egress and isinstance(end, Instance):
        end = msgspec.structs.replace(end, groups=(group.party.id,))
    return msgspec.structs.replace(gate, group=group, end=end)


def _instance_denial(instance: Instance | None, party: Party) -> Denial | None:
    """Why an instance cannot be one side of a link."""
    if instance is None:
        return denials.instance_gone(party)
    return denials.classic_instance(party) if instance.classic or not instance.vpc else None


# addresses


# [RFC 1918, RFC 6598] A VPC may have other ranges too, by custom range (help page 65398).
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


class _Side(msgspec.Struct, frozen=True):
    """One end of a link by address: `group` is given a rule for the address of `instance`.

    The rule lets it reach `peer`, or the whole `group` where that is the group for which the instance stands. Of an
    egress rule (`is_egress`), the group's instances reach it, and `peer` is the group for which it stands, or the
    instance again."""

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


def _with_addresses(
    snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side], gates: Sequence[Gate], now: float
) -> Verdict:
    """The verdict once consent, at these gates, and addresses are judged, with the rules of these sides."""
    link = verdict.link
    needs = tuple(need for side in sides for need in side.needs(link.ports or (ALL,)))
    advice = denials.NO_ROUTE if verdict.reachability == "different-vpc" else ""
    ends = (sides[0].instance, sides[0].peer)
    lacking = [end.party for end in ends if isinstance(end, Instance) and not end.ip]
    used, denial = accepted(policy, link, gates, now)
    if denial is None and lacking:
        denial = denials.no_private_ip(lacking[0])
    verdict = msgspec.structs.replace(
        verdict, needs=() if lacking else needs, consent=used, denial=denial, advice=advice
    )
    return verdict if denial else _with_safe_addresses(snapshot, policy, verdict, sides)


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


# the groups that could consent to what is denied


def uncounted(snapshot: Snapshot, denied: Sequence[Verdict]) -> frozenset[MembersOf]:
    """What to read so that the denial of these links has the numbers of instances in their source groups."""
    groups = {candidate.link.source for candidate in denied}
    return frozenset(MembersOf(group) for group in groups if snapshot.member_count(group) is None)


def several_uncounted(snapshot: Snapshot, link: Link) -> frozenset[MembersOf]:
    """What to read so that the denial of a link between instances has the numbers of instances in their groups."""
    ends = [snapshot.instances.get(party) for party in (link.source, link.target)] if not link.source.is_group else []
    several = [end.own_groups for end in ends if end and len(end.groups) > 1]
    return frozenset(MembersOf(g) for groups in several for g in groups if snapshot.member_count(g) is None)


def by_size(snapshot: Snapshot, denied: Sequence[Verdict]) -> list[denials.Candidate]:
    """The groups of denied links, those with fewest instances first, and last those that were not counted."""
    return _sized(snapshot, ((candidate.link.source, candidate.denial) for candidate in denied))


def _sized(snapshot: Snapshot, answers: Iterable[tuple[Party, Denial | None]]) -> list[denials.Candidate]:
    """Groups that deny a link, each with why: those with fewest instances first, and last those that were not
    counted."""
    candidates = [denials.Candidate(group, denial, snapshot.member_count(group)) for group, denial in answers if denial]
    return sorted(candidates, key=lambda candidate: (candidate.members is None, candidate.members))


def no_group_accepted(snapshot: Snapshot, desired: DesiredLink) -> Denial:
    """The one denial of an instance none of whose groups stands for it."""
    return denials.no_group_accepted(desired.instance, by_size(snapshot, desired.denied))
