"""A second, independent implementation of the contract: which rules are ours, allowed and wanted.

It shares the value classes of `link_peer.domain` with production code, but no logic: it parses tags, hashes rule ids and
evaluates consent itself.
"""

from __future__ import annotations

import calendar
import hashlib
import re
import time
from collections.abc import Iterable, Iterator

import msgspec
from link_peer.domain.model import ALL, Group, Instance, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.tags import Who

from tests.simulation.world import REGION, World

MARKER = re.compile(
    r"link-peer/2 dep=(\S+) home=([0-9]+) id=([0-9a-f]{16}) by=([^\s,]+(?:,[^\s,]+)*)(?: from=(\S+) (to|of)=(\S+))?"
)
PRIVATE = re.compile(r"10\.|172\.(1[6-9]|2[0-9]|3[01])\.|192\.168\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.")
_CONSENT = re.compile(r"link-accept(?:\.[2-9])?")
_REFUSE = re.compile(r"\s*" + r"\s*".join("link-refuse") + r"\s*(?:\.|$)", re.IGNORECASE)
_REFUSAL = re.compile(r"(\*|(?:sg|i)-[0-9a-z]{1,60})(?:@([0-9]{15,20}))?(?::((?:tcp|udp)/[0-9-]+|icmp))?")
_LOCK = re.compile(r"\s*" + r"\s*".join("link-lock") + r"\s*(?:\.|$)", re.IGNORECASE)

Pair = tuple[Party, Party] | None
"""The source's and the destination's instance of an instance rule; of a rule by address, its instance and the group that it
stands for; None for a rule between groups."""


class Owned(msgspec.Struct, frozen=True):
    """A rule of ours with what its marker says; claims as written."""

    rule: Rule
    key: RuleKey
    claims: frozenset[str]
    pair: Pair


def managed_tag(policy: Policy) -> str:
    """The key of the tag by which a sweep finds a group."""
    return f"link-managed.{policy.deployment}.{policy.home}"


def instances_tag(policy: Policy) -> str:
    """The key of the tag by which groups with rules between instances are found."""
    return f"{managed_tag(policy)}.instances"


def rule_id(key: RuleKey, deployment: str, home: str) -> str:
    """The `id` field of a rule's marker."""
    port = f"{key.port.protocol}|{key.port.low}/{key.port.high}"
    group = f"{key.group.account}/{key.group.id}"
    text = f"link-peer/2|{home}|{deployment}|{REGION}|{group}|{key.source}|{key.dest}|{port}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def marker(key: RuleKey, policy: Policy, claims: str, pair: Pair = None) -> str:
    """A marker as a person may forge it."""
    text = f"link-peer/2 dep={policy.deployment} home={policy.home}"
    text += f" id={rule_id(key, policy.deployment, policy.home)} by={claims}"
    names = [end.id if end.account == policy.home else str(end) for end in pair or ()]
    return text + (f" from={names[0]} {'of' if names[1].startswith('sg-') else 'to'}={names[1]}" if names else "")


def ours(rule: Rule, policy: Policy) -> Owned | None:
    """A rule as ours, or None if it is not."""
    match = MARKER.fullmatch(rule.description)
    if rule.key is None or rule.policy != "accept" or match is None:
        return None
    if (match[1], match[2]) != (policy.deployment, policy.home):
        return None
    form = "to" if rule.key.dest else None if rule.key.source.startswith("sg-") else "of"
    if match[3] != rule_id(rule.key, policy.deployment, policy.home) or match[6] != form:
        return None
    pair = (_end(match[5], policy), _end(match[7], policy)) if match[5] else None
    return Owned(rule, rule.key, frozenset(match[4].split(",")), pair)


def claims(rule: Rule, policy: Policy) -> frozenset[str]:
    """The claims in a rule's marker; empty if the rule is not ours."""
    owned_rule = ours(rule, policy)
    return owned_rule.claims if owned_rule else frozenset()


def damaged(rule: Rule, policy: Policy) -> bool:
    """Whether a rule's description names our deployment and home, but is not its marker."""
    words = rule.description.split(" ")
    names_us = {f"dep={policy.deployment}", f"home={policy.home}"} <= set(words)
    return words[0].startswith("link-peer/") and names_us and ours(rule, policy) is None


def owned_rules(world: World, policy: Policy) -> list[Owned]:
    """Every rule of ours, copies of one rule each."""
    rules = [rule for by_id in world.rules.values() for rule in by_id.values()]
    return [owned_rule for rule in rules if (owned_rule := ours(rule, policy))]


