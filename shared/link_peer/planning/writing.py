"""How a link is written as rules: the one place that decides it, from what was read. Pure.

| link                                                     | source of its rules                                    |
|----------------------------------------------------------|--------------------------------------------------------|
| two basic groups of one VPC                              | the group                                              |
| two other groups, with ports                             | the address of each instance of the group: `parts`     |
| two other groups, without ports                          | none: the link is denied                               |
| two instances                                            | the address of the one, to the address of the other    |

An advanced group lets nothing out by default. Where the source's group is one, a link with ports also has egress rules
there: one for the address of each instance of the target that people's rules do not let out already (`outlets`).

ECS takes a group of another VPC, or an advanced group, as no source of a rule [doc AuthorizeSecurityGroup]. Where it
does take one of another VPC, nothing here relies on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain import marker as markers
from link_peer.domain.denials import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, Port, Ports, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning import effect

MAX_RULES = 100
"""Rules of one link by address: as many as one AuthorizeSecurityGroup call takes [doc AuthorizeSecurityGroup]."""


def by_reference(source: Group, target: Group) -> bool:
    """Whether a rule of either group can name the other."""
    return source.vpc == target.vpc and not (source.advanced or target.advanced)


def not_written(source: Group, target: Group, link: Link) -> Denial | None:
    """Why no rule can be written for a link between these groups."""
    for group in (source, target):
        if not group.vpc:
            return denials.classic_group(group.party)
        if group.managed:
            return denials.managed_group(group.party)
    return no_reference(source, target) if link.mutual else None


def no_reference(source: Group, target: Group) -> Denial | None:
    """Why no rule of either group can name the other."""
    if by_reference(source, target):
        return None
    if source.vpc != target.vpc:
        return denials.different_vpc(source.party, source.vpc, target.party, target.vpc)
    return denials.advanced_group(source.party if source.advanced else target.party)


def is_by_address(snapshot: Snapshot, link: Link) -> bool:
    """Whether a link between groups is written with the addresses of its source's instances. False where that is not
    known."""
    source, target = snapshot.groups.get(link.source), snapshot.groups.get(link.target)
    return bool(source and target and link.ports and not by_reference(source, target))


def note(snapshot: Snapshot, link: Link) -> str:
    """That a link between groups is written by address, and why; empty for every other."""
    if not is_by_address(snapshot, link):
        return ""
    source, target = snapshot.groups[link.source], snapshot.groups[link.target]
    reasons = ["their VPCs differ"] if source.vpc != target.vpc else []
    advanced = [group.party.id for group in (source, target) if group.advanced]
    if advanced:
        reasons.append(f"{' and '.join(advanced)} {'are advanced groups' if advanced[1:] else 'is an advanced group'}")
    return f"by address, since {', and '.join(reasons)}"


def is_otherwise(snapshot: Snapshot, link: Link) -> bool:
    """Whether a link between groups is known to be written otherwise than by address: nobody but a forger writes a part
    of it."""
    return {link.source, link.target} <= snapshot.groups.keys() and not is_by_address(snapshot, link)


def misplaced(snapshot: Snapshot, key: RuleKey, link: Link) -> Denial | None:
    """Why a rule that names a group should not be there, though the link may be: it is written by address."""
    if key.by_address or not is_by_address(snapshot, link):
        return None
    return no_reference(snapshot.groups[link.source], snapshot.groups[link.target])


def other_ends(snapshot: Snapshot, link: Link) -> list[Party]:
    """The groups that hold, or may hold, the rules of a link with ports at the other end than its own: of the egress
    rules of an advanced group, those of the target, and the reverse."""
    source = snapshot.groups_with(link.source)
    if link.mutual or not any(snapshot.groups[group].advanced for group in source):
        return []
    return snapshot.groups_with(link.target) if link.is_egress else source


def part(side: Link, instance: Party) -> Link:
    """The part of a link by address, at one of its ends, that is for one instance."""
    return msgspec.structs.replace(side, member=instance.id)


def outward(link: Link) -> Link:
    """The end of a link at which its source's group lets out."""
    return msgspec.structs.replace(link.whole, is_egress=True)


def parts(snapshot: Snapshot, policy: Policy, link: Link) -> list[Link]:
    """What a request for a link asks for: the link itself, or by address one part for each instance of its source that
    was read, and those by which these are let out. A group without instances is asked for itself, and denied."""
    if not is_by_address(snapshot, link):
        return [link]
    senders = snapshot.members.get(link.source, ())
    if not senders:
        return [link]
    ingress = [part(link, member) for member in senders]
    return [*ingress, *outlets(snapshot, policy, link, [snapshot.instances[sender] for sender in senders])]


