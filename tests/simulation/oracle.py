"""A second, independent implementation of the contract: which rules are ours, allowed and wanted.

It shares the value classes of `link_peer.domain` with production code, but no logic: it parses tags, hashes rule ids
and evaluates consent itself.
"""

from __future__ import annotations

import calendar
import hashlib
import itertools
import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from link_peer.domain.model import ALL, Group, Instance, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.tags import Grantee

from tests.simulation.world import REGION, World

MARKER = re.compile(
    r"link-peer/2 dep=(\S+) home=([0-9]+) id=([0-9a-f]{16}) by=([^\s,]+(?:,[^\s,]+)*)"
    r"(?: (from|to)=(\S+)(?: (to|of)=(\S+))?)?"
)
PRIVATE = re.compile(r"10\.|172\.(1[6-9]|2[0-9]|3[01])\.|192\.168\.|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\.")
HALF_OPEN_SECONDS = 1800  # a sweep removes half of a request's link once the rule is older
_CONSENT = {False: re.compile(r"link-accept(?:\.[2-9])?"), True: re.compile(r"link-egress(?:\.[23])?")}
"""The keys by which a group consents, to ingress and to egress."""
_REFUSE = re.compile(r"\s*" + r"\s*".join("link-refuse") + r"\s*(?:\.|$)", re.IGNORECASE)
_REFUSAL = re.compile(r"(\*|(?:sg|i)-[0-9a-z]{1,60})(?:@([0-9]{15,20}))?(?::([a-z0-9/+-]+))?")
_LOCK = re.compile(r"\s*" + r"\s*".join("link-lock") + r"\s*(?:\.|$)", re.IGNORECASE)

Pair = tuple[Party, Party] | None
"""The source's and the destination's instance of an instance rule; of a rule by address, its instance and the group
that it stands for; of an egress rule for an instance, that one twice; None for a rule between groups."""


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
    if pair is None:
        return text
    first, second = (end.id if end.account == policy.home else str(end) for end in pair)
    text += f" {'to' if key.is_egress else 'from'}={first}"
    if is_part(pair):
        return f"{text} of={second}"
    return text if key.is_egress else f"{text} to={second}"


def ours(rule: Rule, policy: Policy) -> Owned | None:
    """A rule as ours, or None if it is not."""
    match = MARKER.fullmatch(rule.description)
    if rule.key is None or rule.policy != "accept" or match is None:
        return None
    if (match[1], match[2]) != (policy.deployment, policy.home):
        return None
    ends = [("to", "of"), ("to", None)] if rule.key.is_egress else [("from", "to" if rule.key.dest else "of")]
    forms = [(None, None)] if rule.key.source.startswith("sg-") else ends
    if match[3] != rule_id(rule.key, policy.deployment, policy.home) or (match[5], match[7]) not in forms:
        return None
    pair = (_end(match[6], policy), _end(match[8] or match[6], policy)) if match[5] else None
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


def created(rule: Rule) -> int:
    """When a rule was made, in epoch seconds."""
    return calendar.timegm(time.strptime(rule.created, "%Y-%m-%dT%H:%M:%SZ"))


def is_part(pair: Pair) -> bool:
    """Whether a rule is for one instance of the group that a link names."""
    return pair is not None and pair[1].id.startswith("sg-")


def is_of_same_instance(pair: Pair, pairs: Collection[Pair]) -> bool:
    """Whether a rule by address is for the instance of one of these pairs."""
    return pair is not None and pair[0] in {reached[0] for reached in pairs if reached}


def allowed(world: World, policy: Policy, key: RuleKey, pair: Pair = None, ports: Sequence[Port] = ()) -> bool:
    """Whether a rule may be on its group: the policy permits it, no lock or refusal forbids it, and the group's tags or
    the allow list consent; and so at the other end of its link, where its source's group lets nothing out by default.
    For a rule with an address, `pair` are the parties that it is for; `ports` are those of the whole link, if it has
    others."""
    return _allowed_alone(world, policy, key, pair) and (
        pair is None or key.port == ALL or _other_end_allows(world, policy, key, pair, ports or [key.port])
    )


