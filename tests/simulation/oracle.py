"""A second, independent implementation of the contract: which rules are ours, allowed and wanted.

It shares the value classes of `link_peer.domain` with production code, but no logic: it parses tags, hashes rule ids and
evaluates consent itself.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Iterator

from link_peer.domain.model import ALL, Group, Instance, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Policy

from tests.simulation.world import REGION, World

MARKER = re.compile(r"link-peer/1 dep=(\S+) id=([0-9a-f]{16}) by=(\S+)( from=\S+ to=\S+)?")


def rule_id(key: RuleKey, deployment: str) -> str:
    """The `id` field of a rule's marker."""
    port = f"{key.port.protocol}|{key.port.low}/{key.port.high}"
    text = f"link-peer/1|{deployment}|{REGION}|{key.group.account}/{key.group.id}|{key.source}|{key.dest}|{port}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def claims(rule: Rule, policy: Policy) -> frozenset[str]:
    """The claims in a rule's marker, as written; empty if the rule is not ours."""
    match = MARKER.fullmatch(rule.description)
    if rule.key is None or rule.policy != "accept" or match is None:
        return frozenset()
    if match[1] != policy.deployment or match[2] != rule_id(rule.key, policy.deployment):
        return frozenset()
    if bool(match[4]) != bool(rule.key.dest):
        return frozenset()
    return frozenset(match[3].split(","))


def owned(world: World, policy: Policy) -> dict[RuleKey, frozenset[str]]:
    """Every rule of ours, with its claims."""
    found = {}
    for by_id in world.rules.values():
        for rule in by_id.values():
            if rule.key is not None and (ours := claims(rule, policy)):
                found[rule.key] = ours
    return found


def present(world: World) -> frozenset[RuleKey]:
    """Every accept rule, ours and manual ones."""
    return frozenset(
        rule.key for by_id in world.rules.values() for rule in by_id.values() if rule.key and rule.policy == "accept"
    )


def allowed(world: World, policy: Policy, key: RuleKey) -> bool:
    """Whether the policy permits a rule, and the group's tags or the allow list consent to it."""
    group = world.groups.get(key.group)
    if group is None or key.group.account not in policy.accounts:
        return False
    if any(key.port == ALL or _overlap(denied, key.port) for denied in policy.deny):
        return False
    if key.port.high - key.port.low + 1 > policy.limits.max_port_span:
        return False
    sources = _sources(world, key)
    if sources is None:
        return False
    account, names = sources
    if account not in policy.accounts:
        return False
    entries = []
    if policy.accept_tags:
        for name, value in group.tags.items():
            if name == "link-accept" or name.startswith("link-accept."):
                entries += [entry for entry in re.split("[ ,]", value) if entry]
    for entry in entries:
        who, _, ports = entry.partition(":")
        name, _, uid = who.partition("@")
        if (uid or group.party.account) != account or not (name == "*" or name in names):
            continue
        if not ports or (key.port != ALL and any(_within(key.port, parse_port(p)) for p in ports.split("+"))):
            return True
    targets = _owners(world, key.dest) | {key.group.id, "*"}
    for allow in policy.allow:
        if allow.source.account != account or not (allow.source.id == "*" or allow.source.id in names):
            continue
        if allow.target.account != key.group.account or allow.target.id not in targets:
            continue
        if not allow.ports or (key.port != ALL and any(_within(key.port, port) for port in allow.ports)):
            return True
    return False


def wanted_by_tags(world: World, policy: Policy) -> dict[RuleKey, set[str]]:
    """Every allowed rule that tags of instances ask for, with the ids of these instances."""
    found: dict[RuleKey, set[str]] = {}
    for instance in world.instances.values():
        if instance.party.account not in policy.accounts or _expired(instance, world.now):
            continue
        for party, ports in _peers(instance):
            keys = _rules_of(world, instance, party, ports)
            if keys and len(ports) <= policy.limits.max_ports and all(allowed(world, policy, key) for key in keys):
                for key in keys:
                    found.setdefault(key, set()).add(instance.party.id)
    return found


def _rules_of(world: World, instance: Instance, peer: Party, ports: list[Port]) -> list[RuleKey]:
    """The rules of one link of an instance; none if the link is impossible."""
    if peer.id.startswith("sg-"):
        target = world.groups.get(peer)
        if (
            target is None
            or not _basic(target)
            or (peer.account == instance.party.account and peer.id in instance.groups)
        ):
            return []
        own = (world.groups.get(Party(instance.party.account, name)) for name in instance.groups)
        source = next((group for group in own if group and _basic(group) and group.vpc == target.vpc), None)
        if source is None:
            return []
        if ports:
            return [RuleKey(peer, str(source.party), "", port) for port in ports]
        return [RuleKey(peer, str(source.party), "", ALL), RuleKey(source.party, str(peer), "", ALL)]
    other = world.instances.get(peer)
    if other is None or other.party == instance.party or not other.ip or not instance.ip:
        return []
    directions = [(instance, other)] if ports else [(instance, other), (other, instance)]
    found = []
    for source_instance, target_instance in directions:
        own = (world.groups.get(Party(target_instance.party.account, name)) for name in target_instance.groups)
        group = next((group for group in own if group and not group.managed), None)
        if group is None:
            return []
        for port in ports or [ALL]:
            found.append(RuleKey(group.party, f"{source_instance.ip}/32", f"{target_instance.ip}/32", port))
    return found


def _basic(group: Group) -> bool:
    return bool(group.vpc) and not group.advanced and not group.managed


def _peers(instance: Instance) -> Iterator[tuple[Party, list[Port]]]:
    for name, value in instance.tags.items():
        if name != "link-peer" and not name.startswith("link-peer."):
            continue
        for entry in re.split("[ ,]", value):
            match = re.fullmatch(r"(sg-[0-9a-z]+|i-[0-9a-z]+)(?:@([0-9]+))?(?::([a-z0-9/+-]+))?", entry)
            if match:
                ports = sorted({parse_port(text) for text in match[3].split("+")}) if match[3] else []
                yield Party(match[2] or instance.party.account, match[1]), ports


def _expired(instance: Instance, now: float) -> bool:
    text = instance.tags.get("link-until")
    if text is None:
        return False
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) <= now
    except ValueError:
        return True


def _sources(world: World, key: RuleKey) -> tuple[str, set[str]] | None:
    """The account of a rule's source, and the ids by which consent may name it; None if no instance has the address."""
    if key.source.startswith("sg-"):
        name, _, account = key.source.partition("@")
        return account, {name}
    for instance in world.instances.values():
        if f"{instance.ip}/32" == key.source:
            return instance.party.account, {instance.party.id, *instance.groups}
    return None


def _owners(world: World, dest: str) -> set[str]:
    return {instance.party.id for instance in world.instances.values() if dest and f"{instance.ip}/32" == dest}


def parse_port(text: str) -> Port:
    """A port as tags and records write it: `icmp`, `tcp/3306`, `tcp/20-30`."""
    if text == "icmp":
        return Port("icmp")
    protocol, _, numbers = text.partition("/")
    low, _, high = numbers.partition("-")
    return Port(protocol, int(low), int(high or low))


def _within(port: Port, outer: Port) -> bool:
    return port.protocol == outer.protocol and outer.low <= port.low and port.high <= outer.high


def _overlap(one: Port, other: Port) -> bool:
    return one.protocol == other.protocol and one.low <= other.high and other.low <= one.high