def outlets(snapshot: Snapshot, policy: Policy, link: Link, senders: Sequence[Instance | None]) -> list[Link]:
    """The parts of a link by address by which its source's group lets these instances out: those for the instances of
    its target that people's rules do not let all of them reach, or for which a rule of ours stands. None: any instance
    of the group."""
    if not snapshot.groups[link.source].advanced:
        return []
    members = [snapshot.instances[member] for member in snapshot.members.get(link.target, ())]
    return [
        part(outward(link), target.party)
        for target in members
        if any(needs_outlet(snapshot, policy, link, sender, target) for sender in senders)
    ]


def missing_outlets(snapshot: Snapshot, policy: Policy, link: Link) -> set[RuleKey]:
    """The egress rules that a link by address needs, where none of them stands and no person's lets its instances out
    to any of the target either: then nothing does. None where the rules of the source's group were not read."""
    members = snapshot.members.get(link.target, ())
    if not {link.source, link.target} <= snapshot.groups.keys() or link.source not in snapshot.rules:
        return set()
    parties = [link.asker] if link.member else snapshot.members.get(link.source, ())
    senders = [snapshot.instances.get(party) for party in parties]
    if any(not {*sender.own_groups} <= snapshot.rules.keys() for sender in senders if sender):
        return set()
    reached = [snapshot.instances[outlet.reached] for outlet in outlets(snapshot, policy, link.whole, senders)]
    keys = {RuleKey(link.source, "", f"{target.ip}/32", port) for target in reached for port in link.ports}
    standing = any(rule.key in keys and rule.policy == "accept" for rule in snapshot.rules[link.source])
    return set() if standing or len(reached) < len(members) else keys


def needs_outlet(snapshot: Snapshot, policy: Policy, link: Link, sender: Instance | None, target: Instance) -> bool:
    """Whether an instance reaches this one only by rules of ours: people's do not let it out, or one of ours stands,
    which stays. One whose marker is damaged is left alone, whether the link stands or not."""
    groups = (link.source,) if link.source.is_group else sender.own_groups if sender else ()
    keys = {RuleKey(group, "", f"{target.ip}/32", port) for group in groups for port in link.ports}
    standing = (rule for group in groups for rule in snapshot.rules.get(group, ()) if rule.key in keys)
    return any(_has_marker(rule, policy) for rule in standing) or not is_let_out(snapshot, policy, link, sender, target)


def is_let_out(
    snapshot: Snapshot, policy: Policy, link: Link, sender: Instance | None, target: Instance | None
) -> bool:
    """Whether people's rules let an instance, as a member of all of its groups, reach this one of the target group on
    all ports of a link. None: whichever instance, with any address; of the source, as a member of the link's group
    alone."""
    groups = {*(sender.own_groups if sender else (link.source,))}
    if not groups <= snapshot.rules.keys():
        return False
    rules = {group: [rule for rule in snapshot.rules[group] if not is_ours(rule, policy)] for group in groups}
    vpc = snapshot.groups[link.source].vpc if link.source.is_group else ""
    start = effect.End(tuple(sorted(groups)), sender.vpc if sender else vpc, sender.ip if sender else "")
    peer_groups = (link.target,) if link.target.is_group else target.own_groups if target else ()
    end = effect.End(peer_groups, target.vpc if target else "", target.ip if target else "")
    return effect.lets_out(snapshot, rules, (start, end), link.ports)


def may_be_let_out(snapshot: Snapshot, policy: Policy, groups: Iterable[Party], ports: Ports) -> bool:
    """Whether people's rules of these groups, all of which were read, may let an instance out on all of these ports, to
    whomever."""
    rules = [rule for group in groups for rule in snapshot.rules[group] if rule.is_egress and rule.policy == "accept"]
    passing = [rule.traffic.port or ALL if rule.traffic else ALL for rule in rules if not is_ours(rule, policy)]
    return all(any(let_out == ALL or let_out.overlaps(port) for let_out in passing) for port in ports)


def is_admitted_by_people(snapshot: Snapshot, policy: Policy, source: Party, target: Party, port: Port) -> bool:
    """Whether a person's rule of the target group admits an instance of the source group by its address, as a rule of
    ours would. It counts as that of the link."""
    keys = (
        rule.key for rule in snapshot.rules.get(target, ()) if rule.policy == "accept" and not _has_marker(rule, policy)
    )
    sources = {key.source for key in keys if key and key.port == port and not (key.is_egress or key.dest)}
    members = (snapshot.instances[member] for member in snapshot.members.get(source, ()))
    return bool(sources) and any(f"{member.ip}/32" in sources for member in members)


def _has_marker(rule: Rule, policy: Policy) -> bool:
    marker = markers.parse(rule.description)
    return marker is not None and (marker.home, marker.deployment) == (policy.home, policy.deployment)


def is_ours(rule: Rule, policy: Policy) -> bool:
    """Whether a rule says that this deployment wrote it."""
    return markers.deployment_named(rule.description, policy.home) == policy.deployment