def _allowed_alone(world: World, policy: Policy, key: RuleKey, pair: Pair) -> bool:
    group = world.groups.get(key.group)
    if group is None or is_locked(group) or not _permitted(policy, key.port):
        return False
    if pair is None and not key.source.startswith("sg-"):
        return False
    if key.is_egress and not group.advanced:
        return False
    source, target = _ends(key, pair)
    if not {source.account, target.account, key.group.account} <= policy.accounts.keys():
        return False
    reached = {target, pair[1]} if pair and key.is_egress else {target}
    if any(_barred(world, policy, source, end, [] if key.port == ALL else [key.port]) for end in reached):
        return False
    names = {target.id if key.is_egress else source.id}
    if pair is not None and pair[0].account not in world.revoked:
        if not _is_rule_of(world, policy, key, pair):
            return False
        names |= _named_ids(world, pair)
    return _consented_to(world, policy, key, pair, names)


def _ends(key: RuleKey, pair: Pair) -> tuple[Party, Party]:
    """Who is let reach whom."""
    if pair is None:
        return Party(*reversed(key.source.split("@"))), key.group
    if key.is_egress:
        return key.group, pair[0]
    return pair[0], pair[1] if key.dest else key.group


def _other_end_allows(
    world: World, policy: Policy, key: RuleKey, pair: tuple[Party, Party], ports: Sequence[Port]
) -> bool:
    """Whether the other end of a link lets some instance through on these ports. Of an account that refuses access, and
    of a group without instances, nothing is said."""
    if {pair[0].account, key.group.account} & world.revoked:
        return True
    if key.is_egress:
        # who is in the target's group, too, needs no link to it, unless by a request, which links all members
        senders = members(world, key.group)
        linked = (
            sender
            for sender in senders
            if pair[1] not in _groups_of(sender)
            or _is_admitted_by_request(world, policy, sender, pair[1], ports)
            or _is_of_request(world, policy, {key})
        )
        # whichever its marker names, links to the group and to the instance share the rule
        to_instance = {
            (rule.key.source, rule.key.port) for rule in owned_rules(world, policy) if rule.key.dest == key.dest
        }
        return any(_admitted(world, policy, sender, pair, ports) for sender in linked) or any(
            _admitted(world, policy, sender, (pair[0], pair[0]), ports)
            for sender in senders
            if (f"{sender.ip}/32", key.port) in to_instance
        )
    if is_part(pair):
        source, targets = world.groups.get(pair[1]), members(world, key.group)
        if source is None or not source.advanced or not targets:
            return True
        senders = _sender_groups(world, pair)
        if not all(needs_outlet(world, policy, senders, target, ports, pair[1]) for target in targets):
            return True
        outlets = [
            [(RuleKey(pair[1], "", f"{target.ip}/32", p), (target.party, key.group)) for p in ports]
            for target in targets
        ]
        return any(all(_allowed_alone(world, policy, *rule) for rule in rules) for rules in outlets)
    sender, target = world.instances.get(pair[0]), world.instances.get(pair[1])
    if sender is None or target is None or not needs_outlet(world, policy, _groups_of(sender), target, ports):
        return True
    rules = [[RuleKey(group, "", f"{target.ip}/32", port) for port in ports] for group in _groups_of(sender)]
    return any(all(_allowed_alone(world, policy, key, (pair[1], pair[1])) for key in keys) for keys in rules)


def _admitted(
    world: World, policy: Policy, sender: Instance, reached: tuple[Party, Party], ports: Sequence[Port]
) -> bool:
    """Whether the target of an egress rule, or its group, may admit an instance of the group that has the rule."""
    target = world.instances.get(reached[0])
    if is_part(reached):
        groups, dest = [reached[1]], ""
    elif target is None:
        return False
    else:
        groups, dest = _groups_of(target), f"{target.ip}/32"
    return any(
        all(
            _allowed_alone(world, policy, RuleKey(group, f"{sender.ip}/32", dest, port), (sender.party, sender_group))
            for port in ports
        )
        for group in groups
        for sender_group in ([reached[0]] if dest else [Party(sender.party.account, name) for name in sender.groups])
    )


def lets_out_who_asks(world: World, policy: Policy, key: RuleKey, pair: Pair) -> bool:
    """Whether the target of an egress rule by tag may admit one of those whose tags ask for it. Others of the group do
    not count."""
    if pair is None or not key.is_egress or not is_part(pair):
        return True
    askers = (instance for instance, party, *_ in _wishes(world, policy) if party == pair[1])
    return any(_admitted(world, policy, asker, pair, [key.port]) for asker in askers if key.group in _groups_of(asker))


def _is_admitted_by_request(
    world: World, policy: Policy, sender: Instance, group: Party, ports: Sequence[Port]
) -> bool:
    """Whether a rule that a request asks for admits an instance to a group by its address."""
    return _is_of_request(world, policy, {RuleKey(group, f"{sender.ip}/32", "", port) for port in ports})


