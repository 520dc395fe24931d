"""The oracle of `EntryIndex`: what `allow` and `never` say of a link, by looking at every entry of the policy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from unittest import mock

import msgspec
from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import Instance, Link, Party, Ports
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import SET, Accept, Grantee, accepts, egress_accepts
from link_peer.planning import consent, guardrails
from link_peer.planning.consent import Gate, names
from link_peer.planning.verdict import acceptance, single_link

End = Party | Instance


@contextlib.contextmanager
def plain_verdicts() -> Iterator[None]:
    """Every verdict is worked out from all entries meanwhile."""
    with contextlib.ExitStack() as patches:
        for module, name, plain in (
            (guardrails, "never_denial", never_denial),
            (single_link, "with_sets", with_sets),
            (acceptance, "with_sets", with_sets),
            (consent, "entries_at", entries_at),
            (acceptance, "groups_named_at", groups_named_at),
            (acceptance, "unseen_senders", unseen_senders),
            (single_link, "unseen_senders", unseen_senders),
        ):
            patches.enter_context(mock.patch.object(module, name, plain))
        yield


def never_denial(snapshot: Snapshot, policy: Policy, source: End, target: End, ports: Ports) -> Denial | None:
    unread: Denial | None = None
    for start, end in [(source, target)] if ports else [(source, target), (target, source)]:
        for entry in policy.never:
            is_about_ports = not ports or not entry.ports or any(p.overlaps(q) for p in ports for q in entry.ports)
            if not is_about_ports:
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


def _barred(snapshot: Snapshot, policy: Policy, entry_end: Grantee, end: End) -> bool | None:
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
    return None if None in tags and not party.is_group else False


def _none_differs(tags: Mapping[str, str], set_tags: Mapping[str, str]) -> bool:
    return all(tags.get(key, value) == value for key, value in set_tags.items())


def with_sets(snapshot: Snapshot, policy: Policy, link: Link, *, standing: bool = False) -> Policy:
    """The policy in which every entry of `allow` names the parties of a link in place of a set that they are in."""

    def parties(entry_end: Grantee) -> list[Grantee]:
        if not entry_end.id.startswith(SET):
            return [entry_end]
        ends = (link.source, link.target)
        return [Grantee(e.account, e.id) for e in ends if _allowed(snapshot, policy, entry_end, e, standing=standing)]

    allow = [
        msgspec.structs.replace(entry, source=source, target=target)
        for entry in policy.allow
        for source in parties(entry.source)
        for target in parties(entry.target)
    ]
    expanded = msgspec.structs.replace(policy, allow=tuple(allow))
    expanded.__dict__["written"] = _written(policy)
    return expanded


def _written(policy: Policy) -> Policy:
    """The policy as the file has it."""
    written: Policy = policy.__dict__.get("written", policy)
    return written


def _allowed(snapshot: Snapshot, policy: Policy, entry_end: Grantee, end: Party, *, standing: bool) -> bool:
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
    if isinstance(end, Party) and end.is_group:
        return [end]
    instance = end if isinstance(end, Instance) else snapshot.instances.get(end)
    return None if instance is None else list(instance.own_groups)


def entries_at(policy: Policy, gate: Gate) -> list[tuple[str, Accept]]:
    entries: list[tuple[str, Accept]] = []
    group, read = gate.group, egress_accepts if gate.is_egress else accepts
    if policy.accept_tags:
        entries += [
            (f"{group.party} {entry.text}", entry)
            for entry in read(group.tags, group.party.account, policy.keys)
            if names(entry.party, gate.peer)
        ]
    entries += [
        (f"policy allow {allow.text}", Accept(allow.source, allow.ports, allow.text, allow.until))
        for allow in policy.allow
        for peer, end in [(allow.target, allow.source) if gate.is_egress else (allow.source, allow.target)]
        if names(peer, gate.peer) and (names(end, gate.end) or names(end, group.party))
    ]
    return entries


def groups_named_at(policy: Policy, gate: Gate) -> tuple[str, ...]:
    read = egress_accepts if gate.is_egress else accepts
    ids = [entry.party.id for entry in read(gate.group.tags, gate.group.party.account, policy.keys)]
    ids += [allow.target.id if gate.is_egress else allow.source.id for allow in policy.allow]
    return tuple(name for name in ids if name.startswith("sg-"))


def unseen_senders(snapshot: Snapshot, policy: Policy, group: Party) -> list[Party]:
    sources = [allow.source for allow in _written(policy).allow]  # an end that stands for a set is no sender
    instances = {Party(source.account, source.id) for source in sources if source.id.startswith("i-")}
    return sorted(party for party in instances - snapshot.instances.keys() if party.account == group.account)