def owned(world: World, policy: Policy) -> dict[RuleKey, frozenset[str]]:
    """Every rule of ours, with its claims."""
    return {owned_rule.key: owned_rule.claims for owned_rule in owned_rules(world, policy)}


def present(world: World) -> frozenset[RuleKey]:
    """Every accept rule, ours and manual ones."""
    return frozenset(
        rule.key for by_id in world.rules.values() for rule in by_id.values() if rule.key and rule.policy == "accept"
    )


def allowed(world: World, policy: Policy, key: RuleKey, pair: Pair = None) -> bool:
    """Whether a rule may be on its group: the policy permits it, no lock forbids it, and the group's tags or the allow list
    consent to its source. For an instance rule, `pair` are the instances that it is for."""
    group = world.groups.get(key.group)
    if group is None or any(map(_LOCK.match, group.tags)) or not _permitted(policy, key.port):
        return False
    source = Party(*reversed(key.source.split("@"))) if pair is None else pair[0]
    if not {source.account, key.group.account} <= policy.accounts.keys():
        return False
    target = pair[1] if pair and key.dest else key.group
    if _barred(world, policy, source, target, [] if key.port == ALL else [key.port]):
        return False
    names = {source.id}
    if pair is not None:
        if source.account not in world.revoked:
            if not _is_rule_of(world, policy, key, pair):
                return False
            names |= _named(world, pair)
    elif not key.source.startswith("sg-"):
        return False
    return _consented_to(world, policy, key, pair, source, names)


def accepted(world: World, policy: Policy, key: RuleKey, pair: Pair = None) -> bool:
    """Whether a rule's group, by its tags and the allow list alone, lets it stand: no lock forbids it, and its source has
    consent. Of an instance that is not shown, or in an account that refuses access, nothing is said."""
    source = Party(*reversed(key.source.split("@"))) if pair is None else pair[0]
    names = {source.id}
    if pair is not None:
        if source not in world.instances or source.account in world.revoked:
            return True
        names |= _named(world, pair)
    return "link-lock" not in world.groups[key.group].tags and _consented_to(world, policy, key, pair, source, names)


def _consented_to(world: World, policy: Policy, key: RuleKey, pair: Pair, source: Party, names: set[str]) -> bool:
    targets = {key.group.id, "*"} | ({pair[1].id} if pair and key.dest else set())
    return _consented(world, policy, world.groups[key.group], key.port, source.account, names, targets)


def _named(world: World, pair: tuple[Party, Party]) -> set[str]:
    """The groups by which consent may name the instance: any of its own, or by address the one that it stands for."""
    return {pair[1].id} if pair[1].id.startswith("sg-") else set(world.instances[pair[0]].groups)


def by_address(world: World, source: Party, target: Party) -> bool:
    """Whether no rule can name the group that is the source of a link."""
    groups = [world.groups.get(party) for party in (source, target)]
    return None not in groups and (
        len({group.vpc for group in groups if group}) > 1 or any(g.advanced for g in groups if g)
    )


def members(world: World, group: Party) -> list[Instance]:
    """The instances of a group, in order."""
    return [
        instance
        for party, instance in sorted(world.instances.items())
        if instance.party.account == group.account
        if group.id in instance.groups
    ]


Part = tuple[Party, Party, Port]
"""A link by address on one port: the source's group, the target's, and the port."""


def parts(owned: Iterable[Owned]) -> dict[Part, dict[Party, frozenset[str]]]:
    """The links by address for which rules stand: their instances, each with the claims on its rule."""
    claims_by_part: dict[Part, dict[Party, frozenset[str]]] = {}
    for owned_rule in owned:
        if owned_rule.pair and not owned_rule.key.dest:
            claims_by_part.setdefault((owned_rule.pair[1], owned_rule.key.group, owned_rule.key.port), {})[
                owned_rule.pair[0]
            ] = owned_rule.claims
    return claims_by_part


def waiting_to_join(world: World, policy: Policy) -> list[tuple[RuleKey, str]]:
    """What requests' links by address lack: the rule of each instance of their source that may have one, with the claim."""
    lacking = []
    present = owned(world, policy)
    for (source, target, port), standing in parts(owned_rules(world, policy)).items():
        claims = {claim for rule_claims in standing.values() for claim in rule_claims if claim != "tag"}
        for member in members(world, source):
            key = RuleKey(target, f"{member.ip}/32", "", port)
            room = member.party in standing or len(standing) < policy.limits.max_members
            if member.ip and room and allowed(world, policy, key, (member.party, source)):
                lacking += [(key, claim) for claim in claims if claim not in present.get(key, ())]
    return lacking


