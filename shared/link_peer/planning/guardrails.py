"""What forbids a pair as things are now, whoever consents: refusals in the tags of groups, and the policy's `never`.
Pure.

| a set's tags                             | `never`                                           | `allow`                              |
|------------------------------------------|---------------------------------------------------|--------------------------------------|
| a group has them all                     | in the set                                        | in the set                           |
| it has another value for one of the keys | not in the set                                    | not in the set                       |
| it lacks a key, and no value differs     | in the set                                        | not in the set                       |
| its account refuses access               | in the set                                        | not in the set                       |
| it was not read otherwise                | undecided: nothing is opened, what stands stays   | not in the set; what stands may stay |

An instance is judged with all its groups: one that matches is enough. A group is judged by itself, whatever its members
are. Where an account refuses access, an instance may be in any group of it. A refusal (`link-refuse`) is judged in the
same way, with the tags of each group of either end.
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Mapping, Set

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.entry_index import Naming
from link_peer.domain.model import Instance, Link, Party, Ports
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, refusals

End = Party | Instance


def forbidden(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why no rule of ours may admit `source` to `target`, even with consent: a group of either end refuses the other
    one, or `never` forbids it. As `never_denial` says."""
    judges = (refused, never_denial)
    causes = [denial for judge in judges if (denial := judge(snapshot, policy, source, target, ports))]
    return min(causes, key=lambda denial: denial.undecided, default=None)


def refused(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why a group of one end, as far as it was read, refuses the other, in either direction. Any overlap of ports
    counts, without ports any entry."""
    for holder, peer in ((target, source), (source, target)):
        for group in _groups(snapshot, holder) or ():
            tags = snapshot.groups[group].tags if group in snapshot.groups else {}
            for entry in refusals(tags, group.account, policy.keys):
                if _overlap(ports, entry.ports) and (not entry.party or _names(snapshot, entry.party, peer)):
                    return denials.refused(group, entry, tags, peer if isinstance(peer, Party) else peer.party)
    return None


def never_denial(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    """Why no rule of ours may admit `source` to `target`, even with consent. Any overlap of ports counts; without ports
    the link is mutual, so that any entry counts, in either direction. The denial is undecided where only tags could
    tell which were not read."""
    if not policy.never:
        return None
    unread: Denial | None = None
    for start, end in [(source, target)] if ports else [(source, target), (target, source)]:
        (sources, doubtful_sources), (targets, doubtful_targets) = (
            _naming(snapshot, policy, link_end) for link_end in (start, end)
        )
        for entry in policy.never_index.concerning(sources, targets):
            if not _overlap(ports, entry.ports):
                continue
            if entry.source.id not in doubtful_sources and entry.target.id not in doubtful_targets:
                return denials.never_allowed(entry.text)
            account = (entry.source if entry.source.id in doubtful_sources else entry.target).account
            unread = denials.unreadable(account, f"the tags of groups, which decide about {entry.text}")
    return unread


def with_sets(snapshot: Snapshot, policy: Policy, link: Link, *, standing: bool = False) -> Policy:
    """The policy with the sets of `allow` that the parties of a link are in. `standing`: what was not read, in an
    account that refuses nothing, counts as in every set."""
    if not policy.allow_sets:
        return policy
    memory = snapshot.memory(policy.allow_sets)
    members: dict[Party, frozenset[str]] = {}
    for end in (link.source, link.target):
        if (end, standing) not in memory:
            memory[end, standing] = _allowed_sets(snapshot, policy, end, standing=standing)
        members[end] = memory[end, standing]
    return policy.with_members(members)


def _overlap(ports: Ports, barred_ports: Ports) -> bool:
    """Whether ports are among those that an entry is about; without ports, each is about all."""
    if not ports or not barred_ports:
        return True
    return any(port.overlaps(barred_port) for port in ports for barred_port in barred_ports)


def _names(snapshot: Snapshot, entry_end: Grantee, end: End) -> bool:
    """Whether an entry of a refusal names this party, or may name it."""
    naming = _naming_by_ids(snapshot, end)
    return entry_end.account == naming.account and any(naming.select({entry_end.id: True}))


def _naming_by_ids(snapshot: Snapshot, end: End) -> Naming:
    """How entries name a party but for sets; where its account refuses access, an instance may be in any group."""
    party = end.party if isinstance(end, Instance) else end
    groups = _groups(snapshot, end)
    ids = {"*", party.id, *(group.id for group in groups or ())}
    return Naming(party.account, ids, groups is None and party.account in snapshot.refused_accounts)


def _naming(snapshot: Snapshot, policy: Policy, end: End) -> tuple[Naming, Set[str]]:
    """(how entries of `never` name a party, or may name it; of these, the sets of which only unread tags tell whether
    they do)."""
    naming = _naming_by_ids(snapshot, end)
    groups = _groups(snapshot, end)
    if groups is None or naming.account not in policy.never_sets:
        return naming, frozenset()
    sets = set().union(*(_barring_sets(snapshot, policy, group) for group in groups))
    # a group that is not shown is denied for that
    is_read = (isinstance(end, Party) and end.is_group) or all(group in snapshot.groups for group in groups)
    doubtful = frozenset() if is_read else policy.never_sets[naming.account].keys() - sets
    return msgspec.structs.replace(naming, ids={*naming.ids, *sets, *doubtful}), doubtful


def _barring_sets(snapshot: Snapshot, policy: Policy, group: Party) -> frozenset[str]:
    """The sets of `never` that a group is in."""
    memory = snapshot.memory(policy.never_sets)
    if group not in memory:
        set_tags = policy.never_sets[group.account]
        if group in snapshot.groups:
            tags = snapshot.groups[group].tags
            memory[group] = frozenset(name for name, values in set_tags.items() if _none_differs(tags, values))
        else:
            memory[group] = frozenset(set_tags if group.account in snapshot.refused_accounts else ())
    sets: frozenset[str] = memory[group]
    return sets


def _allowed_sets(snapshot: Snapshot, policy: Policy, end: Party, *, standing: bool) -> frozenset[str]:
    """The sets of `allow` that a party is in."""
    set_tags = policy.allow_sets.get(end.account, {})
    groups = _groups(snapshot, end)
    unread = [end] if groups is None else [group for group in groups if group not in snapshot.groups]
    if unread and standing and end.account not in snapshot.refused_accounts:
        return frozenset(set_tags)
    tags = [snapshot.groups[group].tags.items() for group in groups or () if group in snapshot.groups]
    return frozenset(name for name, values in set_tags.items() if any(values.items() <= items for items in tags))


def _groups(snapshot: Snapshot, end: End) -> list[Party] | None:
    """The group itself, or all groups of the instance; None where it is not shown."""
    if isinstance(end, Party) and end.is_group:
        return [end]
    instance = end if isinstance(end, Instance) else snapshot.instances.get(end)
    return None if instance is None else list(instance.own_groups)


def _none_differs(tags: Mapping[str, str], set_tags: Mapping[str, str]) -> bool:
    return all(tags.get(key, value) == value for key, value in set_tags.items())