def _is_of_request(world: World, policy: Policy, keys: Collection[RuleKey]) -> bool:
    """Whether one of these rules stands, and not for tags alone. A person's counts for a request, too."""
    rules = [rule for group in {key.group for key in keys} for rule in world.rules.get(group, {}).values()]
    return any(claims(rule, policy) != {"tag"} for rule in rules if rule.key in keys and rule.policy == "accept")


def _groups_of(instance: Instance) -> list[Party]:
    return [Party(instance.party.account, name) for name in instance.groups]


def _sender_groups(world: World, pair: tuple[Party, Party]) -> list[Party]:
    """All groups of the instance of a rule by address, that for which it stands first: any of them may let it out."""
    sender = world.instances.get(pair[0])
    return [pair[1], *(_groups_of(sender) if sender else ())]


def needs_outlet(
    world: World,
    policy: Policy,
    groups: Sequence[Party],
    target: Instance | None,
    ports: Sequence[Port],
    holder: Party | None = None,
) -> bool:
    """Whether an instance of all of these groups reaches another one, or whichever, only by egress rules of ours:
    people's do not let it out on some port, or one of ours stands, on whichever group or on that of the link."""
    address = f"{target.ip}/32" if target else ""
    shown_groups = [world.groups[group] for group in groups if group in world.groups]
    keys = {RuleKey(group, "", address, port) for group in ([holder] if holder else groups) for port in ports}
    rules = [rule for group in shown_groups for rule in world.rules[group.party].values() if rule.is_egress]
    ours_stands = any(rule.key in keys and ours(rule, policy) for rule in rules)
    if not any(group.advanced for group in shown_groups):
        return False
    if not all(group.advanced for group in shown_groups) and not ours_stands:
        return False
    manual = [rule.traffic for rule in rules if rule.policy == "accept" and not _names_us(rule, policy)]
    let_out = [traffic for traffic in manual if traffic and traffic.peer in (address, "0.0.0.0/0")]
    return ours_stands or not all(any(carries(rule_key.port, port) for rule_key in let_out) for port in ports)


def passes(world: World, sender: Instance, target: Instance, port: Port) -> bool:
    """Whether packets pass from one instance to another, where security groups decide it: one of the sender's groups
    lets them out, and one of the target's admits them. What a person drops somewhere there is not held against a
    link."""
    own_rules, far_rules = (
        [(world.groups[group], world.rules[group].values()) for group in _groups_of(instance) if group in world.groups]
        for instance in (sender, target)
    )
    rules = [rule for _, by_id in (*own_rules, *far_rules) for rule in by_id]
    if any(rule.policy == "drop" for rule in rules) or {*sender.groups} & {*target.groups}:
        return True
    traffic = [(rule.group, rule.traffic) for rule in rules if rule.traffic]
    let_out = not all(group.advanced for group, _ in own_rules) or any(
        each.direction == "egress" and each.peer in (f"{target.ip}/32", "0.0.0.0/0") and carries(each.port, port)
        for group, each in traffic
        if group in _groups_of(sender)
    )
    peers = {f"{sender.ip}/32", *(str(group) for group in _groups_of(sender))}
    return let_out and any(
        each.direction == "ingress"
        and each.peer in peers
        and each.own_range in ("", f"{target.ip}/32")
        and carries(each.port, port)
        for group, each in traffic
        if group in _groups_of(target)
    )


def carries(wide: Port | None, port: Port) -> bool:
    """Whether a rule on these ports is one on this port too."""
    return wide is not None and (wide == ALL or _within(port, wide))


def missing_outlets(
    world: World, policy: Policy, source: Party, target: Party, port: Port, sender: Party | None = None
) -> bool:
    """Whether no egress rule lets a group's instances out to any of the target's, though it has some; or one of them,
    in all of its groups."""
    groups = [source, *(_groups_of(world.instances[sender]) if sender in world.instances else ())]
    targets = members(world, target)
    keys = {RuleKey(group, "", f"{target.ip}/32", port) for group in groups for target in targets}
    rules = (rule for group in groups for rule in world.rules.get(group, {}).values())
    standing = any(rule.key in keys and rule.policy == "accept" for rule in rules)
    return (
        bool(targets)
        and not standing
        and all(needs_outlet(world, policy, groups, target, [port], source) for target in targets)
    )


def _names_us(rule: Rule, policy: Policy) -> bool:
    return ours(rule, policy) is not None or damaged(rule, policy)


