"""Would a packet get through, as far as security groups decide? Pure; it informs, and never decides what is written.
`effect_text` words the answer.

    both ends in one basic group with InnerAccessPolicy Accept ─▶ passes, whatever the ingress rules say
    else: egress rules of all of the sender's groups    ─▶ the smallest priority, drop on a tie; none: by the groups' type
     and: ingress rules of all of the receiver's groups ─▶ the smallest priority, drop on a tie; none: dropped

[doc] help pages "Security group rules": the rules of all groups of an instance are sorted and applied together with the
defaults, and groups are stateful, so that answers need no rule; "Basic and advanced security groups": a basic group
lets everything out, an advanced one nothing, and one instance has groups of one type only; ModifySecurityGroupPolicy
(2026-01): Accept holds regardless of custom rules, Drop leaves it to the rules. Another text lets an egress drop come
before Accept, so with one it is unknown.

What was not read is never guessed: the answer is then unknown, unless nothing that is missing could change it.
"""  # noqa: W505

from __future__ import annotations

import functools
import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from enum import Enum

import msgspec

from link_peer.domain.grouped import grouped
from link_peer.domain.model import ALL, Instance, Link, Party, Port, Ports, Rule, Traffic
from link_peer.domain.snapshot import Snapshot

EPHEMERAL = (32768, 65535)
"""The ports that connections come from: Linux and Windows begin at 32768 and 49152."""

_NUMBERS = {"1": "icmp", "6": "tcp", "17": "udp", "47": "gre", "58": "icmpv6"}
_WITH_PORTS = ("tcp", "udp")
_LAST_PORT = 65535


class End(msgspec.Struct, frozen=True):
    """One end of a packet: an instance, or any instance that is in these groups only, whose address is not known."""

    groups: tuple[Party, ...]
    vpc: str
    ip: str = ""


class EffectCause(Enum):
    """What decides. Behind each that leaves the answer unknown, `?`."""

    RULE = "a rule"
    INNER_ACCESS = "InnerAccessPolicy Accept"
    NO_INGRESS = "no ingress rule applies"
    NO_EGRESS = "no egress rule of an advanced group applies"
    ISOLATED = "members of the group do not reach each other by themselves"
    RULES_UNREAD = "rules were not read?"
    TYPE_UNREAD = "whether the group is advanced was not read?"
    ACCESS_UNREAD = "whether members of the group reach each other was not read?"
    RULE_DOUBTED = "a rule may apply?"
    ORDER_UNKNOWN = "InnerAccessPolicy Accept may come before this?"


class Doubt(Enum):
    """Why it is not known whether a rule applies."""

    ADDRESS = "an address was not read"
    PREFIX_LIST = "its prefix list is not read"
    PORT_LIST = "its port list is not read"
    OTHER_VPC = "it names a group of another VPC"
    SOURCE_PORTS = "it is restricted to some source ports"
    OWN_RANGE = "the range of its own addresses cannot be read"
    PEER_RANGE = "the range of its peer cannot be read"


class Decider(msgspec.Struct, frozen=True):
    """One thing that decides about packets."""

    cause: EffectCause
    groups: tuple[Party, ...] = ()
    direction: str = ""  # of the gate where it decides
    rule: Rule | None = None
    doubt: Doubt | None = None
    inner: Decider | None = None  # what it is not known to come before (ORDER_UNKNOWN)


class EffectPart(msgspec.Struct, frozen=True):
    """What decides about packets in one direction."""

    deciders: tuple[tuple[Decider, tuple[Port, ...]], ...] = ()  # each with the packets that it is about
    passed: tuple[Port, ...] = ()  # packets that pass although others do not
    absent: tuple[Party, ...] = ()  # without deciders: ends that were not read


