"""Who can reach a party: every source that the rules of its groups admit, whoever made them. Pure.

| a source                                | its packets come from                                                               |
|-----------------------------------------|-------------------------------------------------------------------------------------|
| a group that a rule names               | its instances; without any, one that is in this group only                          |
| one address                             | each instance that has it, in any VPC, by itself; without one, nobody known         |
| a wider range                           | its addresses, as nobody's; and its instances whose group a drop names              |
| a prefix list                           | an address that is not known: `unknown`, unless other rules decide about any        |
| IPv6                                    | `unknown`                                                                           |
| a basic group with InnerAccessPolicy on | the other instances in it, without a rule                                           |
| what was not read                       | `unknown`                                                                           |

They go to the instances of the party that are in the rule's group, and may have the address to which it is restricted.
All rules of both ends decide about them: see `effect`. Nobody known lets everything out.
"""  # noqa: W505

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from link_peer.domain.model import ALL, Instance, Party, Port, Rule, Traffic
from link_peer.planning.effect import inside, protocol_name, rules_of, word_of
from link_peer.views.reach import Scene, among, anyone_in


class Reaching(msgspec.Struct, frozen=True):
    """One source that may reach a party."""

    source: Party | None  # a group, or the instance that has the address; None where neither is known
    address: str  # what the rule of `group` names: a range, or the id of a prefix list
    group: Party
    rule: Rule | None  # None: `source` are members of the group itself
    state: str  # `open`, `partly`, `blocked` or `unknown`, as of links
    reason: str  # what decides
    instances: int | None = None  # how many `source` has; None where that is not known


def sources_reaching(scene: Scene, party: Party, ports: Sequence[Port] = (), *, members: bool = True) -> list[Reaching]:
    """Every source that can reach the party on any of these ports; without ports, on any. Of its own groups' `members`,
    which need no rule, only if asked for."""
    sources = _SourceSearch(scene, party, tuple(ports) or (ALL,)).sources(members=members)
    return sorted(
        sources,
        key=lambda source: (
            str(source.source or ""),
            source.address,
            source.group,
            source.rule.id if source.rule else "",
        ),
    )


def parties_in_rules(scene: Scene, party: Party) -> set[Party]:
    """The groups that ingress rules of the party's groups name, and the instances whose addresses they do."""
    query = _SourceSearch(scene, party, (ALL,))
    groups = {group for peer in query.peers if (group := _party(peer))}
    return groups | {instance.party for peer in query.peers for instance in scene.holders.get(peer, ())}


