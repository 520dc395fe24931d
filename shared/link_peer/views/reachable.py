"""Which instances reach which others on which ports with one state of the rules and not with another. Pure.

the rules that differ ─▶ the instances that they may be about ─▶ alike: in the same groups, with addresses that no rule
tells apart ─▶ one of each is judged in both states, with every rule of its groups ─▶ counted by link and port
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Instance, Marker, Party, Port, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import link_of
from link_peer.planning.effect import End, compared, fitting, inside
from link_peer.views.reach import Scene, alike
from link_peer.views.spans import joined

_ALL_TRAFFIC = {Port("tcp", 1, 65535), Port("udp", 1, 65535), Port("icmp"), Port("gre")}

_Ends = tuple[End, End]
_Side = frozenset[Party]
_Subject = tuple[str, bool, Party, Party]  # sign, sure, source, target
_Part = tuple[Port, _Side, _Side, int]  # instances that are alike on each side, in so many pairs
_Touched = tuple[dict[Party, Instance], dict[Party, Instance]]


class Reached(msgspec.Struct, frozen=True):
    """Instances of `source` gain or lose the ports to instances of `target`."""

    sign: str  # `+` or `-`
    sure: bool  # false: they may, since not all that decides is known
    source: Party
    target: Party
    ports: tuple[Port, ...]
    sources: int | None = None  # how many; None where instances could not be read
    targets: int | None = None
    pairs: int | None = None


class Change(msgspec.Struct, frozen=True):
    """A rule that one state has and the other has not: its link's ends, as records name them."""

    key: RuleKey
    source: Party
    target: Party


def reachable(before: Snapshot, after: Snapshot) -> list[Reached]:
    """The difference between two snapshots of the same instances: what is gained, the most pairs first, then what is
    lost.

    An address stands for the instance that has it in the VPC of the other end, else for any other instance that has it.
    """
    scene = Scene(after)
    changes = dict(differing(before, after))
    known_accounts = {account for account in after.whole_accounts if after.readable(account)}
    read = {
        rule: change
        for rule, change in changes.items()
        if {change.source.account, rule.group.account} <= known_accounts
    }
    parts: dict[_Subject, list[_Part]] = defaultdict(list)
    for ends, sources, targets in _alike((before, after), _touched(scene, read)):
        ports: dict[_Subject, list[Port]] = defaultdict(list)
        group_rules = (
            rule for state in (before, after) for group in ends[1].groups for rule in state.rules.get(group, ())
        )
        rules = fitting([rule for rule in group_rules if rule in read], ends)
        for packet, gained, sure in compared((before, after), ends, _joined(read[rule].key.port for rule in rules)):
            for fitting_change in {read[rule] for rule in fitting(rules, ends, packet)}:
                ports["+" if gained else "-", sure, fitting_change.source, fitting_change.target].append(packet)
        pairs = len(sources) * len(targets) - len(sources & targets)  # an instance is no pair with itself
        for subject, packets in ports.items() if pairs else ():
            parts[subject] += [(port, sources, targets, pairs) for port in _joined(packets)]
    reached = [entry for subject, subject_parts in parts.items() for entry in _counted(subject, subject_parts)]
    hidden = grouped(
        (("+" if rule in after.rules[rule.group] else "-", False, change.source, change.target), change.key.port)
        for rule, change in changes.items()
        if rule not in read
    )
    reached += [Reached(*subject, tuple(_joined(ports))) for subject, ports in hidden.items()]
    return sorted(reached, key=_narrowness)


def _narrowness(reached: Reached) -> tuple[bool, float, tuple[object, ...]]:
    return (
        reached.sign != "+",
        -math.inf if reached.pairs is None else -reached.pairs,
        (reached.source, reached.target, reached.ports),
    )


def differing(before: Snapshot, after: Snapshot) -> Iterator[tuple[Rule, Change]]:
    """The rules of one state that the other has not, whatever their Descriptions say."""
    for group in after.rules.keys() & before.rules.keys():
        states = before.rules[group], after.rules[group]
        old, new = ({(rule.key, rule.policy, rule.priority): rule for rule in rules if rule.key} for rules in states)
        for identity, rule in {**old, **new}.items() if states[0] != states[1] else ():
            if identity not in old or identity not in new:
                link = link_of(identity[0], markers.parse(rule.description) or Marker("", "", "", ()))
                yield rule, Change(identity[0], link.source, link.target)