class Effect(msgspec.Struct, frozen=True):
    """Whether packets pass, and what decides."""

    passes: bool | None  # None: not known
    parts: tuple[EffectPart, ...] = ()  # what decides, by direction
    blocked: tuple[Port, ...] = ()  # packets that are blocked
    passed: tuple[Port, ...] = ()  # packets that pass
    unread: frozenset[Party] = frozenset()  # groups to read to know more
    doubts: tuple[EffectPart, ...] = ()  # what leaves the answer to some packets unknown

    @property
    def outcomes(self) -> frozenset[bool | None]:
        """What becomes of packets: True if some pass, False if some do not, None if that is not known of some."""
        if self.passes is not False:
            return frozenset({self.passes})
        possible = {True: bool(self.passed), False: True, None: bool(self.doubts)}
        return frozenset(passes for passes, is_possible in possible.items() if is_possible)

    @property
    def word(self) -> str:
        """`open`, `partly`, `blocked` or `unknown`."""
        return word_of(self.outcomes)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules among what decides."""
        rules = [
            decider.rule or (decider.inner and decider.inner.rule)
            for part in self.parts
            for decider, _ in part.deciders
        ]
        return tuple(dict.fromkeys(rule for rule in rules if rule))

    @property
    def causes(self) -> frozenset[EffectCause]:
        """The kinds of what decides."""
        return frozenset(decider.cause for part in self.parts for decider, _ in part.deciders)


def word_of(outcomes: Set[bool | None]) -> str:
    """What becomes of packets, in one word, as every view has it: of all that pass, that do not, or of which it is not
    known."""
    if {True, False} <= outcomes:
        return "partly"
    return "unknown" if None in outcomes else "open" if True in outcomes else "blocked"


def of_link(snapshot: Snapshot, link: Link, asker: Party | None = None, reached: Party | None = None) -> Effect:
    """What becomes of the packets of a link; for a mutual link, in both directions.

    Between groups these are packets between instances that are in no other group, and have any address. `asker` is an
    instance of one of the two groups that stands for its group, with all of its groups and its address; so is `reached`
    of the target.
    """
    parties, asking = (link.source, link.target), snapshot.instances.get(asker) if asker else None
    ends = [end_of_party(snapshot, party) for party in parties]
    for number, party in enumerate(parties):
        if asking and party in asking.own_groups:
            ends[number] = end_of(asking)
            break  # it is one end, not both
    if (target_instance := snapshot.instances.get(reached) if reached else None) and reached != asker:
        ends[1] = end_of(target_instance)
    source, target = ends
    if source is None or target is None:
        return absent([party for party, end in zip(parties, ends, strict=True) if end is None])
    ports = link.ports or (ALL,)
    effects = [between(snapshot, source, target, ports)]
    if link.mutual:
        effects.append(between(snapshot, target, source, ports))
    return together(effects)


def absent(parties: Sequence[Party]) -> Effect:
    """The answer where these ends were not read."""
    return Effect(None, (EffectPart(absent=tuple(parties)),))


def end_of(instance: Instance) -> End:
    """An instance as one end."""
    return End(instance.own_groups, instance.vpc, instance.ip)


def end_of_party(snapshot: Snapshot, party: Party) -> End | None:
    """The instance, or any instance that is in this group only, as one end; None where it was not read."""
    if party.is_group:
        group = snapshot.groups.get(party)
        return End((party,), group.vpc) if group else None
    instance = snapshot.instances.get(party)
    return end_of(instance) if instance else None


def between(snapshot: Snapshot, source: End, dest: End, ports: Sequence[Port]) -> Effect:
    """What becomes of packets from one end to the other. It is blocked if any of them is."""
    path = _Path(snapshot, source, dest)
    return _effect([(packet, path.step(packet)) for port in ports for packet in path.packets(port)])


def applying(snapshot: Snapshot, source: End, dest: End, ports: Sequence[Port]) -> list[Rule]:
    """The rules that apply, or may apply, to any of these packets: egress before ingress, each in the order in which
    they count."""
    path = _Path(snapshot, source, dest)
    packets = [packet for port in ports for packet in path.packets(port)]
    return [
        candidate.rule
        for candidate in path.candidates()
        if any(_fits(candidate, packet) is not False for packet in packets)
    ]


def compared(
    snapshots: tuple[Snapshot, Snapshot], ends: tuple[End, End], ports: Sequence[Port]
) -> Iterator[tuple[Port, bool, bool]]:
    """The parts of these ports of which the answer from one end to the other is not the same in the first snapshot and
    the second: whether it may pass in the second where it did not in the first, or the reverse; and whether both are
    known."""
    old, new = (_Path(snapshot, *ends) for snapshot in snapshots)
    for packet in (part for port in ports for wide in old.packets(port) for part in new.packets(wide)):
        was, now = old.step(packet), new.step(packet)
        if was.rank != now.rank:
            yield packet, now.rank > was.rank, None not in (was.passes, now.passes)


def lets_out(snapshot: Snapshot, rules: Mapping[Party, Sequence[Rule]], ends: tuple[End, End], ports: Ports) -> bool:
    """Whether these rules, by group, let all of these packets from one end out to the other. What is not known does
    not."""
    path = _Path(msgspec.structs.replace(snapshot, rules=rules), *ends)
    return all(path.lets_out(packet) for port in ports for packet in path.packets(port))


def admissions(snapshot: Snapshot, direction: str, own_end: End, peer: End, port: Port) -> Iterator[Admission]:
    """Which rules of one end admit (`ingress`) or let out (`egress`) these packets, by the parts of a port range in
    which the rules are the same. What applies without a rule is not counted."""
    gate = _Gate(snapshot, direction, own_end, peer)
    for packet in _cut(port, gate.candidates):
        yield gate.admission(packet)


def fitting(rules: Iterable[Rule], ends: tuple[End, End], packet: Port | None = None) -> list[Rule]:
    """Those of these ingress rules that apply, or may apply, from one end to the other: to any packet, or to this
    one."""
    candidates = (_candidate(rule, "ingress", ends[1], ends[0]) for rule in rules if rule.group in ends[1].groups)
    return [
        candidate.rule
        for candidate in candidates
        if candidate and (packet is None or _fits(candidate, packet) is not False)
    ]


def together(effects: Sequence[Effect]) -> Effect:
    """One answer for several: blocked if one is, else unknown if one is."""
    worst = _worst({effect.passes for effect in effects})
    return Effect(
        worst,
        tuple(part for effect in effects if effect.passes == worst for part in effect.parts),
        tuple(port for effect in effects for port in effect.blocked),
        tuple(port for effect in effects for port in effect.passed),
        frozenset(group for effect in effects for group in effect.unread),
        tuple(part for effect in effects for part in (effect.doubts if effect.passes is False else effect.parts))
        if any(None in effect.outcomes for effect in effects)
        else (),
    )


class _Step(msgspec.Struct, frozen=True):
    """What becomes of a packet at one gate, or on its whole path. `level` orders what is not known: the greater, the
    more of what is possible lets the packet pass."""

    passes: bool | None
    deciders: tuple[Decider, ...]
    unread: frozenset[Party] = frozenset()
    level: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """The greater, the more is let pass."""
        return (1, self.level) if self.passes is None else (2 * self.passes, self.passes)


class _Candidate(msgspec.Struct, frozen=True):
    """A rule that may apply between two ends; `doubt` says why that is not known, apart from protocol and ports."""

    rule: Rule
    traffic: Traffic
    doubt: Doubt | None = None

    @property
    def accepts(self) -> bool:
        return self.rule.policy != "drop"


class Admission(msgspec.Struct, frozen=True):
    """The rules by each of which alone a packet passes at one end: no drop comes before it."""

    packet: Port
    rules: tuple[Rule, ...]
    doubted: tuple[Rule, ...] = ()  # rules of which that is not known
    unread: tuple[Party, ...] = ()  # groups whose rules may be among them


class _Path:
    """From one end to the other."""

    def __init__(self, snapshot: Snapshot, source: End, dest: End) -> None:
        self._common = [group for group in source.groups if group in dest.groups]
        self._access = {group: _inner_access(snapshot, group) for group in self._common}
        self._egress = _Gate(snapshot, "egress", source, dest)
        self._ingress = _Gate(snapshot, "ingress", dest, source)

    def step(self, packet: Port) -> _Step:
        """What becomes of a packet, of a protocol that has ports on the first one."""
        steps = [self._egress.step(packet), self._ingress.step(packet)]
        if inside := [group for group, access in self._access.items() if access]:
            return self._inside(inside[0], steps[0])
        passing = [step.passes for step in steps]
        level = 0 if passing[0] is False else sum(sum(step.rank) for step in steps)
        unread = frozenset(group for step in steps for group in step.unread)
        if all(passing):
            return _Step(True, _deciders(steps, True))
        if unknown := [group for group, access in self._access.items() if access is None]:
            return _Step(None, (Decider(EffectCause.ACCESS_UNREAD, (unknown[0],)),), frozenset(unknown), level)
        if False not in passing:
            return _Step(None, _deciders(steps, None), unread, level)
        isolated = tuple(Decider(EffectCause.ISOLATED, (group,)) for group in self._common)
        return _Step(False, (*_deciders(steps, False), *isolated))

    def lets_out(self, packet: Port) -> bool:
        """Whether the sender's groups let it out."""
        return self._egress.step(packet).passes is True

    def _inside(self, group: Party, egress: _Step) -> _Step:
        """What becomes of a packet between members of a group with inner access. [doc] Two official texts disagree
        whether an egress drop stops it; no ingress rule does."""
        if egress.passes is False:
            return _Step(
                None, tuple(Decider(EffectCause.ORDER_UNKNOWN, (group,), inner=decider) for decider in egress.deciders)
            )
        return _Step(True, (Decider(EffectCause.INNER_ACCESS, (group,)),))

    def packets(self, port: Port) -> Iterator[Port]:
        """Parts of a port range, in each of which one rule decides for all packets."""
        if port == ALL:
            ports = [candidate.traffic.port for candidate in self.candidates()]
            protocols = {protocol_name(port) for port in ports if port}
            further_protocols = sorted(protocols - {"all", "tcp", "udp", "icmp", "gre", "icmpv6"})
            for protocol in ("tcp", "udp", "icmp", "gre", *further_protocols):
                yield from self.packets(Port(protocol, 1, _LAST_PORT) if protocol in _WITH_PORTS else Port(protocol))
        else:
            yield from _cut(port, self.candidates())

    def candidates(self) -> list[_Candidate]:
        """The rules that may apply between the two ends, in the order in which they count at each."""
        return [*self._egress.candidates, *self._ingress.candidates]


