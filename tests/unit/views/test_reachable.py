"""What instances gain and lose: against an evaluator that tries each pair, each packet, and each way in which what is
not known may turn out."""

from __future__ import annotations

import functools
import ipaddress
import itertools
import random
from collections import defaultdict

import msgspec
import pytest
from link_peer.domain.model import ALL, Instance, Party, Port, Rule, RuleKey, Traffic
from link_peer.domain.snapshot import Snapshot
from link_peer.views.reachable import Reached, reachable

from tests.unit.planning.test_effect import OURS, drop
from tests.unit.small_world import APP, CACHE, DB, HOME, PEER, A, B
from tests.unit.snapshots import group, instance, key, ours, theirs, view

FAR, ODD = Party(HOME, "sg-far"), Party(PEER, "sg-odd")
VPCS = {APP: "vpc-1", DB: "vpc-1", CACHE: "vpc-1", ODD: "vpc-1", FAR: "vpc-2"}
PORTS = (Port("tcp", 22, 22), Port("tcp", 20, 80), Port("tcp", 1, 65535), Port("udp", 22, 22), Port("icmp"), ALL)
NUMBERS = (1, 19, 20, 21, 22, 23, 80, 81, 65535)
PACKETS = [*(Port("tcp", n, n) for n in NUMBERS), Port("udp", 22, 22), Port("icmp"), Port("gre")]
NUMBERED = {Port("6", 22, 22): PORTS[0], Port("47"): PACKETS[-1], Port("icmpv6"): Port("icmpv6")}
FROM = {
    (1, 65535): True,
    (32768, 65535): True,
    (1, 1024): False,
    (1, 40000): None,
    (40000, 65535): None,
}  # source ports
RANGES = ("10.0.0.0/8", "10.0.0.2/32", "10.0.0.3/32", "0.0.0.0/0", "10.0.0.5/30")

Link = tuple[Party, Party]
World = tuple[Snapshot, Snapshot, dict[Rule, Link]]


def some_world(dice: random.Random) -> World:
    """Instances in one or two groups of two VPCs, some with the same address; rules of people of every kind, some not
    read; and rules of ours, some of which are there only before, or only after."""
    advanced, unread = dice.random() < 0.3, dice.choice([*VPCS, None, None])
    groups = [group(party, vpc=vpc, advanced=advanced, rule_count=9) for party, vpc in VPCS.items()]
    people = []
    for n in range(dice.choice([0, 3, 6, 9])):
        direction, peer = dice.choice(["ingress"] * 3 + ["egress"]), dice.choice([*map(str, VPCS), *RANGES, ""])
        own_cidr, port = dice.choice(["", "", *RANGES[:2]]), dice.choice([*PORTS, ALL, None, *NUMBERED])
        traffic = Traffic(direction, peer, own_cidr, port, dice.choice([None] * 9 + [*FROM]))
        act, priority = dice.choice(["accept", "drop"]), dice.choice([1, 50, 100])
        people.append(Rule(dice.choice([*VPCS]), f"sgr-{n}", None, act, priority, unmanaged_traffic=traffic))
    instances = []
    for n in range(6):
        first, second = dice.sample([*VPCS], 2)
        mine = {party for party in (first, second) if (party.account, VPCS[party]) == (first.account, VPCS[first])}
        ip = f"10.0.0.{dice.randrange(1, 7)}"
        instances.append(instance(Party(first.account, f"i-{n}"), *sorted(mine), ip=ip, vpc=VPCS[first]))
    links: dict[Rule, Link] = {}
    for a, b in dice.sample([*itertools.permutations(VPCS, 2)], 6):
        for port in dice.sample(PORTS, 2) if VPCS[a] == VPCS[b] else ():
            links[ours(RuleKey(b, str(a), "", port))] = a, b
    for a, b in dice.sample([*itertools.permutations(instances, 2)], 5):
        to, of = (Party(end.party.account, end.groups[0]) for end in (b, a))
        dest, link = dice.choice([(f"{b.ip}/32", (a.party, b.party)), ("", (of, to))])
        ends = (a.party, b.party if dest else of)
        links[ours(RuleKey(to, f"{a.ip}/32", dest, dice.choice(PORTS)), ends=ends)] = link
    links = {rule: links[rule] for rule in {rule.key: rule for rule in links}.values() if rule.group != unread}
    whole = dice.choice([{HOME, PEER}] * 4 + [{HOME}])
    inner = {vpc: dice.random() < 0.3 for vpc in VPCS if dice.random() < 0.8}
    states = []
    for _ in range(2):
        rules = [*people, *(rule for rule in links if dice.random() < 0.5)]
        snapshot = view(groups, instances, rules, inner_access=inner, whole_accounts=whole)
        read = {party: rules_of_party for party, rules_of_party in snapshot.rules.items() if party != unread}
        states.append(msgspec.structs.replace(snapshot, rules=read))
    return states[0], states[1], links