def wanted_by_tags(world: World, policy: Policy, only: Party | None = None) -> dict[RuleKey, set[Pair]]:
    """Every allowed rule that tags of instances, or of `only` one, ask for, with the instances for which it is (None
    between groups)."""
    pairs_by_key: dict[RuleKey, set[Pair]] = {}
    holders = {owned_rule.key: owned_rule.pair for owned_rule in owned_rules(world, policy) if owned_rule.pair}
    for instance in world.instances.values() if only is None else [world.instances[only]]:
        if instance.party.account not in policy.accounts or _expired(instance, world.now):
            continue
        for party, ports in list(_peers(instance))[: policy.limits.max_peers]:
            if {party.account, instance.party.account} & world.revoked or len(ports) > policy.limits.max_ports:
                continue
            if _barred(world, policy, instance.party, party, ports):
                continue
            for rules in _rules_of(world, instance, party, ports):
                if all(_may_be(world, policy, key, pair, holders) for key, pair in rules):
                    for key, pair in rules:
                        pairs_by_key.setdefault(key, set()).add(pair)
                    break
    return _within_limit(world, policy, pairs_by_key) if only is None else pairs_by_key


def _within_limit(world: World, policy: Policy, pairs_asked_for: dict[RuleKey, set[Pair]]) -> dict[RuleKey, set[Pair]]:
    """The same without instances that would be too many for a link by address: those that stand stay, others join in order;
    of a link of which none stands, all may or none."""
    instances_by_part: dict[Part, set[Party]] = {}
    for key, pairs in pairs_asked_for.items():
        for pair in pairs if not key.dest else ():
            if pair:
                instances_by_part.setdefault((pair[1], key.group, key.port), set()).add(pair[0])
    standing, late = parts(owned_rules(world, policy)), set()
    for part, instances in instances_by_part.items():
        standing_instances = standing.get(part, {}).keys()
        new, room = sorted(instances - standing_instances), policy.limits.max_members - len(standing_instances)
        late |= {
            (instance, part) for instance in (new[max(room, 0) :] if standing_instances or len(new) <= room else new)
        }
    pairs_by_key = {
        key: {pair for pair in pairs if not pair or (pair[0], (pair[1], key.group, key.port)) not in late}
        for key, pairs in pairs_asked_for.items()
    }
    return {key: pairs for key, pairs in pairs_by_key.items() if pairs}


def _may_be(world: World, policy: Policy, key: RuleKey, pair: Pair, holders: dict[RuleKey, Pair]) -> bool:
    """Whether a wanted rule is allowed, and is not that of another pair with the same addresses."""
    if not allowed(world, policy, key, pair):
        return False
    holder = holders.get(key, pair)
    return holder == pair or not _is_rule_of(world, policy, key, holder)


def _barred(world: World, policy: Policy, source: Party, target: Party, ports: list[Port]) -> bool:
    """Whether a group of either end refuses the other, or `never` has an entry for the pair, or without ports for either direction
    of it."""
    if any(_refuses(world, policy, holder, peer, ports) for holder, peer in ((source, target), (target, source))):
        return True
    ways = [(source, target)] if ports else [(source, target), (target, source)]
    return any(
        _is_end(world, policy, entry.source, holder) and _is_end(world, policy, entry.target, peer)
        for entry in policy.never
        if not (ports and entry.ports) or any(_overlap(a, b) for a in ports for b in entry.ports)
        for holder, peer in ways
    )


def _refuses(world: World, policy: Policy, holder: Party, peer: Party, ports: list[Port]) -> bool:
    """Whether a group of an end refuses the other one. What cannot be read refuses everybody."""
    instance = world.instances.get(holder)
    groups = [holder.id] if holder.id.startswith("sg-") else instance.groups if instance else ()
    for group in (Party(holder.account, name) for name in groups):
        tags = world.groups[group].tags if group in world.groups else {}
        for value in (value for key, value in tags.items() if _REFUSE.match(key)):
            for entry in re.split("[ ,]+", value.strip(" ,")):
                if (match := _REFUSAL.fullmatch(entry)) is None:
                    return True
                protocol, _, span = (match[3] or "").partition("/")
                low, _, high = span.partition("-")
                refused_ports = [Port(protocol, int(low or -1), int(high or low or -1))] if protocol else []
                meets = not (ports and refused_ports) or any(_overlap(a, b) for a in ports for b in refused_ports)
                if meets and _is_end(world, policy, Who(match[2] or group.account, match[1]), peer):
                    return True
    return False