class _SourceSearch:
    """The question who reaches a party. `peers` are what ingress rules of its groups name."""

    def __init__(self, scene: Scene, party: Party, ports: tuple[Port, ...]) -> None:
        self._scene = scene
        self._party = party
        self._ports = ports
        self._groups = sorted(scene.groups(party))
        rules = (rule for group in self._groups for rule in rules_of(scene.snapshot, group) or ())
        peers = [
            (traffic.peer, rule.policy)
            for rule in rules
            if (traffic := rule.traffic) and traffic.direction == "ingress"
        ]
        self.peers = dict.fromkeys(peer for peer, _ in peers)
        self._dropped = dict.fromkeys(peer for peer, policy in peers if policy == "drop")

    def sources(self, *, members: bool) -> Iterator[Reaching]:
        """Every source, in no order, with or without the members of the party's groups."""
        scene, party = self._scene, self._party
        if not self._groups or not scene.complete(party):
            yield Reaching(
                None, "", party, None, "unknown", f"not every instance of {party} was read, and what they are in"
            )
        for group in self._groups:
            if (rules := rules_of(scene.snapshot, group)) is None:
                yield Reaching(None, "", group, None, "unknown", f"the rules of {group} were not read")
            shown_group = scene.snapshot.groups.get(group)
            is_basic = shown_group is not None and not shown_group.advanced
            if members and is_basic and scene.snapshot.inner_access.get(group) is not False:
                to = self._to(group, "")
                yield Reaching(group, "", group, None, *self._judged(group, scene.members(group), to, self._ports))
            for rule in rules or ():
                traffic = rule.traffic or rule.ipv6
                if rule.policy != "drop" and traffic and traffic.direction == "ingress":
                    yield from self._admitted(group, rule, traffic)

    def _admitted(self, group: Party, rule: Rule, traffic: Traffic) -> Iterator[Reaching]:
        """The source that a rule admits, if it concerns the party and the ports in question."""
        ports = [port for queried in self._ports for port in _common_ports(traffic.port or ALL, queried)]
        to = self._to(group, "" if rule.ipv6 else traffic.own_range)
        if not ports or not to:
            return
        source, peer = _party(traffic.peer), traffic.peer or traffic.prefix_list
        if rule.ipv6:
            yield Reaching(source, "" if source else peer, group, rule, "unknown", "IPv6 is not judged")
            return
        if source:
            yield self._reaching(source, "", self._scene.members(source), group, rule, to, ports)
            return
        # packets between VPCs are judged by address alone, so each holder of it counts; an instance is no source of its
        # own
        holders = [
            holder for holder in self._scene.holders.get(peer, ()) if any(end.party != holder.party for end in to)
        ]
        for holder in holders:
            yield self._reaching(holder.party, peer, [holder], group, rule, to, ports)
        if not holders:
            yield self._reaching(None, peer, self._from(group, traffic), group, rule, to, ports)

    def _reaching(
        self,
        source: Party | None,
        address: str,
        senders: Sequence[Instance],
        group: Party,
        rule: Rule,
        to: Sequence[Instance],
        ports: Sequence[Port],
    ) -> Reaching:
        """What becomes of the packets of one source that a rule admits."""
        state, detail, count = self._judged(None if address else source, senders, to, ports)
        if state == "partly" and rule.traffic and rule.traffic.port is None:
            state = "unknown"  # the port list may have ports of one kind alone
        return Reaching(source, address, group, rule, state, detail, 1 if address and source else count)

    def _to(self, group: Party, own_range: str) -> list[Instance]:
        """The party's instances in this group that may have such an address; without any, one that might join."""
        members = [member for member in self._scene.members(self._party) if group.id in member.groups]
        reached = [member for member in members if inside(member.ip, own_range) is not False]
        return reached or (
            [anyone_in(self._scene.snapshot, group, _parts(own_range, ())[0])] if group == self._party else []
        )

    def _from(self, group: Party, traffic: Traffic) -> list[Instance]:
        """Who has the addresses that a rule of this group admits."""
        shown_group, peer = self._scene.snapshot.groups.get(group), traffic.peer
        drops = filter(None, map(_party, self._dropped))
        dropped = {instance.party: instance for drop in drops for instance in self._scene.members(drop)}.values()
        excluded = [
            instance
            for instance in dropped
            if shown_group and instance.vpc == shown_group.vpc and inside(instance.ip, peer) is True
        ]
        even = not self._dropped and traffic.source_ports is None and traffic.port  # its addresses are alike
        ranges = [] if even else [peer_range for peer_range in self.peers if "@" not in peer_range]
        return [*map(_nobody, _parts(peer, ranges)), *excluded]

    def _judged(
        self, source: Party | None, senders: Sequence[Instance], to: Sequence[Instance], ports: Sequence[Port]
    ) -> tuple[str, str, int | None]:
        """The state, what decides, and how many instances a group has as a source."""
        snapshot = self._scene.snapshot
        reach = among(snapshot, senders, to, ports)
        if reach is None and source and source in snapshot.groups:
            reach = among(snapshot, [anyone_in(snapshot, source)], to, ports)
        if reach is None:
            return "unknown", f"{source} was not read", None
        if source is None or self._scene.complete(source):
            return (
                reach.word,
                reach.detail,
                len({sender.party for sender in senders} - {self._party}) if source else None,
            )
        word = word_of(reach.effect.outcomes | reach.other_results | {None})
        return word, reach.detail if word == reach.word else f"not every instance of {source} was read", None


def _party(peer: str) -> Party | None:
    """The group that a rule names, if it names one."""
    group, at, account = peer.partition("@")
    return Party(account, group) if at else None


def _nobody(ip: str) -> Instance:
    """Who has an address, where nothing else is known."""
    return Instance(Party("", ip or "an address that is not known"), "", (), ip)


def _parts(cidr: str, holes: Iterable[str]) -> list[str]:
    """An address of each part of a range that other ranges tell apart; one that is not known, if the range is not."""
    whole, *parts = (_ends(network) for network in (cidr, *holes))
    if whole is None:
        return [""]
    cuts = {whole[0], *(cut for part in parts if part for cut in (part[0], part[1] + 1))}
    return [str(ipaddress.IPv4Address(cut)) for cut in sorted(cuts) if whole[0] <= cut <= whole[1]]


def _ends(cidr: str) -> tuple[int, int] | None:
    try:
        network = ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        return None
    return int(network[0]), int(network[-1])


def _common_ports(first: Port, second: Port) -> Iterator[Port]:
    """The packets that a rule names, of those in question."""
    if second == ALL:
        yield first
    elif first == ALL:
        yield second
    elif protocol_name(first) == second.protocol:
        if first.low == -1:
            yield second
        elif (low := max(first.low, second.low)) <= (high := min(first.high, second.high)):
            yield Port(second.protocol, low, high)