def is_locked(group: Group) -> bool:
    """Whether a group carries a lock, under whatever tag prefix."""
    return any(map(_LOCK.match, group.tags))


def accepted(
    world: World, policy: Policy, key: RuleKey, pair: Pair = None, claims: Collection[str] = frozenset()
) -> bool:
    """Whether a rule's group, by its tags and the allow list alone, lets it stand: no lock forbids it, and it has the
    group's consent. What only tags ask for may stand by the consent to any group of its instance, until the sweep names
    that one. Of an instance that is not shown, or in an account that refuses access, nothing is said."""
    names = {(pair[0] if pair else Party(*reversed(key.source.split("@")))).id}
    if pair is not None:
        if pair[0] not in world.instances or pair[0].account in world.revoked:
            return True
        names |= set(world.instances[pair[0]].groups) if claims == {"tag"} else _named_ids(world, pair)
    return "link-lock" not in world.groups[key.group].tags and _consented_to(world, policy, key, pair, names)


def _consented_to(world: World, policy: Policy, key: RuleKey, pair: Pair, names: set[str]) -> bool:
    """Whether the group that has a rule consents to a peer with these names, or the policy does for an end of it."""
    peer = pair[0] if pair else Party(*reversed(key.source.split("@")))
    ends = {key.group.id, "*"}
    if key.is_egress:
        ends |= {member.party.id for member in members(world, key.group)}
    elif pair and key.dest:
        ends.add(pair[1].id)
    return _consented(world, policy, key, peer.account, names, ends)


def _named_ids(world: World, pair: tuple[Party, Party]) -> set[str]:
    """The groups by which consent may name the instance: any of its own, or by address the one that it stands for."""
    return {pair[1].id} if is_part(pair) else set(world.instances[pair[0]].groups)


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


Part = tuple[Party, Party, Port, bool]
"""One end of a link by address on one port: the group whose instances have rules, the one that holds these, the port,
and whether they are egress rules."""


def parts(owned: Iterable[Owned]) -> dict[Part, dict[Party, frozenset[str]]]:
    """The ends of links by address for which rules stand: their instances, each with the claims on its rule."""
    claims_by_part: dict[Part, dict[Party, frozenset[str]]] = {}
    for owned_rule in owned:
        if owned_rule.pair and is_part(owned_rule.pair):
            claims_by_part.setdefault(_part(owned_rule.key, owned_rule.pair), {})[owned_rule.pair[0]] = (
                owned_rule.claims
            )
    return claims_by_part


def _part(key: RuleKey, pair: tuple[Party, Party]) -> Part:
    return (pair[1], key.group, key.port, key.is_egress)


def part_rule(part: Part, instance: Instance) -> RuleKey:
    """The rule of one instance at one end of a link by address."""
    _, holder, port, is_egress = part
    address = f"{instance.ip}/32"
    return RuleKey(holder, "", address, port) if is_egress else RuleKey(holder, address, "", port)


def waiting_to_join(world: World, policy: Policy) -> list[tuple[RuleKey, str]]:
    """What requests' links by address lack: the rule of each instance of their source that may have one, with the
    claim."""
    lacking = []
    present = owned(world, policy)
    standing_parts = parts(owned_rules(world, policy))
    # the rule of a request follows the group in its marker, so that it stands for no request of another group of the
    # instance, nor that of a link to the instance alone for one of its group
    followed_by_rule = {
        owned_rule.key: owned_rule.pair[1]
        for owned_rule in owned_rules(world, policy)
        if owned_rule.pair and (is_part(owned_rule.pair) or owned_rule.key.is_egress) and owned_rule.claims != {"tag"}
    }
    carried = {
        (part, claim) for part, standing in standing_parts.items() for claims in standing.values() for claim in claims
    }
    for part, standing in standing_parts.items():
        followed, holder, port, is_egress = part
        if not is_egress and missing_outlets(world, policy, followed, holder, port):
            continue  # half of a link
        claims = {claim for rule_claims in standing.values() for claim in rule_claims if claim != "tag"}
        if is_egress:
            claims = {claim for claim in claims if ((holder, followed, port, False), claim) in carried}
        for member in members(world, followed):
            key = part_rule(part, member)
            room = member.party in standing or len(standing) < policy.limits.max_members
            needed = not is_egress or needs_outlet(world, policy, [holder], member, [port])
            if followed_by_rule.get(key, followed) != followed or waits_for_target(
                world, policy, key, (member.party, followed)
            ):
                continue
            if member.ip and room and needed and allowed(world, policy, key, (member.party, followed)):
                lacking += [(key, claim) for claim in claims if claim not in present.get(key, ())]
    return lacking