def _is_end(world: World, policy: Policy, pattern: Who, party: Party) -> bool:
    """Whether an end of `never` is the party or a group of it, or may be one that its account hides."""
    if pattern.account != party.account or pattern.id in ("*", party.id):
        return pattern.account == party.account
    hidden = party.account in world.revoked
    if hidden and not party.id.startswith("sg-"):
        return not pattern.id.startswith("i-")
    instance = world.instances.get(party)
    groups = [party.id] if party.id.startswith("sg-") else instance.groups if instance else ()
    tags = [
        world.groups[Party(party.account, name)].tags for name in groups if Party(party.account, name) in world.groups
    ]
    set_tags = policy.sets[pattern.id[4:]].tags if pattern.id.startswith("set:") else {}
    in_set = hidden or any(all(tag.get(key, value) == value for key, value in set_tags.items()) for tag in tags)
    return pattern.id in groups or (bool(set_tags) and in_set)


def _permitted(policy: Policy, port: Port) -> bool:
    if any(port == ALL or _overlap(denied, port) for denied in policy.deny):
        return False
    return port.high - port.low + 1 <= policy.limits.max_port_span


def _consented(
    world: World, policy: Policy, group: Group, port: Port, account: str, names: set[str], targets: set[str]
) -> bool:
    for name, value in group.tags.items() if policy.accept_tags else ():
        if not _CONSENT.fullmatch(name):
            continue
        for entry in filter(None, re.split("[ ,]", value)):
            text, _, end = entry.partition("~")
            asker, _, ports = text.partition(":")
            source, _, uid = asker.partition("@")
            if (uid or group.party.account) != account or source not in {"*", *names} or _ended(entry, end, world.now):
                continue
            if not ports or (port != ALL and any(_within(port, parse_port(p)) for p in ports.split("+"))):
                return True
    for allow in policy.allow:
        if allow.source.account != account or allow.source.id not in {"*", *names}:
            continue
        if allow.target.account != group.party.account or allow.target.id not in targets:
            continue
        if allow.until is not None and allow.until <= world.now:
            continue
        if not allow.ports or (port != ALL and any(_within(port, allowed_port) for allowed_port in allow.ports)):
            return True
    return False


def _ended(entry: str, end: str, now: float) -> bool:
    if "~" not in entry:
        return False
    try:
        return calendar.timegm(time.strptime(end, "%Y%m%dT%H%M%SZ")) <= now
    except ValueError:
        return True


def _is_rule_of(world: World, policy: Policy, key: RuleKey, pair: Pair) -> bool:
    """Whether an instance rule is the one for these instances, as they are now, and its source's address may be used."""
    if pair is None:
        return False
    source, dest = world.instances.get(pair[0]), world.instances.get(pair[1])
    if source is None or not source.ip or f"{source.ip}/32" != key.source:
        return False
    if not key.dest:
        where, vpc = key.group, world.groups[key.group].vpc
        if pair[1].account != source.party.account or pair[1].id not in source.groups:
            return False
    elif dest is None or not dest.ip or f"{dest.ip}/32" != key.dest or _rule_group(world, dest) != key.group:
        return False
    else:
        where, vpc = dest.party, dest.vpc
    ranges = policy.accounts[source.party.account].ranges
    if not PRIVATE.match(source.ip) or (ranges and not any(_in_range(source.ip, cidr) for cidr in ranges)):
        return False
    if source.vpc == vpc:
        return True
    strange = not key.dest and where.account != source.party.account and not ranges
    return not strange and not world.address_taken(where.account, vpc, source.ip)


def _in_range(ip: str, cidr: str) -> bool:
    network, _, bits = cidr.partition("/")
    shift = 32 - int(bits)
    return _number(ip) >> shift == _number(network) >> shift


def _number(ip: str) -> int:
    a, b, c, d = map(int, ip.split("."))
    return ((a * 256 + b) * 256 + c) * 256 + d


def _rule_group(world: World, instance: Instance) -> Party | None:
    """The group on which an instance's rules are: its first that is not managed."""
    own_groups = (world.groups.get(Party(instance.party.account, name)) for name in instance.groups)
    return next((group.party for group in own_groups if group and not group.managed), None)