def applies(rule: Rule, own_instance: Instance, peer: Instance, packet: Port) -> bool | None:
    """Whether a rule of a group of `own_instance` is about a packet; None where that is not known."""
    traffic = rule.traffic
    assert traffic is not None
    facts: list[bool | None] = [within(own_instance.ip, traffic.own_range or "0.0.0.0/0")]
    if "@" in traffic.peer:
        facts += [traffic.peer in map(str, peer.own_groups), own_instance.vpc == peer.vpc or None]
    else:
        facts.append(within(peer.ip, traffic.peer) if traffic.peer else None)
    facts += [
        about(traffic.port, packet) if traffic.port else None,
        FROM[traffic.source_ports] if traffic.source_ports else True,
    ]
    return False if False in facts else None if None in facts else True


def about(port: Port, packet: Port) -> bool:
    port = NUMBERED.get(port, port)
    return port.protocol in ("all", packet.protocol) and (port.low == -1 or port.low <= packet.low <= port.high)


@functools.cache
def within(ip: str, cidr: str) -> bool:
    return ipaddress.ip_address(ip) in ipaddress.ip_network(cidr, strict=False)


def passes(snapshot: Snapshot, a: Instance, b: Instance, packet: Port, guess: dict[object, bool]) -> bool:
    """Whether a packet passes, where what is not known is as guessed; what is guessed nothing of is added."""
    gates = []
    for direction, own_end, peer in (("egress", a, b), ("ingress", b, a)):
        default = direction == "egress" and not any(
            snapshot.groups[own_group].advanced for own_group in own_end.own_groups
        )
        decisions = [(1000, default)]
        for party in own_end.own_groups:
            rules = [
                rule for rule in snapshot.rules.get(party, ()) if rule.traffic and rule.traffic.direction == direction
            ]
            for rule in rules:
                fits = applies(rule, own_end, peer, packet)
                if guess.setdefault(rule, False) if fits is None else fits:
                    decisions.append((rule.priority, rule.policy == "accept"))
            for act in (True, False) if party not in snapshot.rules else ():
                decisions += [(1, act)] if guess.setdefault((direction, party, act), False) else []
        gates.append(min(decisions)[1])
    for party in {*a.own_groups} & {*b.own_groups}:
        inner = False if snapshot.groups[party].advanced else snapshot.inner_access.get(party)
        inner = guess.setdefault(party, False) if inner is None else inner
        if inner and (gates[0] or guess.setdefault("accept comes first", False)):
            return True
    return all(gates)


def fates(before: Snapshot, after: Snapshot, a: Instance, b: Instance, packet: Port) -> set[tuple[bool, bool]]:
    """Whether it passes before and after, in all worlds that are possible."""
    guess: dict[object, bool] = {}
    outcomes, tried = set[tuple[bool, bool]](), -1
    while tried < len(guess):
        tried = len(guess)
        for values in itertools.product([False, True], repeat=tried):
            guess.update(zip([*guess], values, strict=False))
            outcomes.add((passes(before, a, b, packet, guess), passes(after, a, b, packet, guess)))
    return outcomes


Counted = dict[tuple[str, bool, Link, Port], tuple[int | None, int | None, int | None]]


def by_trying(before: Snapshot, after: Snapshot, links: dict[Rule, Link]) -> Counted:
    """How many instances of each link gain or lose each packet."""
    taken_addresses = {(instance.vpc, instance.ip) for instance in after.instances.values()}
    pairs = defaultdict(set)
    changed = [rule for rule in links if (rule in before.rules[rule.group]) != (rule in after.rules[rule.group])]
    hidden = [rule for rule in changed if not {end.account for end in links[rule]} <= after.whole_accounts]
    for (a, b), packet in itertools.product(itertools.permutations(after.instances.values(), 2), PACKETS):
        applying_rules = [
            rule
            for rule in changed
            if rule not in hidden and rule.group in b.own_groups and applies(rule, b, a, packet)
        ]
        if not applying_rules or (a.vpc != b.vpc and taken_addresses & {(a.vpc, b.ip), (b.vpc, a.ip)}):
            continue
        fate_of = fates(before, after, a, b, packet)
        for sign in [sign for sign, fate in (("+", (False, True)), ("-", (True, False))) if fate in fate_of]:
            for link in {links[rule] for rule in applying_rules}:
                pairs[sign, len(fate_of) == 1, link, packet].add((a.party, b.party))
    counted: Counted = {}
    for hidden_rule, packet in itertools.product(hidden, PACKETS):
        if hidden_rule.key and about(hidden_rule.key.port, packet):
            counted[
                "+" if hidden_rule in after.rules[hidden_rule.group] else "-", False, links[hidden_rule], packet
            ] = (None, None, None)
    return counted | {
        key: (len({a for a, _ in pair}), len({b for _, b in pair}), len(pair)) for key, pair in pairs.items()
    }