Rules = list[tuple[RuleKey, Pair]]
"""Rules, each with the parties that it is for."""


def wanted_by_tags(
    world: World, policy: Policy, only: Party | None = None, *, by_any_group: bool = False
) -> dict[RuleKey, set[Pair]]:
    """Every allowed rule that tags of instances, or of `only` one, ask to open, with the instances for which it is
    (None between groups); `by_any_group` of an instance that may stand for it, not only by the first."""
    pairs_by_key: dict[RuleKey, set[Pair]] = {}
    for _, _, ports, is_late, granted in _wishes(world, policy, only, by_any_group=by_any_group):
        if granted and not is_late and _within_limits(policy, ports):
            for key, pair in granted:
                pairs_by_key.setdefault(key, set()).add(pair)
    return _within_limit(world, policy, pairs_by_key) if only is None else pairs_by_key


def kept_by_tags(world: World, policy: Policy) -> dict[RuleKey, set[Pair]]:
    """Every rule that may go on to stand for tags: those of a wish that is granted; of one that is not, or not for an
    instance, each rule of ours that stands for it, on a port that it asks for, and that is allowed by itself. A wish
    for the instance's own group needs no rule."""
    pairs_by_key: dict[RuleKey, set[Pair]] = {}
    standing = [
        owned_rule
        for owned_rule in owned_rules(world, policy)
        if "tag" in owned_rule.claims and owned_rule.key.port != ALL
    ]
    young = {owned_rule.key for owned_rule in standing if world.now - created(owned_rule.rule) < HALF_OPEN_SECONDS}
    for instance, party, ports, _, granted in _wishes(world, policy):
        granted_instances = {pair[0] for _, pair in granted if pair}
        # until a mutual link is open, port rules of the same claim stay
        is_held_back = policy.paused is not Pause.NONE and not {key for key, _ in granted} <= present(world)
        rules = list(granted) + [
            (owned_rule.key, owned_rule.pair)
            for owned_rule in standing
            if not granted or is_held_back or (owned_rule.pair and is_part(owned_rule.pair))
            if not owned_rule.pair or owned_rule.pair[0] not in granted_instances
            if _is_of_wish(owned_rule, instance, party)
            and party not in instance.own_groups
            and (owned_rule.pair or not by_address(world, _ends(owned_rule.key, None)[0], party))
            and (not ports or any(_within(owned_rule.key.port, port) for port in ports))
            and not _barred(world, policy, instance.party, party, [owned_rule.key.port])
            and allowed(world, policy, owned_rule.key, owned_rule.pair)
            and (owned_rule.pair is None or may_reach(world, policy, owned_rule.key, owned_rule.pair))
            and (owned_rule.key in young or not _is_shut_in(world, policy, owned_rule))
        ]
        admitted = {key.port for key, _ in rules if not key.is_egress} | _ports_by_people(
            world, policy, instance, party
        )
        for key, pair in rules:
            # else it is for others of the group; a read may not show yet what was written beside it
            if not key.is_egress or not party.is_group or key.port in admitted or key in young:
                pairs_by_key.setdefault(key, set()).add(pair)
    return pairs_by_key


def _is_shut_in(world: World, policy: Policy, owned_rule: Owned) -> bool:
    """Whether nothing lets out whom an ingress rule by address admits."""
    key, pair = owned_rule.key, owned_rule.pair
    if pair is None or key.is_egress or not is_part(pair):
        return False
    return missing_outlets(world, policy, pair[1], key.group, key.port, pair[0])


def may_reach(world: World, policy: Policy, key: RuleKey, pair: tuple[Party, Party]) -> bool:
    """Whether the source's group, where it lets nothing out by default, consents to reach a group without instances, of
    which no egress rule is needed."""
    source = world.groups.get(pair[1])
    if key.is_egress or not is_part(pair) or source is None or not source.advanced or members(world, key.group):
        return True
    outward = RuleKey(pair[1], "", "10.0.0.0/32", key.port)
    ends = (Party(key.group.account, ""), key.group)
    return not is_locked(source) and _consented_to(world, policy, outward, ends, {key.group.id})


