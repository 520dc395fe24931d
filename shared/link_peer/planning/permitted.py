"""May this link exist, whether or not its rules have room, and as which rules? Pure: see `planning.evaluate`, which asks this."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, Port, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.domain.tags import TagKeys, accepts
from link_peer.planning.authority import unknown_account
from link_peer.planning.consent import consent_to, denied_by_policy
from link_peer.planning.decision import InstancesOf, Need, Verdict
from link_peer.planning.guardrails import never_denial, with_sets
from link_peer.planning.writing import by_reference, not_written, parts

# [RFC 1918, RFC 6598] A VPC may have other ranges too, by custom range (help page 65398).
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


class _Side(msgspec.Struct, frozen=True):
    """One side of a link by address: `group` is given the rule that lets `source` reach `dest`, or where there is none, the
    whole group. `of` is then the group that the source stands for."""

    group: Group
    source: Instance
    dest: Instance | None
    of: Party | None = None

    @property
    def vpc(self) -> str:
        """The VPC in which the source is admitted."""
        return self.dest.vpc if self.dest else self.group.vpc

    def needs(self, ports: Sequence[Port]) -> tuple[Need, ...]:
        """A rule for each port; none while an address is missing."""
        if not self.source.ip or not (self.dest is None or self.dest.ip):
            return ()
        dest, other = (f"{self.dest.ip}/32", self.dest.party) if self.dest else ("", self.of or self.group.party)
        key = RuleKey(self.group.party, f"{self.source.ip}/32", dest, ALL)
        return tuple(Need(msgspec.structs.replace(key, port=port), (self.source.party, other)) for port in ports)


def permitted(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link may exist as things are now. Where several checks fail, the first one is reported."""
    needs = _group_needs(link) if link.source.is_group and not link.member else ()
    denial = unknown_account(policy, link) or denied_by_policy(policy, link.ports)
    denial = denial or barred(snapshot, policy, link) or no_access(snapshot, link)
    if denial:
        return Verdict(link, needs, denial)
    policy = with_sets(snapshot, policy, link)
    if link.source.is_group:
        return _evaluate_groups(snapshot, policy, link, needs, now)
    return _not_read_yet(snapshot, link) or _evaluate_instances(snapshot, policy, link, now)


def _not_read_yet(snapshot: Snapshot, link: Link) -> Verdict | None:
    """The verdict where an instance of the link was set aside."""
    aside = tuple(party for party in link.parties if not party.is_group and snapshot.set_aside(party))
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
    """Whether the group that holds a rule is locked, or no longer accepts the rule's source, or `never` forbids the link. Needs
    no look at the other side, so that a peer which cannot be read keeps nothing open (fail closed).

    An instance that is not shown may be in any group, so consent to any group of its account counts; but where the
    source's account refuses access, only consent that names that very party, or `*` of its account, does.
    """
    group = snapshot.groups.get(key.group)
    if group is None:
        return None
    if (never := barred(snapshot, policy, link)) and not never.undecided:
        return never
    policy = with_sets(snapshot, policy, link, standing=True)
    source: Party | Instance = link.asker
    if link.member and link.source.account not in snapshot.refused_accounts:
        source = snapshot.instances.get(link.asker, as_member(link))
    elif not link.source.is_group and link.source.account not in snapshot.refused_accounts:
        named = [entry.who.id for entry in accepts(group.tags, group.party.account, policy.keys)]
        named += [allow.source.id for allow in policy.allow]
        groups = tuple(name for name in named if name.startswith("sg-"))
        source = snapshot.instances.get(link.source) or Instance(link.source, "", groups)
    return _accepted(policy, link, [(group, source)], now)[1]


def barred(snapshot: Snapshot, policy: Policy, link: Link) -> Denial | None:
    """Why `never` bars a link; of a part of a link by address, its group or its instance."""
    found = [
        never_denial(snapshot, policy, one, link.target, link.ports) for one in dict.fromkeys((link.source, link.asker))
    ]
    return next((one for one in found if one and not one.undecided), next(filter(None, found), None))