def _cut(port: Port, candidates: Sequence[_Candidate]) -> Iterator[Port]:
    """Parts of a port range, in each of which the same of these rules apply to all packets."""
    if port.low == port.high:
        yield port
        return
    bounds = (
        bound
        for candidate in candidates
        if (rule_port := candidate.traffic.port) and protocol_name(rule_port) == port.protocol
        for bound in (rule_port.low, rule_port.high + 1)
    )
    cuts = sorted({port.low, *(bound for bound in bounds if port.low < bound <= port.high)})
    for low, following in itertools.pairwise([*cuts, port.high + 1]):
        yield Port(port.protocol, low, following - 1)


class _Gate:
    """The rules of one direction at one end, of all of its groups together."""

    def __init__(self, snapshot: Snapshot, direction: str, own_end: End, peer: End) -> None:
        self._direction = direction
        self._groups = own_end.groups
        self._unread: list[Party] = []
        self.candidates: list[_Candidate] = []
        for group in own_end.groups:
            rules = rules_of(snapshot, group)
            if rules is None:
                self._unread.append(group)
            self.candidates += [
                candidate for rule in rules or () if (candidate := _candidate(rule, direction, own_end, peer))
            ]
        self.candidates.sort(key=lambda candidate: (candidate.rule.priority, candidate.accepts, candidate.rule.id))
        self._default = self._by_default(snapshot, own_end)

    def step(self, packet: Port) -> _Step:
        """What becomes of a packet here."""
        doubtful: list[tuple[_Candidate, Doubt]] = []
        decided = self._default
        strongest = False
        for candidate in self.candidates:
            fits = _fits(candidate, packet)
            if fits is False:
                continue
            if fits is True:
                decided = _Step(candidate.accepts, (Decider(EffectCause.RULE, (), self._direction, candidate.rule),))
                strongest = (
                    not candidate.accepts and candidate.rule.priority == 1
                )  # a drop that no other rule can override
                break
            doubtful.append((candidate, fits))
        if self._unread and not strongest:
            unread = Decider(EffectCause.RULES_UNREAD, tuple(self._unread), self._direction)
            return _Step(None, (unread,), frozenset(self._unread), decided.rank[1])
        for candidate, doubt in doubtful:
            if decided.passes not in (None, candidate.accepts):
                doubted = Decider(EffectCause.RULE_DOUBTED, (), self._direction, candidate.rule, doubt)
                return _Step(None, (doubted,), level=decided.rank[1])
        return decided

    def admission(self, packet: Port) -> Admission:
        """The rules by which a packet passes here."""
        admitting: list[Rule] = []
        doubted: list[Rule] = []
        is_sure = True
        for candidate in self.candidates:
            fits = _fits(candidate, packet)
            if fits is True and not candidate.accepts:
                break
            if fits is not False and candidate.accepts:
                (admitting if fits is True and is_sure else doubted).append(candidate.rule)
            is_sure = is_sure and (candidate.accepts or fits is False)
        return Admission(packet, tuple(admitting), tuple(doubted), tuple(self._unread))

    def _by_default(self, snapshot: Snapshot, own_end: End) -> _Step:
        if self._direction == "ingress":
            return _Step(False, (Decider(EffectCause.NO_INGRESS, self._groups, self._direction),))
        groups = [snapshot.groups.get(group) for group in own_end.groups]
        if any(group.advanced for group in groups if group):
            return _Step(False, (Decider(EffectCause.NO_EGRESS, self._groups, self._direction),))
        if None in groups:
            unread = [group for group in own_end.groups if group not in snapshot.groups]
            return _Step(None, (Decider(EffectCause.TYPE_UNREAD, (unread[0],), self._direction),), frozenset(unread))
        return _Step(True, ())