def _ports_by_people(world: World, policy: Policy, instance: Instance, group: Party) -> set[Port]:
    """The ports on which people's rules admit an instance by its address, as rules of ours would."""
    rules = [rule for rule in world.rules.get(group, {}).values() if rule.policy == "accept"]
    keys = [rule.key for rule in rules if rule.key and ours(rule, policy) is None]
    return {key.port for key in keys if (key.source, key.dest) == (f"{instance.ip}/32", "")}


def _wishes(
    world: World, policy: Policy, only: Party | None = None, *, by_any_group: bool = False
) -> Iterator[tuple[Instance, Party, list[Port], bool, Rules]]:
    """What the tags of instances ask for: the instance, the peer, the ports, whether the instance has too many peers
    before it, and the rules of the link, if it is granted."""
    owned_here = owned_rules(world, policy)
    holders = {owned_rule.key: owned_rule.pair for owned_rule in owned_here if owned_rule.pair}
    standing = [owned_rule for owned_rule in owned_here if "tag" in owned_rule.claims]
    for instance in world.instances.values() if only is None else [world.instances[only]]:
        if instance.party.account not in policy.accounts or _expired(instance, world.now):
            continue
        peers = list(_peers(instance))
        linked = [
            any(_is_of_wish(owned_rule, instance, p) and not owned_rule.key.is_egress for owned_rule in standing)
            for p, _ in peers
        ]
        order = sorted(range(len(peers)), key=lambda number: not linked[number])
        for number, (party, ports) in enumerate(peers):
            if not {party.account, instance.party.account} & world.revoked:
                is_late = number in order[policy.limits.max_peers :]
                granted = _granted(world, policy, instance, party, ports, holders)
                yield (
                    instance,
                    party,
                    ports,
                    is_late,
                    [*itertools.chain(*granted)] if by_any_group else next(granted, []),
                )


def _granted(
    world: World,
    policy: Policy,
    instance: Instance,
    party: Party,
    ports: list[Port],
    holders: dict[RuleKey, Pair],
) -> Iterator[Rules]:
    """The rules of a link, by each group that may stand for the instance; none if it is denied."""
    if _barred(world, policy, instance.party, party, ports):
        return
    for rules in _rules_of(world, policy, instance, party, ports):
        granted = all(_may_be(world, policy, key, pair, holders, ports) for key, pair in rules)
        if not granted or _waits(world, policy, rules):
            continue
        outlets = _outlets(world, policy, rules, ports)
        let_out = [
            rule
            for rule in outlets
            if all(_may_be(world, policy, *key_and_pair, holders, ports) for key_and_pair in rule)
        ]
        stands = any(key in holders for rule in outlets for key, _ in rule)
        yield [] if outlets and not let_out and not stands else [*rules, *itertools.chain(*let_out)]


def _is_of_wish(owned_rule: Owned, instance: Instance, party: Party) -> bool:
    """Whether a rule of ours is one by which a wish of an instance for a peer may have been opened."""
    own_groups = _groups_of(instance)
    if owned_rule.pair is None:
        return owned_rule.key.group == party and owned_rule.key.source in map(str, own_groups)
    if not party.is_group:
        return owned_rule.pair == (instance.party, party) or (
            owned_rule.pair == (party, party) and owned_rule.key.group in own_groups
        )
    if owned_rule.key.is_egress:
        return owned_rule.pair[1] == party and owned_rule.key.group in own_groups
    return owned_rule.key.group == party and owned_rule.pair[0] == instance.party and owned_rule.pair[1] in own_groups


def _within_limits(policy: Policy, ports: list[Port]) -> bool:
    limits = policy.limits
    return len(ports) <= limits.max_ports and all(port.high - port.low < limits.max_port_span for port in ports)


def _within_limit(world: World, policy: Policy, pairs_asked_for: dict[RuleKey, set[Pair]]) -> dict[RuleKey, set[Pair]]:
    """The same without instances that would be too many for a link by address: those that stand stay, others join in
    order; of a link of which none stands, all may or none."""
    instances_by_part: dict[Part, set[Party]] = {}
    for key, pairs in pairs_asked_for.items():
        for pair in pairs:
            if pair and is_part(pair):
                instances_by_part.setdefault(_part(key, pair), set()).add(pair[0])
    standing, late = parts(owned_rules(world, policy)), set()
    for part, instances in instances_by_part.items():
        standing_instances = standing.get(part, {}).keys()
        new, room = sorted(instances - standing_instances), policy.limits.max_members - len(standing_instances)
        late |= {
            (instance, part) for instance in (new[max(room, 0) :] if standing_instances or len(new) <= room else new)
        }
    kept_pairs = {
        key: {pair for pair in pairs if not pair or (pair[0], _part(key, pair)) not in late}
        for key, pairs in pairs_asked_for.items()
    }
    return {key: pairs for key, pairs in kept_pairs.items() if pairs}