def as_member(link: Link) -> Instance:
    """The instance of a part of a link by address as its consent sees it: in the link's group alone."""
    return Instance(link.asker, "", (link.source.id,))


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
    sides = [(target, link.source), (source, link.target)][: 2 if link.mutual else 1]
    used, denial = _accepted(policy, link, sides, now)
    return msgspec.structs.replace(verdict, consent=used, denial=denial)


def _evaluate_parts(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """A link by address as a whole: granted where it is for some instance of its source."""
    whole = link.source in snapshot.complete_groups or link.source.account in snapshot.whole_accounts
    verdicts = [permitted(snapshot, policy, one, now) for one in parts(snapshot, link) if one.member]
    if not verdicts and not whole:
        unread = denials.unreadable(link.source.account, f"the instances of {link.source.id}")
        return Verdict(link, (), unread, open_questions=(InstancesOf(link.source),))
    if not verdicts:
        return Verdict(link, (), denials.no_members(link.source))
    return merged(link, verdicts)


def merged(link: Link, verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict for the parts of a link by address: the rules and the consent of those that are granted, or the denial of the
    first."""
    granted = [one for one in verdicts if one.denial is None]
    questions = tuple(dict.fromkeys(question for one in verdicts for question in one.open_questions))
    if not granted:
        return msgspec.structs.replace(verdicts[0], link=link, open_questions=questions)
    return msgspec.structs.replace(
        granted[0],
        link=link,
        needs=tuple(dict.fromkeys(need for one in granted for need in one.needs)),
        consent=tuple(dict.fromkeys(entry for one in granted for entry in one.consent)),
        open_questions=questions,
    )


def _evaluate_part(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """The part of a link by address that is for one instance. Consent is asked as for its group, and for that very instance."""
    target, instance = snapshot.groups[link.target], snapshot.instances.get(link.asker)
    reachability = "same-vpc" if snapshot.groups[link.source].vpc == target.vpc else "different-vpc"
    if instance is None or link.source.id not in instance.groups:
        left = denials.left_group(link.asker, link.source) if instance else denials.instance_gone(link.asker)
        return Verdict(link, (), left, reachability)
    side = _Side(target, msgspec.structs.replace(instance, groups=(link.source.id,)), None, link.source)
    return _with_addresses(snapshot, policy, Verdict(link, (), None, reachability), [side], now)


def _accepted(
    policy: Policy, link: Link, sides: Sequence[tuple[Group, Party | Instance]], now: float
) -> tuple[tuple[str, ...], Denial | None]:
    """(the entries that consent, why not) by the groups that are to hold the rules, each with who it is to admit. All that a
    group says by itself is asked here, so that it is asked too where the other side cannot be read."""
    if denial := _locked([group for group, _ in sides], policy.keys):
        return (), denial
    return consent_to(policy, link, sides, now)


def _locked(groups: Sequence[Group], keys: TagKeys) -> Denial | None:
    """The first group that is locked, and so may hold no rule."""
    for group in groups:
        if key := keys.lock_on(group.tags):
            return denials.locked(group.party, key, group.tags[key], own=key in keys.own_locks(group.tags))
    return None


def _evaluate_instances(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    for party in (link.source, link.target):
        if denial := _instance_denial(snapshot.instances.get(party), party):
            return Verdict(link, (), denial)
    source, target = snapshot.instances[link.source], snapshot.instances[link.target]
    reachability = "same-vpc" if source.vpc == target.vpc else "different-vpc"
    sides: list[_Side] = []
    for to, other in ((target, source), (source, target))[: 2 if link.mutual else 1]:
        group = _group_for_rules(snapshot, to)
        if isinstance(group, Denial):
            return Verdict(link, (), group, reachability)
        sides.append(_Side(group, other, to))
    return _with_addresses(snapshot, policy, Verdict(link, (), None, reachability), sides, now)


def _with_addresses(
    snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side], now: float
) -> Verdict:
    """The verdict once consent and addresses are judged, with the rules of these sides."""
    link = verdict.link
    needs = tuple(need for side in sides for need in side.needs(link.ports or (ALL,)))
    advice = denials.NO_ROUTE if verdict.reachability == "different-vpc" else ""
    lacking = [end.party for end in (sides[0].source, sides[0].dest) if end and not end.ip]
    used, denial = _accepted(policy, link, [(side.group, side.source) for side in sides], now)
    if denial is None and lacking:
        denial = denials.no_private_ip(lacking[0])
    verdict = msgspec.structs.replace(
        verdict, needs=() if lacking else needs, consent=used, denial=denial, advice=advice
    )
    return verdict if denial else _with_safe_addresses(snapshot, policy, verdict, sides)


def _group_for_rules(snapshot: Snapshot, instance: Instance) -> Group | Denial:
    """The first of an instance's groups that no product manages, or why it cannot be told."""
    shown = snapshot.groups_of(instance)
    if len(shown) < len(instance.groups):  # it may be one of those that are not shown
        return denials.own_groups_not_found(instance.party.id, ", ".join(instance.groups))
    first = next((group for group in shown if not group.managed), None)
    return first or denials.no_group_takes_rules(instance.party)


def _instance_denial(instance: Instance | None, party: Party) -> Denial | None:
    """Why an instance cannot be one side of a link."""
    if instance is None:
        return denials.instance_gone(party)
    return denials.classic_instance(party) if instance.classic or not instance.vpc else None


def _with_safe_addresses(snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side]) -> Verdict:
    """A /32 must mean the instance that was consented to. Its owner picks the address, so it must be private, in the
    account's ranges, and belong to nothing in the target's VPC."""
    questions: list[Address] = []
    for side in sides:
        source = side.source
        ranges, account = policy.accounts[source.party.account].ranges, source.party.account
        if denial := address_denial(source.party, source.ip, ranges):
            return msgspec.structs.replace(verdict, denial=denial)
        if source.vpc == side.vpc:
            continue
        if side.dest is None and account != side.group.party.account and not ranges:
            return msgspec.structs.replace(verdict, denial=denials.ranges_missing(source.party, account))
        question = Address(side.group.party.account, side.vpc, source.ip)
        taken = snapshot.taken_addresses.get(question)
        if taken:
            denial = denials.address_in_target_vpc(source.party, source.ip, side.vpc)
            return msgspec.structs.replace(verdict, denial=denial)
        if taken is None:
            questions.append(question)
    if questions:
        denial = denials.unreadable(questions[0].account, f"whether {questions[0].ip} is used in {questions[0].vpc}")
        return msgspec.structs.replace(verdict, denial=denial, open_questions=tuple(questions))
    return verdict


def address_denial(party: object, ip: str, ranges: Sequence[str]) -> Denial | None:
    """Why the address cannot be a rule's source: it is not private, or lies outside the `ranges` (IPv4 CIDRs) that the
    policy gives its account, where it gives any."""
    if not _inside(ip, PRIVATE):
        return denials.public_address(party, ip)
    if ranges and not _inside(ip, tuple(ranges)):
        return denials.address_out_of_range(party, ip, ranges)
    return None


def _inside(ip: str, ranges: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.IPv4Address(ip)
    except ValueError:
        return False
    return any(address in _network(cidr) for cidr in ranges)


@functools.lru_cache(maxsize=256)
def _network(cidr: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(cidr)


def _group_needs(link: Link) -> tuple[Need, ...]:
    if link.mutual:
        return (
            Need(RuleKey(link.target, str(link.source), "", ALL)),
            Need(RuleKey(link.source, str(link.target), "", ALL)),
        )
    return tuple(Need(RuleKey(link.target, str(link.source), "", port)) for port in link.ports)