def by_packet(reached_ends: list[Reached]) -> Counted:
    return {
        (reached.sign, reached.sure, (reached.source, reached.target), packet): (
            reached.sources,
            reached.targets,
            reached.pairs,
        )
        for reached in reached_ends
        for packet in PACKETS
        if any(about(port, packet) for port in reached.ports)
    }


@pytest.mark.parametrize("seed", range(60))
def test_what_is_gained_and_lost_is_what_trying_each_pair_shows(seed: int) -> None:
    """In any world: which links and ports, how many instances on each side, how many pairs, and whether it is sure."""
    before, after, links = some_world(random.Random(seed))
    reached = reachable(before, after)
    assert by_packet(reached) == by_trying(before, after, links)
    assert [change.sign for change in reached] == sorted(
        change.sign for change in reached
    )  # what is gained comes first
    for sign in "+-":
        pairs = [change.pairs or 1000 for change in reached if change.sign == sign]
        assert pairs == sorted(pairs, reverse=True)


def test_ports_are_named_as_few_and_all_of_them_as_everything() -> None:
    """Ports in a row are one range, though rules of people that change nothing divide them."""
    groups, instances = [group(APP), group(DB)], [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    drop = theirs(key(DB, APP, "tcp/22"), act="drop")
    before, after = view(groups, instances), view(groups, instances, [ours(key(DB, APP))])
    assert [str(port) for change in reachable(before, after) for port in change.ports] == ["all"]
    stopped = [view(groups, instances, [*rules, drop]) for rules in ([], [ours(key(DB, APP))])]
    ports_left = ["gre", "icmp", "tcp/1-21", "tcp/23-65535", "udp/1-65535"]
    assert [str(port) for change in reachable(*stopped) for port in change.ports] == ports_left
    people = [theirs(key(DB, APP, "tcp/80-90")), theirs(key(DB, APP, "tcp/75"), act="drop", priority=101)]
    opened = [view(groups, instances, rules) for rules in (people, [*people, ours(key(DB, APP, "tcp/70-95"))])]
    assert [str(port) for change in reachable(*opened) for port in change.ports] == ["tcp/70-79", "tcp/91-95"]


def test_a_rule_of_a_person_counts_as_any_other() -> None:
    """Also one between accounts of which one was not read: then nothing is counted. Its ports are named as few."""
    groups, instances = [group(APP), group(DB)], [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    before, after = view(groups, instances), view(groups, instances, [theirs(key(DB, APP, "tcp/1"))])
    [change] = reachable(before, after)
    assert (change.sign, change.source, change.target, change.pairs) == ("+", APP, DB, 1)
    far = [theirs(key(DB, ODD, port)) for port in ("all", "tcp/22")]
    states = [view(groups, instances, rules, whole_accounts={HOME}) for rules in ([], far)]
    assert reachable(*states) == [Reached("+", False, ODD, DB, (ALL,))]
    assert reachable(*states[::-1]) == [Reached("-", False, ODD, DB, (ALL,))]


def test_an_instance_without_an_address_may_have_any() -> None:
    """Where a rule is about one, it is not known of it; others that have none of these are alike. Rules for IPv6 are
    about none."""
    instances = [instance(party, APP, ip=ip) for party, ip in ((A, "10.0.0.1"), (Party(HOME, "i-c"), ""))]
    ipv6_rule = Rule(DB, "sgr-6", None, "drop", 1, ipv6=Traffic("ingress", "::/0", "", None))
    groups, people = [group(APP), group(DB)], [drop("10.0.0.5/32"), ipv6_rule]
    states = [
        view(groups, [*instances, instance(B, DB, ip="10.0.0.2")], [*people, *rules]) for rules in ([], [ours(OURS)])
    ]
    changes = reachable(*states)
    assert sorted((change.sign, change.sure, change.pairs) for change in changes) == [("+", False, 1), ("+", True, 1)]


def test_of_a_group_whose_rules_one_state_lacks_nothing_is_said() -> None:
    """They were not read, and may be the same."""
    groups, instances = [group(APP), group(DB)], [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    after = view(groups, instances, [ours(key(DB, APP))])
    before = msgspec.structs.replace(after, rules={})
    assert reachable(before, after) == reachable(after, before) == []