def _waits(world: World, policy: Policy, rules: list[tuple[RuleKey, Pair]]) -> bool:
    """Whether a link by address from an advanced group has to wait, since its target has no instances."""
    return any(pair and waits_for_target(world, policy, key, pair) for key, pair in rules)


def waits_for_target(world: World, policy: Policy, key: RuleKey, pair: tuple[Party, Party]) -> bool:
    """Whether a rule by address admits who cannot be let out yet: the target has no instances."""
    shut = is_part(pair) and not key.is_egress
    shut = shut and needs_outlet(world, policy, _sender_groups(world, pair), None, [key.port])
    return shut and not members(world, key.group)


def _outlets(world: World, policy: Policy, rules: list[tuple[RuleKey, Pair]], ports: list[Port]) -> list[Rules]:
    """The egress rules beside the rules by address of a link: for each instance of the target, one for each port."""
    key, pair = rules[0]
    source = world.groups.get(pair[1]) if pair and is_part(pair) else None
    if source is None or not source.advanced:
        return []
    senders = _sender_groups(world, pair)
    targets = [
        target
        for target in members(world, key.group)
        if needs_outlet(world, policy, senders, target, ports, source.party)
    ]
    return [
        [(RuleKey(source.party, "", f"{target.ip}/32", port), (target.party, key.group)) for port in ports]
        for target in targets
        if target.ip
    ]


def _may_be(
    world: World, policy: Policy, key: RuleKey, pair: Pair, holders: dict[RuleKey, Pair], ports: Sequence[Port]
) -> bool:
    """Whether a wanted rule is allowed, and is not that of another pair with the same addresses."""
    if not allowed(world, policy, key, pair, ports):
        return False
    holder = holders.get(key, pair)
    # whichever of its groups an instance stands for, the rule of its address serves them all
    serves_all = key.is_egress or (is_part(holder) and is_part(pair))
    is_same_holder = holder == pair or (serves_all and holder and pair and holder[0] == pair[0])
    return bool(is_same_holder) or not _is_rule_of(world, policy, key, holder)


def _barred(world: World, policy: Policy, source: Party, target: Party, ports: list[Port]) -> bool:
    """Whether a group of either end refuses the other, or `never` has an entry for the pair, or without ports for
    either direction of it."""
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
    """Whether a group of an end refuses the other one. An entry that cannot be read refuses everybody; of an account
    that refuses access, nothing is said."""
    if holder.account in world.revoked:
        return False
    instance = world.instances.get(holder)
    groups = [holder.id] if holder.id.startswith("sg-") else instance.groups if instance else ()
    for group in (Party(holder.account, name) for name in groups):
        tags = world.groups[group].tags if group in world.groups else {}
        for value in (value for key, value in tags.items() if _REFUSE.match(key)):
            for entry in re.split("[ ,]+", value.strip(" ,")):
                if (match := _REFUSAL.fullmatch(entry)) is None:
                    return True
                refused_ports = [parse_port(text) for text in match[3].split("+")] if match[3] else []
                meets = not (ports and refused_ports) or any(_overlap(a, b) for a in ports for b in refused_ports)
                if meets and _is_end(world, policy, Grantee(match[2] or group.account, match[1]), peer):
                    return True
    return False


def _is_end(world: World, policy: Policy, pattern: Grantee, party: Party) -> bool:
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
    in_set = hidden or any(all(tags.get(key, value) == value for key, value in set_tags.items()) for tags in tags)
    return pattern.id in groups or (bool(set_tags) and in_set)


def _permitted(policy: Policy, port: Port) -> bool:
    if port == ALL and (policy.deny or policy.denies_mutual):
        return False
    return not any(_overlap(denied, port) for denied in policy.deny)


