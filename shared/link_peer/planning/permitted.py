"""May this link exist, whether or not its rules have room, and as which rules? Pure: see `planning.evaluate`, which asks this."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denial import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.domain.tags import TagKeys, accepts
from link_peer.planning.authority import unknown_account
from link_peer.planning.consent import consent_to, denied_by_policy
from link_peer.planning.decision import Need, Verdict
from link_peer.planning.guardrails import never_denial, with_sets

# [RFC 1918, RFC 6598] A VPC may have other ranges too, by custom range (help page 65398).
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")


class _Side(msgspec.Struct, frozen=True):
    """One side of an instance link: `group` is given the rule that lets `source` reach `dest`."""

    group: Group
    source: Instance
    dest: Instance


def permitted(snapshot: Snapshot, policy: Policy, link: Link, now: float) -> Verdict:
    """Whether a link may exist as things are now. Where several checks fail, the first one is reported."""
    needs = _group_needs(link) if link.source.is_group else ()
    denial = unknown_account(policy, link) or denied_by_policy(policy, link.ports)
    denial = denial or never_denial(snapshot, policy, link.source, link.target, link.ports) or no_access(snapshot, link)
    if denial:
        return Verdict(link, needs, denial)
    policy = with_sets(snapshot, policy, link)
    if link.source.is_group:
        return _evaluate_groups(snapshot, policy, link, needs, now)
    if aside := tuple(party for party in (link.source, link.target) if snapshot.set_aside(party)):
        unread = denials.unreadable(aside[0].account, f"instance {aside[0].id} was not read yet")
        return Verdict(link, (), unread, open_questions=aside)
    return _evaluate_instances(snapshot, policy, link, now)


def no_access(snapshot: Snapshot, link: Link) -> Denial | None:
    """An account that refuses access, or could not be read: nothing can be decided about its side."""
    for account in (link.source.account, link.target.account):
        if error := snapshot.refused_accounts.get(account):
            return denials.no_access(account, error.code)
        if account in snapshot.failed_accounts:
            return denials.unreadable(account, snapshot.failed_accounts[account])
    return None


def closed_by_group(snapshot: Snapshot, policy: Policy, key: RuleKey, link: Link, now: float) -> Denial | None:
    """Whether the group that holds a rule is locked, or no longer accepts the rule's source, or the policy forbids the link. Needs no look at the other
    side, so that a peer which cannot be read keeps nothing open (fail closed).

    An instance that is not shown may be in any group, so consent to any group of its account counts; but where the
    source's account refuses access, only consent that names that very party, or `*` of its account, does.
    """
    group = snapshot.groups.get(key.group)
    if group is None:
        return None
    if (barred := never_denial(snapshot, policy, link.source, link.target, link.ports)) and not barred.undecided:
        return barred
    policy = with_sets(snapshot, policy, link, standing=True)
    source: Party | Instance = link.source
    if not link.source.is_group and link.source.account not in snapshot.refused_accounts:
        named = [entry.who.id for entry in accepts(group.tags, group.party.account, policy.keys)]
        named += [allow.source.id for allow in policy.allow]
        groups = tuple(name for name in named if name.startswith("sg-"))
        source = snapshot.instances.get(link.source) or Instance(link.source, "", groups)
    return _accepted(policy, link, [(group, source)], now)[1]


def _evaluate_groups(snapshot: Snapshot, policy: Policy, link: Link, needs: tuple[Need, ...], now: float) -> Verdict:
    for party in (link.source, link.target):
        if denial := _group_denial(snapshot.groups.get(party), party):
            return Verdict(link, needs, denial)
    source, target = snapshot.groups[link.source], snapshot.groups[link.target]
    if source.vpc != target.vpc:
        denial = denials.different_vpc(source.party, source.vpc, target.party, target.vpc)
        return Verdict(link, needs, denial, "different-vpc")
    verdict = Verdict(link, needs, None, "same-vpc")
    sides = [(target, link.source), (source, link.target)][: 2 if link.mutual else 1]
    used, denial = _accepted(policy, link, sides, now)
    return msgspec.structs.replace(verdict, consent=used, denial=denial)


def _group_denial(group: Group | None, party: Party) -> Denial | None:
    """Why a group cannot be one side of a link between groups."""
    if group is None:
        return denials.peer_not_found(party)
    if not group.vpc:
        return denials.classic_group(party)
    if group.managed:
        return denials.managed_group(party)
    return denials.advanced_group(party) if group.advanced else None


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
    advice = denials.NO_ROUTE if reachability == "different-vpc" else ""
    verdict = Verdict(link, _instance_needs(link, sides), None, reachability, advice=advice)
    used, denial = _accepted(policy, link, [(side.group, side.source) for side in sides], now)
    verdict = msgspec.structs.replace(verdict, consent=used, denial=denial)
    if denial is not None:
        return verdict
    if not verdict.needs:
        lacking = source if not source.ip else target
        return msgspec.structs.replace(verdict, denial=denials.no_private_ip(lacking.party))
    return _with_safe_addresses(snapshot, policy, verdict, sides)


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


def _instance_needs(link: Link, sides: Sequence[_Side]) -> tuple[Need, ...]:
    """A five-part rule for each side and port; none while an address is missing."""
    if not all(side.source.ip and side.dest.ip for side in sides):
        return ()
    return tuple(
        Need(
            RuleKey(side.group.party, f"{side.source.ip}/32", f"{side.dest.ip}/32", port),
            (side.source.party, side.dest.party),
        )
        for side in sides
        for port in link.ports or (ALL,)
    )


def _with_safe_addresses(snapshot: Snapshot, policy: Policy, verdict: Verdict, sides: Sequence[_Side]) -> Verdict:
    """A /32 must mean the instance that was consented to. Its owner picks the address, so it must be private, in the
    account's ranges, and belong to nothing in the target's VPC."""
    questions: list[Address] = []
    for side in sides:
        source = side.source
        if denial := address_denial(source.party, source.ip, policy.accounts[source.party.account].ranges):
            return msgspec.structs.replace(verdict, denial=denial)
        if source.vpc == side.dest.vpc:
            continue
        question = Address(side.dest.party.account, side.dest.vpc, source.ip)
        taken = snapshot.taken_addresses.get(question)
        if taken:
            denial = denials.address_in_target_vpc(source.party, source.ip, side.dest.vpc)
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
    if not _inside(ip, _PRIVATE):
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
