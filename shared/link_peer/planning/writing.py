"""How a link is written as rules: the one place that decides it, from what was read. Pure.

| link                                                     | source of its rules                                    |
|----------------------------------------------------------|--------------------------------------------------------|
| two basic groups of one VPC                              | the group                                              |
| two other groups, with ports                             | the address of each instance of the group: `parts`     |
| two other groups, without ports                          | none: the link is denied                               |
| two instances                                            | the address of the one, to the address of the other    |

ECS takes a group of another VPC, or an advanced group, as no source of a rule [doc AuthorizeSecurityGroup]. Where it does take
one of another VPC, nothing here relies on it.
"""

from __future__ import annotations

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Group, Link, Party, RuleKey
from link_peer.domain.snapshot import Snapshot

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
    """Whether a link between groups is written with the addresses of its source's instances. False where that is not known."""
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
    """Whether a link between groups is known to be written otherwise than by address: nobody but a forger writes a part of it."""
    return {link.source, link.target} <= snapshot.groups.keys() and not is_by_address(snapshot, link)


def misplaced(snapshot: Snapshot, key: RuleKey, link: Link) -> Denial | None:
    """Why a rule that names a group should not be there, though the link may be: it is written by address."""
    if key.by_address or not is_by_address(snapshot, link):
        return None
    return no_reference(snapshot.groups[link.source], snapshot.groups[link.target])


def part(link: Link, instance: Party) -> Link:
    """The part of a link by address that is for one instance."""
    return msgspec.structs.replace(link, member=instance.id)


def parts(snapshot: Snapshot, link: Link) -> list[Link]:
    """What a request for a link asks for: the link itself, or by address one part for each instance of its source that was
    read. A group without instances is asked for itself, and denied."""
    if not is_by_address(snapshot, link):
        return [link]
    return [part(link, member) for member in snapshot.members.get(link.source, ())] or [link]
