"""Who can reach a party, in random worlds: the library's answer is what the local cloud does with packets.

The reader here takes the sources from the cloud's own rules and asks the cloud of each packet; of the library it has only the
types of the answer.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address as Address
from ipaddress import IPv4Network as Range

import msgspec
from link_peer.domain.model import Party, Port
from link_peer.planning.reach import Scene
from link_peer.planning.who import Reaching, who
from link_peer_local.ecs import may_reach
from link_peer_local.ecs.state import Group, Instance, Rule

from tests.local.clients import HOME, PEER
from tests.local.ecs.test_reach_and_effect import PACKETS, World

WORLDS = 1000
Sent = tuple[list[Instance], list[Instance], list[Port]]
"""From whom, to whom, and which packets."""


class Asked(World):
    """The question who reaches an instance, or the instances of one of its groups, in a world of three instances; on one port, or
    on all. A stranger has an address, in a group which lets everything out and which no rule names."""

    def __init__(self, seed: int) -> None:
        super().__init__(random.Random(seed))
        self.instances = [self.a, self.b, self._instance(self.b.account, self.b.vpc_id)]
        for number in range(100, 100 + self.chance.choice((0, 3, 6))):
            self._rule(number)
        group = self.of(self.b)[0] if self.chance.random() < 0.5 else None
        self.party = Party(self.b.account, group.id if group else self.b.id)
        self.to = [one for one in self.instances if self.party.id in (one.id, *(each.id for each in self.of(one)))]
        self.near = {each.id: each for one in self.to for each in self.of(one)}
        self.asked = [self.chance.choice(PACKETS)] if self.chance.random() < 0.3 else []

    def answer(self) -> list[Reaching]:
        instances = {Party(one.account, one.id): self.shown(one) for one in self.instances}
        read = {"instances": instances, "whole_accounts": {HOME, PEER}}
        return who(Scene(msgspec.structs.replace(self.snapshot(), **read)), self.party, self.asked)

    def sources(self) -> Iterator[tuple[tuple[str, str], Sent]]:
        """By group and rule; members of a group have no rule."""
        for group in self.near.values():
            if group.inner_access == "Accept":
                yield (group.id, ""), (self._with(group.id), self._to(group, ""), self._parts("ALL", "-1/-1"))
            for rule in self._ingress(group):
                packets, to = self._parts(rule.protocol, rule.port_range), self._to(group, rule.own_cidr)
                if rule.policy == "Accept" and packets and to:
                    yield (group.id, rule.id), (self._from(group, rule), to, packets)

    def outcomes(self, sent: Sent) -> tuple[set[bool], bool]:
        """What becomes of the packets, and whether the documentation leaves that open of any pair of instances."""
        pairs = [(one, other) for one in sent[0] for other in sent[1] if one is not other]
        common = [group for one, other in pairs for group in self.of(one) if group in self.of(other)]
        doubted = any(a.vpc_id != b.vpc_id for a, b in pairs) or any(group.inner_access == "Accept" for group in common)
        return {self.arrives(*pair, packet) for pair in pairs for packet in sent[2]}, doubted

    def arrives(self, source: Instance, to: Instance, packet: Port) -> bool:
        return may_reach(self.store, source.account, source.id, to.account, to.id, packet.protocol, packet.low).ok

    def of(self, instance: Instance) -> list[Group]:
        return [self.store.account(instance.account).groups[group] for group in self.shown(instance).groups]

    def _with(self, group: str) -> list[Instance]:
        return [one for one in self.instances if group in self.shown(one).groups]

    def _ingress(self, group: Group) -> list[Rule]:
        return [rule for rule in group.rules.at(self.store.clock.now()) if rule.direction == "ingress"]

    def _to(self, group: Group, own: str) -> list[Instance]:
        found = [one for one in self.to if group in self.of(one) and (not own or Address(one.private_ip) in Range(own))]
        return found or ([self._stranger(group, Range(own)[0])] if group.id == self.party.id else [])

    def _from(self, group: Group, rule: Rule) -> list[Instance]:
        if rule.peer_group or rule.peer_ipv6:
            return self._with(rule.peer_group)
        whole, rules = Range(rule.peer_cidr), [one for each in self.near.values() for one in self._ingress(each)]
        having = [one for one in self.instances if Address(one.private_ip) in whole]
        near = [one for one in having if one.vpc_id == group.vpc_id]
        if whole.prefixlen == 32 and having:
            return near or having
        ends = [Range(one.peer_cidr) for one in rules if one.peer_cidr]
        edges = {whole[0], *(one[0] for one in ends), *(one[-1] + 1 for one in ends if one.prefixlen)}
        lets_out = self.store.create_group(HOME, group.vpc_id, inner_access="Drop")
        dropped = {one.peer_group for one in rules if one.policy == "Drop"}
        known = [one for one in near if dropped.intersection(self.shown(one).groups)]
        return known + [self._stranger(lets_out, edge) for edge in sorted(edges) if edge in whole]

    def _parts(self, protocol: str, ports: str) -> list[Port]:
        """One packet of each part of these ports that rules tell apart."""
        low, high = (1, 65_535) if ports == "-1/-1" else map(int, ports.split("/"))
        every = [rule.port_range for group in self.groups for rule in group.rules.at(self.store.clock.now())]
        cuts = {
            low,
            *(cut for one in every for a, b in [map(int, one.split("/"))] for cut in (a, b + 1) if low < cut <= high),
        }
        found = [Port(name, cut, cut) for name in ("tcp", "udp") for cut in sorted(cuts)] + [Port("icmp"), Port("gre")]
        asked = [one for one in self.asked if one.low == -1 or low <= one.low <= high] if self.asked else found
        return [one for one in asked if protocol in ("ALL", one.protocol.upper())]

    def _stranger(self, group: Group, address: Address) -> Instance:
        made = self.store.create_instance(group.account, [group.id])
        made.private_ip = str(address)
        return made


def _admits(one: Reaching, source: Instance, groups: list[Group]) -> bool:
    if one.source and not one.address:
        return one.source in {Party(group.account, group.id) for group in groups}
    return ":" not in one.address and Address(source.private_ip) in Range(one.address)


def test_who_reaches_a_party_is_what_becomes_of_packets_in_random_worlds() -> None:
    """Each source is listed, with the state that its packets have, and no other; of whatever arrives, the source is listed."""
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = Asked(seed)
        answer, sources = world.answer(), dict(world.sources())
        told = f"world {seed}, {world.party} {world.asked}: {answer}\n{world.described()}"
        assert {(one.group.id, one.rule.id if one.rule else "") for one in answer} == sources.keys(), told
        for one in answer:
            arrives, doubted = world.outcomes(sources[one.group.id, one.rule.id if one.rule else ""])
            word = "partly" if len(arrives) == 2 else "open" if True in arrives else "blocked"
            assert not arrives or one.state == word or (doubted and one.state == "unknown"), (one, word, told)
            seen[one.state] += 1
        for source, packet in ((one, packet) for one in world.instances for packet in world.asked or PACKETS):
            if any(one is not source and world.arrives(source, one, packet) for one in world.to):
                admitting = [one for one in answer if _admits(one, source, world.of(source))]
                assert any(one.state != "blocked" for one in admitting), (source.id, packet, told)
    assert min(seen[word] for word in ("open", "partly", "blocked", "unknown")) > WORLDS / 20, seen