def _inner_access(snapshot: Snapshot, group: Party) -> bool | None:
    """Whether the group's members reach each other; None if that was not read."""
    shown_group = snapshot.groups.get(group)
    return False if shown_group and shown_group.advanced else snapshot.inner_access.get(group)


def rules_of(snapshot: Snapshot, group: Party) -> Sequence[Rule] | None:
    """The group's rules; None where they were not read. That RuleCount is 0 says nothing: perhaps it does not count
    egress rules."""
    return snapshot.rules.get(group)


_Fit = bool | Doubt
"""Whether a rule applies, or why that is not known."""


def _candidate(rule: Rule, direction: str, own_end: End, peer: End) -> _Candidate | None:
    """The rule, unless it cannot apply between the two ends."""
    traffic = rule.traffic
    if traffic is None or traffic.direction != direction:
        return None
    answers = [_peer_fits(traffic, own_end, peer), _source_ports_fit(traffic)]
    if traffic.own_range:
        answers.append(inside(own_end.ip, traffic.own_range, Doubt.OWN_RANGE))
    if False in answers:
        return None
    return _Candidate(rule, traffic, next((doubt for doubt in answers if isinstance(doubt, Doubt)), None))


def _peer_fits(traffic: Traffic, own_end: End, peer: End) -> _Fit:
    """Whether the other end is what the rule names."""
    if "@" not in traffic.peer:
        return inside(peer.ip, traffic.peer, Doubt.PEER_RANGE) if traffic.peer else Doubt.PREFIX_LIST
    if traffic.peer not in map(str, peer.groups):
        return False
    return True if own_end.vpc == peer.vpc else Doubt.OTHER_VPC