def _consented(world: World, policy: Policy, key: RuleKey, account: str, names: set[str], targets: set[str]) -> bool:
    group, port = world.groups[key.group], key.port
    for name, value in group.tags.items() if policy.accept_tags else ():
        if not _CONSENT[key.is_egress].fullmatch(name):
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
        peer, end = (allow.target, allow.source) if key.is_egress else (allow.source, allow.target)
        if peer.account != account or peer.id not in {"*", *names}:
            continue
        if end.account != group.party.account or end.id not in targets:
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
    """Whether a rule with an address is the one for these parties, as they are now, and the address may be used."""
    if pair is None:
        return False
    peer, dest = world.instances.get(pair[0]), world.instances.get(pair[1])
    if peer is None or not peer.ip or f"{peer.ip}/32" != (key.dest if key.is_egress else key.source):
        return False
    account, vpc = key.group.account, world.groups[key.group].vpc
    if is_part(pair):
        if pair[1].account != peer.party.account or pair[1].id not in peer.groups:
            return False
    elif not key.is_egress:
        if dest is None or not dest.ip or f"{dest.ip}/32" != key.dest or key.group not in _usable(world, dest):
            return False
        vpc = dest.vpc
        between = [world.groups[group].advanced for end in (peer, dest) for group in _usable(world, end)]
        if key.port == ALL and any(between):
            return False
    ranges = policy.accounts[peer.party.account].ranges
    if not PRIVATE.match(peer.ip) or (ranges and not any(_in_range(peer.ip, cidr) for cidr in ranges)):
        return False
    if peer.vpc == vpc:
        return True
    is_strange = account != peer.party.account and not ranges
    return not is_strange and not world.address_taken(account, vpc, peer.ip)


def _in_range(ip: str, cidr: str) -> bool:
    network, _, bits = cidr.partition("/")
    shift = 32 - int(bits)
    return _number(ip) >> shift == _number(network) >> shift


def _number(ip: str) -> int:
    a, b, c, d = map(int, ip.split("."))
    return ((a * 256 + b) * 256 + c) * 256 + d


def _usable(world: World, instance: Instance) -> list[Party]:
    """The groups of an instance that may have rules: those that are not managed."""
    own_groups = (world.groups.get(group) for group in _groups_of(instance))
    return [group.party for group in own_groups if group and not group.managed]


def _rule_group(
    world: World, policy: Policy, own_groups: Instance, keys: Sequence[RuleKey], pair: tuple[Party, Party]
) -> Party | None:
    """The group of an instance on which these rules are: of those that consent to all of them, one on which such a rule
    stands, else the first; else the first of all."""
    groups = _usable(world, own_groups)
    on_group = ((group, [msgspec.structs.replace(key, group=group) for key in keys]) for group in groups)
    consenting = [
        group
        for group, on in on_group
        if all(
            not is_locked(world.groups[group])
            and _consented_to(world, policy, key, pair, {pair[0].id} | _named_ids(world, pair))
            for key in on
        )
    ]
    ports = {key.port for key in keys}
    holders = {
        owned_rule.key.group
        for owned_rule in owned_rules(world, policy)
        if owned_rule.pair == pair and owned_rule.key.port in ports
    }
    return next(iter([*(group for group in consenting if group in holders), *consenting, *groups]), None)


def _rules_of(world: World, policy: Policy, instance: Instance, peer: Party, ports: list[Port]) -> list[Rules]:
    """The rules of one link of an instance, by each group that could stand for it; none if the link is impossible. Of a
    link by address, without those of the other end."""
    if peer.id.startswith("sg-"):
        group_rules = [[(key, None) for key in keys] for keys in _group_rules(world, instance, peer, ports)]
        return group_rules or _address_rules(world, instance, peer, ports)
    peer_instance = world.instances.get(peer)
    if peer_instance is None or peer_instance.party == instance.party or not peer_instance.ip or not instance.ip:
        return []
    ways = [(instance, peer_instance)] if ports else [(instance, peer_instance), (peer_instance, instance)]
    ways_and_pairs = [
        (dest, (source_end.party, dest.party), (f"{source_end.ip}/32", f"{dest.ip}/32")) for source_end, dest in ways
    ]
    if ports and needs_outlet(world, policy, _groups_of(instance), peer_instance, ports):
        ways_and_pairs.append((instance, (peer_instance.party, peer_instance.party), ("", f"{peer_instance.ip}/32")))
    keys_and_pairs: list[tuple[RuleKey, Pair]] = []
    for rule_holder, pair, traffic in ways_and_pairs:
        keys = [RuleKey(rule_holder.party, *traffic, port) for port in ports or [ALL]]
        group = _rule_group(world, policy, rule_holder, keys, pair)
        if group is None:
            return []
        keys_and_pairs += [(msgspec.structs.replace(key, group=group), pair) for key in keys]
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


def _address_rules(world: World, instance: Instance, peer: Party, ports: list[Port]) -> list[Rules]:
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


def _overlap(first: Port, second: Port) -> bool:
    return first.protocol == second.protocol and first.low <= second.high and second.low <= first.high
