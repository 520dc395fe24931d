"""What forbids a pair as things are now, whoever consents: refusals in the tags of groups, and the policy's `never`. Pure.

| a set's tags                             | `never`                                           | `allow`                              |
|------------------------------------------|---------------------------------------------------|--------------------------------------|
| a group has them all                     | in the set                                        | in the set                           |
| it has another value for one of the keys | not in the set                                    | not in the set                       |
| it lacks a key, and no value differs     | in the set                                        | not in the set                       |
| its account refuses access               | in the set                                        | not in the set                       |
| it was not read otherwise                | undecided: nothing is opened, what stands stays   | not in the set; what stands may stay |

An instance is judged with all its groups: one that matches is enough. A group is judged by itself, whatever its members are.
Where an account refuses access, an instance may be in any group of it. A refusal (`link-refuse`) is judged in the same way, with
the tags of each group of either end.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Instance, Link, Party, Ports
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Who, refusals

End = Party | Instance


def forbidden(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why no rule of ours may admit `source` to `target`, even with consent: a group of either end refuses the other one, or
    `never` forbids it. As `never_denial` says."""
    judges = (refused, never_denial)
    causes = [denial for judge in judges if (denial := judge(snapshot, policy, source, target, ports))]
    return min(causes, key=lambda denial: denial.undecided, default=None)


def refused(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why a group of one end, as far as it was read, refuses the other, in either direction. Any overlap of ports counts, without
    ports any entry."""
    for holder, peer in ((target, source), (source, target)):
        for group in _groups(snapshot, holder) or ():
            tags = snapshot.groups[group].tags if group in snapshot.groups else {}
            for entry in refusals(tags, group.account, policy.keys):
                if _overlap(ports, entry.ports) and (not entry.party or _barred(snapshot, policy, entry.party, peer)):
                    return denials.refused(group, entry, tags, peer if isinstance(peer, Party) else peer.party)
    return None


def never_denial(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why no rule of ours may admit `source` to `target`, even with consent. Any overlap of ports counts; without ports the link
    is mutual, so that any entry counts, in either direction. The denial is undecided where only tags could tell which were
    not read."""
    unread: Denial | None = None
    for start, end in [(source, target)] if ports else [(source, target), (target, source)]:
        for entry in policy.never:
            if not _overlap(ports, entry.ports):
                continue
            verdicts = [
                _barred(snapshot, policy, entry_end, link_end)
                for entry_end, link_end in ((entry.source, start), (entry.target, end))
            ]
            if all(verdicts):
                return denials.never_allowed(entry.text)
            if False not in verdicts:
                account = (entry.source if verdicts[0] is None else entry.target).account
                unread = denials.unreadable(account, f"the tags of groups, which decide about {entry.text}")
    return unread


def with_sets(snapshot: Snapshot, policy: Policy, link: Link, *, standing: bool = False) -> Policy:
    """The policy in which every entry of `allow` names the parties of a link in place of a set that they are in. `standing`:
    what was not read, in an account that refuses nothing, counts as in every set."""
    if not any(entry_end.id.startswith(SET) for allow in policy.allow for entry_end in (allow.source, allow.target)):
        return policy

    def parties(entry_end: Who) -> list[Who]:
        if not entry_end.id.startswith(SET):
            return [entry_end]
        ends = (link.source, link.target)
        return [Who(e.account, e.id) for e in ends if _allowed(snapshot, policy, entry_end, e, standing=standing)]

    expanded = [(entry, parties(entry.source), parties(entry.target)) for entry in policy.allow]
    allow = [
        msgspec.structs.replace(entry, source=source, target=target)
        for entry, sources, targets in expanded
        for source in sources
        for target in targets
    ]
    return msgspec.structs.replace(policy, allow=tuple(allow))


def _overlap(ports: Ports, barred_ports: Ports) -> bool:
    """Whether ports are among those that an entry is about; without ports, each is about all."""
    if not ports or not barred_ports:
        return True
    return any(port.overlaps(barred_port) for port in ports for barred_port in barred_ports)


def _barred(snapshot: Snapshot, policy: Policy, entry_end: Who, end: End) -> bool | None:
    """Whether an end of an entry of `never` is this party, or may be; None where only unread tags tell."""
    party = end.party if isinstance(end, Instance) else end
    if entry_end.account != party.account or entry_end.id in ("*", party.id):
        return entry_end.account == party.account
    hidden = party.account in snapshot.refused_accounts
    groups = _groups(snapshot, end)
    if groups is None:
        return hidden and not entry_end.id.startswith("i-")
    if not entry_end.id.startswith(SET):
        return entry_end.id in {group.id for group in groups}
    tags = [snapshot.groups[group].tags if group in snapshot.groups else None for group in groups]
    set_tags = policy.sets[entry_end.id.removeprefix(SET)].tags
    if any(hidden if group_tags is None else _none_differs(group_tags, set_tags) for group_tags in tags):
        return True
    return None if None in tags and not party.is_group else False  # a group that is not shown is denied for that


def _allowed(snapshot: Snapshot, policy: Policy, entry_end: Who, end: Party, *, standing: bool) -> bool:
    """Whether an end of an entry of `allow`, which is a set, is this party."""
    if entry_end.account != end.account:
        return False
    may_be = standing and end.account not in snapshot.refused_accounts
    groups = _groups(snapshot, end)
    if groups is None:
        return may_be
    set_tags = policy.sets[entry_end.id.removeprefix(SET)].tags
    return any(
        set_tags.items() <= snapshot.groups[group].tags.items() if group in snapshot.groups else may_be
        for group in groups
    )


def _groups(snapshot: Snapshot, end: End) -> list[Party] | None:
    """The group itself, or all groups of the instance; None where it is not shown."""
    if isinstance(end, Party) and end.is_group:
        return [end]
    instance = end if isinstance(end, Instance) else snapshot.instances.get(end)
    return None if instance is None else list(instance.own_groups)


def _none_differs(tags: Mapping[str, str], set_tags: Mapping[str, str]) -> bool:
    return all(tags.get(key, value) == value for key, value in set_tags.items())