def _source_ports_fit(traffic: Traffic) -> _Fit:
    if traffic.source_ports is None:
        return True
    low, high = traffic.source_ports
    if low <= EPHEMERAL[0] and EPHEMERAL[1] <= high:
        return True
    return False if high < EPHEMERAL[0] else Doubt.SOURCE_PORTS


def _fits(candidate: _Candidate, packet: Port) -> _Fit:
    """Whether the rule applies to a packet."""
    port = candidate.traffic.port
    if port is None:
        return Doubt.PORT_LIST
    if protocol_name(port) not in ("all", packet.protocol):
        return False
    if port.low != -1 and not port.low <= packet.low <= port.high:
        return False
    return candidate.doubt or True


def protocol_name(port: Port) -> str:
    """The protocol's name, also where the rule has its number."""
    return _NUMBERS.get(port.protocol, port.protocol)


def inside(ip: str, cidr: str, unreadable: Doubt = Doubt.PEER_RANGE) -> _Fit:
    """Whether an address is in a range. One that is not known is in the range of all addresses only."""
    try:
        network = _network(cidr)
        if not ip:
            return True if network.prefixlen == 0 else Doubt.ADDRESS
        return _address(ip) in network
    except ValueError:  # not a form that the documentation shows
        return unreadable


@functools.lru_cache(maxsize=32_768)
def _address(ip: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(ip)


@functools.lru_cache(maxsize=1024)
def _network(cidr: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(cidr, strict=False)


def _worst(verdicts: Set[bool | None]) -> bool | None:
    return False if False in verdicts else None if None in verdicts else True


def _effect(steps: Sequence[tuple[Port, _Step]]) -> Effect:
    verdicts = {step.passes for _, step in steps}
    passes = _worst(verdicts)
    blocked = tuple(packet for packet, step in steps if step.passes is False)
    passed = tuple(packet for packet, step in steps if step.passes)
    unread = frozenset(group for _, step in steps for group in step.unread)
    parts = (EffectPart(_packets_by_decider(steps, passes), passed if passes is False else ()),)
    doubts = (EffectPart(_packets_by_decider(steps, None)),) if None in verdicts else ()
    return Effect(passes, parts, blocked, passed, unread, doubts)


def _packets_by_decider(
    steps: Sequence[tuple[Port, _Step]], passes: bool | None
) -> tuple[tuple[Decider, tuple[Port, ...]], ...]:
    packets = grouped((decider, packet) for packet, step in steps if step.passes is passes for decider in step.deciders)
    return tuple((decider, tuple(ports)) for decider, ports in packets.items())


def _deciders(steps: Sequence[_Step], passes: bool | None) -> tuple[Decider, ...]:
    return tuple(decider for step in steps if step.passes is passes for decider in step.deciders)
