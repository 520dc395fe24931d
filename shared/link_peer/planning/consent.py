"""Who has consented to what: the accepting group's tags, and the policy's reviewed pairs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.entry_index import Naming
from link_peer.domain.model import ALL, Group, Instance, Link, Party, Port
from link_peer.domain.policy import Allow, Policy
from link_peer.domain.tags import Accept, Grantee, TagKeys, accepts, covers, egress_accepts

PortsAsked = tuple[Port, ...]

TAG_VALUE = 128  # characters [doc limits]
MAX_TAGS = 20  # of one group [doc limits]


class Gate(msgspec.Struct, frozen=True):
    """One end of a link: a group that is to admit `peer` to its own `end`, or that is to let `end` reach `peer`
    (`is_egress`).

    Of an end that is a group, whose instances are not known, `end` is the group alone."""

    group: Group
    peer: Party | Instance
    end: Party | Instance
    is_egress: bool = False


def consents(policy: Policy, gate: Gate, ports: PortsAsked, now: float) -> tuple[list[str], list[Port]]:
    """(the entries that consent, the ports that none covers) at one end.

    Each port must be covered by one single entry that has not ended. Consent that names a group covers the instances in
    it; consent that names an instance covers that instance only, never its group. `ports` is `(ALL,)` for a mutual
    link.
    """
    current = [(label, entry) for label, entry in entries_at(policy, gate) if entry.until is None or now < entry.until]
    used: list[str] = []
    missing: list[Port] = []
    for port in ports:
        evidence = next((label for label, entry in current if covers(entry.ports, port)), None)
        if evidence is None:
            missing.append(port)
        elif evidence not in used:
            used.append(evidence)
    return used, missing


def entries_at(policy: Policy, gate: Gate) -> list[tuple[str, Accept]]:
    """The entries of a group's tags and of the policy that consent at one end, each on its ports until its end, which
    may be past; with their labels in records. An entry of the policy consents for both ends."""
    entries: list[tuple[str, Accept]] = []
    group, read = gate.group, egress_accepts if gate.is_egress else accepts
    if policy.accept_tags:
        entries += [
            (f"{group.party} {entry.text}", entry)
            for entry in read(group.tags, group.party.account, policy.keys)
            if names(entry.party, gate.peer)
        ]
    if policy.allow:
        entries += [
            (f"policy allow {allow.text}", Accept(allow.source, allow.ports, allow.text, allow.until))
            for allow in _allowing(policy, gate, _naming(policy, gate.peer))
        ]
    return entries


def groups_named_at(policy: Policy, gate: Gate) -> tuple[str, ...]:
    """The groups to which entries consent at one end, whichever of them the peer, an instance that is not shown, is
    in."""
    group, read = gate.group, egress_accepts if gate.is_egress else accepts
    ids = [entry.party.id for entry in read(group.tags, group.party.account, policy.keys)]
    account = _naming(policy, gate.peer).account
    allowing = _allowing(policy, gate, Naming(account, frozenset(), any_group=True))
    ids += [allow.target.id if gate.is_egress else allow.source.id for allow in allowing]
    ids += [member.id for member, sets in policy.members.items() if not sets.isdisjoint(ids)]
    return tuple(name for name in ids if name.startswith("sg-"))


def _allowing(policy: Policy, gate: Gate, peer: Naming) -> list[Allow]:
    """The entries of `allow` that consent at one end to a peer of such names."""
    ends = [_naming(policy, end) for end in (gate.end, gate.group.party)]
    if ends[0].account == ends[1].account:  # an entry that names both counts once
        ends = [Naming(ends[0].account, ends[0].ids | ends[1].ids)]
    ways = ((end, peer) if gate.is_egress else (peer, end) for end in ends)
    return [allow for source, target in ways for allow in policy.allow_index.concerning(source, target)]


def _naming(policy: Policy, end: Party | Instance) -> Naming:
    """How entries of `allow` name a group or instance, or a group that the instance is in."""
    party = end.party if isinstance(end, Instance) else end
    ids = frozenset((party.id, *(end.groups if isinstance(end, Instance) else ())))
    sets = (sets for member, sets in policy.members.items() if member.account == party.account and member.id in ids)
    return Naming(party.account, ids.union("*", *sets))


def consent_to(policy: Policy, link: Link, gates: Sequence[Gate], now: float) -> tuple[tuple[str, ...], Denial | None]:
    """(the entries that consent, why consent is lacking) for a link, at those of its ends that are asked."""
    ports = link.ports or (ALL,)
    used: list[str] = []
    missing: list[denials.Unaccepted] = []
    for gate in gates:
        evidence, uncovered = consents(policy, gate, ports, now)
        used += evidence
        if uncovered:
            party = gate.peer.party if isinstance(gate.peer, Instance) else gate.peer
            if link.member:  # consent to a group covers its instances
                party = link.target if gate.is_egress else link.source
            tags = tags_for(gate.group, party, ports, policy.keys, egress=gate.is_egress)
            entry = entry_for(gate.group, party, ports)
            missing.append(denials.Unaccepted(gate.group.party, party, tuple(uncovered), tags, entry, gate.is_egress))
    denial = denials.no_consent(missing, by_tag=policy.accept_tags) if missing else None
    return tuple(used), denial


def denied_by_policy(policy: Policy, ports: tuple[Port, ...]) -> Denial | None:
    """Why the policy never opens these ports, whatever the consent. No ports: mutual."""
    return beyond_limits(policy, ports) or forbidden_ports(policy, ports)


def beyond_limits(policy: Policy, ports: tuple[Port, ...]) -> Denial | None:
    """Why the policy opens no link with so many ports. What stands stays."""
    limits = policy.limits
    if len(ports) > limits.max_ports:
        return denials.too_many_ports(len(ports), limits.max_ports)
    spans = ((port, port.high - port.low + 1) for port in ports)
    wide = ((port, span) for port, span in spans if span > limits.max_port_span)
    return next((denials.port_span_too_wide(port, span, limits.max_port_span) for port, span in wide), None)


def forbidden_ports(policy: Policy, ports: tuple[Port, ...]) -> Denial | None:
    """Why the policy lets no link with these ports stand. No ports: mutual."""
    if not ports and (policy.deny or policy.denies_mutual):
        return denials.mutual_not_allowed(denies_ports=not policy.denies_mutual)
    overlaps = ((port, denied) for port in ports for denied in policy.deny if denied.overlaps(port))
    return next((denials.port_denied(port, denied) for port, denied in overlaps), None)


def entry_for(group: Group, source: Party, ports: PortsAsked) -> str:
    """The entry that would consent, `<who>[:<ports>]`, however long."""
    name = source.id if source.account == group.party.account else str(source)
    return name if ALL in ports else f"{name}:{'+'.join(sorted(map(str, ports)))}"


def tags_for(group: Group, source: Party, ports: PortsAsked, keys: TagKeys, *, egress: bool = False) -> list[str]:
    """The exact tags (`key=value`) that would consent when set on `group`, to `source` reaching it, or to reaching that
    (`egress`). They replace none of its tags, and no value is longer than a tag value may be. Empty where the group has
    too few consenting keys left."""
    name = source.id if source.account == group.party.account else str(source)
    entries = entries_of(name, () if ALL in ports else sorted(map(str, ports)))
    free = free_keys(group.tags, keys, egress=egress)
    return [f"{key}={entry}" for key, entry in zip(free, entries, strict=False)] if len(entries) <= len(free) else []


def entries_of(party: str, ports: Sequence[str], end: str = "") -> list[str]:
    """The entry `<who>[:<ports>]<end>`; several, with some of the ports each, where it is longer than a tag."""
    entries = [] if ports else [party]
    for port in ports:
        longer = f"{entries[-1]}+{port}" if entries else ""
        if longer and len(longer + end) <= TAG_VALUE:
            entries[-1] = longer
        else:
            entries.append(f"{party}:{port}")
    return [entry + end for entry in entries]


def free_keys(tags: Mapping[str, str], keys: TagKeys, *, egress: bool = False) -> list[str]:
    """The keys consenting at one end that a group with these tags can still be given."""
    consenting = keys.letting_out if egress else keys.accepting
    return [key for key in consenting if key not in tags][: max(0, MAX_TAGS - len(tags))]


def names(entry: Grantee, source: Party | Instance) -> bool:
    """Whether the grantee of a consent is this group or instance, or a group that the instance is in."""
    party = source.party if isinstance(source, Instance) else source
    if entry.account != party.account:
        return False
    groups = source.groups if isinstance(source, Instance) else ()
    return entry.id in ("*", party.id) or entry.id in groups