def _touched(scene: Scene, changes: Mapping[Rule, Change]) -> Mapping[_Ends, _Touched]:
    """The instances that these rules may be about, on both sides, by what they are like but for their addresses."""
    holders = grouped((f"{instance.ip}/32", instance) for instance in scene.snapshot.instances.values())
    members = functools.cache(lambda party: alike(scene.members(party)))
    touched: dict[_Ends, _Touched] = defaultdict(lambda: ({}, {}))
    for rule, change in changes.items():
        named_ends = alike(holders.get(change.key.source, ())) if change.key.by_address else members(change.source)
        sources = members(rule.group) if change.key.is_egress else named_ends
        targets = alike(holders.get(change.key.dest, ())) if change.key.dest else members(rule.group)
        for start, end in itertools.product(sources, targets):
            if rule.group in (start.groups if change.key.is_egress else end.groups):
                touched[start, end][0].update((instance.party, instance) for instance in sources[start])
                touched[start, end][1].update((instance.party, instance) for instance in targets[end])
    return touched


def _alike(
    states: tuple[Snapshot, Snapshot], touched: Mapping[_Ends, _Touched]
) -> Iterator[tuple[_Ends, _Side, _Side]]:
    """Two ends, and the instances on both sides that no rule of theirs tells from these."""
    addresses = {(instance.vpc, instance.ip) for instance in states[1].instances.values() if instance.ip}

    @functools.cache
    def named_ranges(group: Party) -> frozenset[str]:
        traffic = [rule.traffic for state in states for rule in state.rules.get(group, ())]
        return frozenset(
            cidr
            for rule_traffic in traffic
            if rule_traffic
            for cidr in (rule_traffic.peer, rule_traffic.own_range)
            if cidr and "@" not in cidr
        )

    for (start, end), (sources, targets) in touched.items():
        cidrs = frozenset[str]().union(*(named_ranges(group) for group in (*start.groups, *end.groups)))
        apart = addresses if start.vpc != end.vpc else ()
        firsts = _by_address(
            start, (instance for instance in sources.values() if (end.vpc, instance.ip) not in apart), cidrs
        )
        seconds = _by_address(
            end, (instance for instance in targets.values() if (start.vpc, instance.ip) not in apart), cidrs
        )
        for (source, source_instances), (target, target_instances) in itertools.product(
            firsts.items(), seconds.items()
        ):
            yield (source, target), source_instances, target_instances


def _by_address(end: End, instances: Iterable[Instance], cidrs: Collection[str]) -> dict[End, _Side]:
    """The instances that are in the same of these networks, by an end that stands for them."""
    wide = [cidr for cidr in cidrs if not cidr.endswith("/32")]
    by_ranges = grouped(
        (
            (
                instance.ip if f"{instance.ip}/32" in cidrs else bool(instance.ip),
                *(inside(instance.ip, cidr) for cidr in wide),
            ),
            instance,
        )
        for instance in instances
    )
    return {
        msgspec.structs.replace(end, ip=alike[0].ip): frozenset(instance.party for instance in alike)
        for alike in by_ranges.values()
    }


def _joined(ports: Iterable[Port]) -> list[Port]:
    """The same packets, as few ports as possible."""
    spans = grouped((port.protocol, (port.low, port.high)) for port in ports)
    joined_ports = [Port(name, low, high) for name in sorted(spans) for low, high in joined(spans[name])]
    return [ALL] if ALL in joined_ports or set(joined_ports) >= _ALL_TRAFFIC else joined_ports


def _counted(subject: _Subject, parts: Iterable[_Part]) -> Iterator[Reached]:
    """The ports of a link, those together that as many instances gain or lose."""
    ports_by_count: dict[tuple[int, int, int], list[Port]] = defaultdict(list)
    split = [
        (port, source_set, target_set, pairs)
        for part, source_set, target_set, pairs in parts
        for port in (_ALL_TRAFFIC if part == ALL else (part,))
    ]
    for protocol in {port.protocol for port, *_ in split}:
        protocol_parts = [piece for piece in split if piece[0].protocol == protocol]
        cuts = sorted({cut for port, *_ in protocol_parts for cut in (port.low, port.high + 1)})
        for low, following in itertools.pairwise(cuts):
            if covering := [piece for piece in protocol_parts if piece[0].low <= low <= piece[0].high]:
                sources = {party for _, side, _, _ in covering for party in side}
                targets = {party for _, _, side, _ in covering for party in side}
                counts = len(sources), len(targets), sum(pairs for *_, pairs in covering)
                ports_by_count[counts].append(Port(protocol, low, following - 1))
    for counts, ports in ports_by_count.items():
        yield Reached(*subject, tuple(_joined(ports)), *counts)