def _rules_of(world: World, instance: Instance, peer: Party, ports: list[Port]) -> list[list[tuple[RuleKey, Pair]]]:
    """The rules of one link of an instance, by each group that could stand for it; none if the link is impossible."""
    if peer.id.startswith("sg-"):
        group_rules = [[(key, None) for key in keys] for keys in _group_rules(world, instance, peer, ports)]
        return group_rules or _address_rules(world, instance, peer, ports)
    peer_instance = world.instances.get(peer)
    if peer_instance is None or peer_instance.party == instance.party or not peer_instance.ip or not instance.ip:
        return []
    keys_and_pairs: list[tuple[RuleKey, Pair]] = []
    for source, dest in (
        [(instance, peer_instance)] if ports else [(instance, peer_instance), (peer_instance, instance)]
    ):
        group = _rule_group(world, dest)
        if group is None:
            return []
        keys = [RuleKey(group, f"{source.ip}/32", f"{dest.ip}/32", port) for port in ports or [ALL]]
        keys_and_pairs += [(key, (source.party, dest.party)) for key in keys]
    return [keys_and_pairs]


def _group_rules(world: World, instance: Instance, peer: Party, ports: list[Port]) -> list[list[RuleKey]]:
    target = world.groups.get(peer)
    if target is None or not _basic(target) or (peer.account == instance.party.account and peer.id in instance.groups):
        return []
    own_groups = (world.groups.get(Party(instance.party.account, name)) for name in instance.groups)
    able = [group.party for group in own_groups if group and _basic(group) and group.vpc == target.vpc]
    if ports:
        return [[RuleKey(peer, str(source), "", port) for port in ports] for source in able]
    return [[RuleKey(peer, str(source), "", ALL), RuleKey(source, str(peer), "", ALL)] for source in able]


def _address_rules(
    world: World, instance: Instance, peer: Party, ports: list[Port]
) -> list[list[tuple[RuleKey, Pair]]]:
    """The rules by address, where no rule can name a group of the instance."""
    target = world.groups.get(peer)
    if target is None or not (ports and instance.ip and target.vpc) or target.managed:
        return []
    if peer.account == instance.party.account and peer.id in instance.groups:
        return []
    own_groups = (world.groups.get(Party(instance.party.account, name)) for name in instance.groups)
    able = [group.party for group in own_groups if group and group.vpc and not group.managed]
    if not all(by_address(world, source, peer) for source in able):
        return []
    keys = [RuleKey(peer, f"{instance.ip}/32", "", port) for port in ports]
    return [[(key, (instance.party, source)) for key in keys] for source in able]


def _basic(group: Group) -> bool:
    return bool(group.vpc) and not group.advanced and not group.managed


def _peers(instance: Instance) -> Iterator[tuple[Party, list[Port]]]:
    """The peers of an instance's tags, by tag key and position, each once."""
    yielded = set()
    for name, value in sorted(instance.tags.items()):
        if name != "link-peer" and not name.startswith("link-peer."):
            continue
        for entry in re.split("[ ,]", value):
            match = re.fullmatch(r"(sg-[0-9a-z]+|i-[0-9a-z]+)(?:@([0-9]+))?(?::([a-z0-9/+-]+))?", entry)
            if match:
                ports = sorted({parse_port(text) for text in match[3].split("+")}) if match[3] else []
                peer = Party(match[2] or instance.party.account, match[1])
                if (peer, *ports) not in yielded:
                    yielded.add((peer, *ports))
                    yield peer, ports


def _expired(instance: Instance, now: float) -> bool:
    text = instance.tags.get("link-until")
    if text is None:
        return False
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) <= now
    except ValueError:
        return True


def _end(text: str, policy: Policy) -> Party:
    name, _, account = text.partition("@")
    return Party(account or policy.home, name)


def parse_port(text: str) -> Port:
    """A port as tags and records write it: `icmp`, `tcp/3306`, `tcp/20-30`."""
    if text == "icmp":
        return Port("icmp")
    protocol, _, numbers = text.partition("/")
    low, _, high = numbers.partition("-")
    return Port(protocol, int(low), int(high or low))


def _within(port: Port, outer: Port) -> bool:
    return port.protocol == outer.protocol and outer.low <= port.low and port.high <= outer.high


def _overlap(port: Port, other_port: Port) -> bool:
    return port.protocol == other_port.protocol and port.low <= other_port.high and other_port.low <= port.high
