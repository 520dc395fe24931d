"""Who has consented to what: the accepting group's tags, and the policy's reviewed pairs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from link_peer.domain import denials
from link_peer.domain.denials import Denial
from link_peer.domain.model import ALL, Group, Instance, Link, Party, Port
from link_peer.domain.policy import Policy
from link_peer.domain.tags import Accept, TagKeys, Who, accepts, covers

PortsAsked = tuple[Port, ...]

TAG_VALUE = 128  # characters [doc limits]
MAX_TAGS = 20  # of one group [doc limits]


def consents(
    policy: Policy, group: Group, source: Party | Instance, target: Party, ports: PortsAsked, now: float
) -> tuple[list[str], list[Port]]:
    """(the entries that consent, the ports that none covers) for `source` to reach `target`, on `group`.

    Each port must be covered by one single entry that has not ended. Consent that names a group covers the instances in
    it; consent that names an instance covers that instance only, never its group. `ports` is `(ALL,)` for a mutual link.
    """
    current = current_entries(policy, group, source, target, now)
    used: list[str] = []
    missing: list[Port] = []
    for port in ports:
        evidence = next((label for label, entry in current if covers(entry.ports, port)), None)
        if evidence is None:
            missing.append(port)
        elif evidence not in used:
            used.append(evidence)
    return used, missing


def current_entries(
    policy: Policy, group: Group, source: Party | Instance, target: Party, now: float
) -> list[tuple[str, Accept]]:
    """Those of `entries_between` that have not ended."""
    entries = entries_between(policy, group, source, target)
    return [(label, entry) for label, entry in entries if entry.until is None or now < entry.until]


def entries_between(policy: Policy, group: Group, source: Party | Instance, target: Party) -> list[tuple[str, Accept]]:
    """The entries of a group's tags and of the policy that let `source` reach `target`, each on its ports until its end, which may
    be past; with their labels in records."""
    entries: list[tuple[str, Accept]] = []
    if policy.accept_tags:
        entries += [
            (f"{group.party} {entry.text}", entry)
            for entry in accepts(group.tags, group.party.account, policy.keys)
            if names(entry.party, source)
        ]
    entries += [
        (f"policy allow {allow.text}", Accept(allow.source, allow.ports, allow.text, allow.until))
        for allow in policy.allow
        if names(allow.source, source) and _reaches(allow.target, group.party, target)
    ]
    return entries


def consent_to(
    policy: Policy, link: Link, sides: Sequence[tuple[Group, Party | Instance]], now: float
) -> tuple[tuple[str, ...], Denial | None]:
    """(the entries that consent, why consent is lacking) for a link. `sides` are the group of the link's target with who is to
    reach it and, where the link is mutual and that is asked too, the same for its source."""
    ports = link.ports or (ALL,)
    used: list[str] = []
    missing: list[denials.Unaccepted] = []
    for (group, source), target in zip(sides, (link.target, link.source), strict=False):
        evidence, uncovered = consents(policy, group, source, target, ports, now)
        used += evidence
        if uncovered:
            party = source.party if isinstance(source, Instance) else source
            party = link.source if link.member else party  # consent to a group covers its instances
            tags, entry = tags_for(group, party, ports, policy.keys), entry_for(group, party, ports)
            missing.append(denials.Unaccepted(group.party, party, tuple(uncovered), tags, entry))
    denial = denials.no_consent(missing, by_tag=policy.accept_tags) if missing else None
    return tuple(used), denial


def denied_by_policy(policy: Policy, ports: tuple[Port, ...]) -> Denial | None:
    """Why the policy never opens these ports, whatever the consent. No ports: mutual."""
    limits = policy.limits
    if not ports and policy.deny:
        return denials.mutual_not_allowed()
    if len(ports) > limits.max_ports:
        return denials.too_many_ports(len(ports), limits.max_ports)
    for port in ports:
        span = port.high - port.low + 1
        if span > limits.max_port_span:
            return denials.port_span_too_wide(port, span, limits.max_port_span)
        for denied in policy.deny:
            if denied.overlaps(port):
                return denials.port_denied(port, denied)
    return None


def entry_for(group: Group, source: Party, ports: PortsAsked) -> str:
    """The entry that would consent, `<who>[:<ports>]`, however long."""
    name = source.id if source.account == group.party.account else str(source)
    return name if ALL in ports else f"{name}:{'+'.join(sorted(map(str, ports)))}"


def tags_for(group: Group, source: Party, ports: PortsAsked, keys: TagKeys) -> list[str]:
    """The exact tags (`key=value`) that would consent when set on `group`. They replace none of its tags, and no value is
    longer than a tag value may be. Empty where the group has too few consenting keys left."""
    name = source.id if source.account == group.party.account else str(source)
    entries = entries_of(name, () if ALL in ports else sorted(map(str, ports)))
    free = free_keys(group.tags, keys)
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


def free_keys(tags: Mapping[str, str], keys: TagKeys) -> list[str]:
    """The consenting keys that a group with these tags can still be given."""
    return [key for key in keys.accepting if key not in tags][: max(0, MAX_TAGS - len(tags))]


def names(entry: Who, source: Party | Instance) -> bool:
    """Whether a consent's `who` names this group or instance, or a group that the instance is in."""
    party = source.party if isinstance(source, Instance) else source
    if entry.account != party.account:
        return False
    groups = source.groups if isinstance(source, Instance) else ()
    return entry.id in ("*", party.id) or entry.id in groups


def _reaches(entry: Who, group: Party, target: Party) -> bool:
    if entry.account != group.account:
        return False
    return entry.id in ("*", group.id, target.id)
