"""What becomes of packets, and who can reach a party: the local cloud and the library, which were written apart from
each other, agree over random worlds.

The reader takes sources from the cloud's own rules and asks the cloud of each packet; of the library it has only the
types.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from ipaddress import IPv4Address as Address
from ipaddress import IPv4Network as Range
from typing import Any

import msgspec
import pytest
from alibabacloud_ecs20140526 import models
from aliyun_local.api import Group, Instance, Rule, Store, VirtualClock, may_reach
from link_peer.alicloud import ecs_shapes as shapes
from link_peer.domain import model
from link_peer.domain.model import Party, Port
from link_peer.domain.snapshot import Snapshot
from link_peer.views.reach import Scene
from link_peer.views.who import Reaching, sources_reaching

from tests.functional.lab import HOME, PEER
from tests.sample import part

WORLDS = part(1000, 3)
SAMPLE = models.DescribeSecurityGroupAttributeResponseBodyPermissionsPermission
PACKETS = [Port("tcp", port, port) for port in (1, 22, 80, 443, 65535)] + [Port("udp", 53, 53), Port("icmp")]


def as_read(rule: Rule, group: Party) -> dict[str, Any]:
    """A rule as DescribeSecurityGroupAttribute shows it; a group of the same account comes without its owner."""
    peer, own_end = ("Source", "Dest") if rule.direction == "ingress" else ("Dest", "Source")
    return {
        "SecurityGroupRuleId": rule.id,
        "Direction": rule.direction,
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "SourcePortRange": rule.source_port_range,
        "Policy": rule.policy,
        "Priority": rule.priority,
        f"{peer}GroupId": rule.peer_group,
        f"{peer}GroupOwnerAccount": "" if rule.peer_owner == group.account else rule.peer_owner,
        f"{peer}CidrIp": rule.peer_cidr,
        f"Ipv6{peer}CidrIp": rule.peer_ipv6,
        f"{own_end}CidrIp": rule.own_cidr,
    }


Sent = tuple[list[Instance], list[Instance], list[Port]]
"""From whom, to whom, and which packets."""


class World:
    """Three instances in up to three groups each, of one or two VPCs and accounts, with rules of every kind; and the
    question who reaches one of them, or the instances of one of its groups, on one port or on all. A stranger has an
    address, in a group which lets everything out and which no rule names."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.store = Store(VirtualClock())
        vpcs = [self.store.create_vpc(HOME, "10.1.0.0/16"), self.store.create_vpc(HOME, "10.2.0.0/16")]
        self.store.peerings.add(frozenset(vpc.id for vpc in vpcs))  # what gives a route is none of the groups' business
        near = vpcs[0]
        far = near if chance.random() < 0.8 else vpcs[1]
        self.groups: list[Group] = []
        self.a = self._instance(HOME, near.id)
        self.b = self._instance(PEER if chance.random() < 0.3 else HOME, far.id)
        for number in range(chance.choice((0, 1, 2, 4, 8, 12))):
            self._rule(number)
        self.instances = [self.a, self.b, self._instance(self.b.account, self.b.vpc_id)]
        for number in range(100, 100 + self.chance.choice((0, 3, 6))):
            self._rule(number)
        group = self.of(self.b)[0] if self.chance.random() < 0.5 else None
        self.party = Party(self.b.account, group.id if group else self.b.id)
        self.to = [
            instance
            for instance in self.instances
            if self.party.id in (instance.id, *(each.id for each in self.of(instance)))
        ]
        self.near = {each.id: each for group_id in self.to for each in self.of(group_id)}
        self.queries = [self.chance.choice(PACKETS)] if self.chance.random() < 0.3 else []

    def _instance(self, account: str, vpc: str) -> Instance:
        """In groups of one type, of which the other instance may be in some."""
        kind = "enterprise" if self.chance.random() < 0.2 else "normal"
        joined = []
        for _ in range(self.chance.choice((1, 1, 2, 3))):
            shared = [g for g in self.groups if (g.account, g.vpc_id, g.type) == (account, vpc, kind)]
            inner = "Drop" if kind == "enterprise" else self.chance.choice(("Accept", "Accept", "Drop"))
            if shared and self.chance.random() < 0.3:
                joined.append(self.chance.choice(shared))
            else:
                joined.append(self.store.create_group(account, vpc, type=kind, inner_access=inner))
                self.groups.append(joined[-1])
        return self.store.create_instance(account, list(dict.fromkeys(group.id for group in joined)))

    def _rule(self, number: int) -> None:
        chance, group = self.chance, self.chance.choice(self.groups)
        protocol = chance.choice(("TCP", "TCP", "TCP", "UDP", "ICMP", "ALL", "ALL", "GRE"))
        low = chance.choice((1, 22, 80, 440))
        high = chance.choice((low, low + 10, 65535))
        peer, owner, cidr, ipv6 = "", "", "", ""
        kind = chance.random()
        if kind < 0.4:
            peer_group = chance.choice(self.groups)
            peer, owner = peer_group.id, peer_group.account
        elif kind < 0.95:
            cidr = self._cidr()
        else:
            ipv6 = "::/0"
        source_ports = ""
        if protocol in ("TCP", "UDP") and chance.random() < 0.1:
            source_ports = chance.choice(("1/1024", "1/65535", "1024/65535"))
        rule = Rule(
            direction=chance.choice(("ingress", "ingress", "egress")),
            protocol=protocol,
            port_range=f"{low}/{high}" if protocol in ("TCP", "UDP") else "-1/-1",
            policy=chance.choice(("Accept", "Accept", "Drop")),
            priority=chance.choice((1, 50, 99, 100)),
            nic_type="intranet",
            peer_group=peer,
            peer_owner=owner,
            peer_cidr=cidr,
            peer_ipv6=ipv6,
            own_cidr="" if ipv6 or chance.random() < 0.8 else self._cidr(),
            source_port_range=source_ports,
            id=f"sgr-{number}",
        )
        group.rules.change(self.store.clock.now(), lambda old: (*old, rule))

    def _cidr(self) -> str:
        """A range around one of the instances, or none of them."""
        address = self.chance.choice((self.a.private_ip, self.b.private_ip, "10.9.0.1"))
        bits = self.chance.choice((32, 32, 31, 24, 16, 8, 0))
        return str(Range(f"{address}/{bits}", strict=False))

    def instance_now(self, instance: Instance) -> model.Instance:
        state = instance.states.at(self.store.clock.now())
        assert state is not None
        return model.Instance(Party(instance.account, instance.id), instance.vpc_id, state.groups, instance.private_ip)

    def snapshot(self) -> Snapshot:
        groups, rules = {}, {}
        for group in self.groups:
            party = Party(group.account, group.id)
            groups[party] = model.Group(party, group.vpc_id, advanced=group.type == "enterprise")
            rules_now = group.rules.at(self.store.clock.now())
            rules[party] = tuple(shapes.rule(party, SAMPLE().from_map(as_read(rule, party))) for rule in rules_now)
        access = {Party(g.account, g.id): g.inner_access == "Accept" for g in self.groups}
        return Snapshot(groups=groups, rules=rules, inner_access=access)

    def described(self) -> str:
        return "\n".join(f"{g.id} {g.type} {g.inner_access} {g.rules.at(self.store.clock.now())}" for g in self.groups)

    def answer(self) -> list[Reaching]:
        instances = {Party(instance.account, instance.id): self.instance_now(instance) for instance in self.instances}
        read = {"instances": instances, "whole_accounts": {HOME, PEER}}
        return sources_reaching(Scene(msgspec.structs.replace(self.snapshot(), **read)), self.party, self.queries)

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
        pairs = [(source, target) for source in sent[0] for target in sent[1] if source is not target]
        common = [group for sender, receiver in pairs for group in self.of(sender) if group in self.of(receiver)]
        doubted = any(a.vpc_id != b.vpc_id for a, b in pairs) or any(group.inner_access == "Accept" for group in common)
        return {self.arrives(*pair, packet) for pair in pairs for packet in sent[2]}, doubted

    def arrives(self, source: Instance, to: Instance, packet: Port) -> bool:
        return may_reach(self.store, source.account, source.id, to.account, to.id, packet.protocol, packet.low).ok

    def of(self, instance: Instance) -> list[Group]:
        return [self.store.account(instance.account).groups[group] for group in self.instance_now(instance).groups]

    def _with(self, group: str) -> list[Instance]:
        return [instance for instance in self.instances if group in self.instance_now(instance).groups]

    def _ingress(self, group: Group) -> list[Rule]:
        return [rule for rule in group.rules.at(self.store.clock.now()) if rule.direction == "ingress"]

    def _to(self, group: Group, cidr: str) -> list[Instance]:
        hosts = [
            host for host in self.to if group in self.of(host) and (not cidr or Address(host.private_ip) in Range(cidr))
        ]
        return hosts or ([self._stranger(group, Range(cidr)[0])] if group.id == self.party.id else [])

    def _from(self, group: Group, rule: Rule) -> list[Instance]:
        if rule.peer_group or rule.peer_ipv6:
            return self._with(rule.peer_group)
        whole, rules = Range(rule.peer_cidr), [entry for each in self.near.values() for entry in self._ingress(each)]
        having = [instance for instance in self.instances if Address(instance.private_ip) in whole]
        near = [instance for instance in having if instance.vpc_id == group.vpc_id]
        if whole.prefixlen == 32 and having:
            return having
        ends = [Range(rule.peer_cidr) for rule in rules if rule.peer_cidr]
        edges = {whole[0], *(end[0] for end in ends), *(end[-1] + 1 for end in ends if end.prefixlen)}
        lets_out = self.store.create_group(HOME, group.vpc_id, inner_access="Drop")
        dropped = {rule.peer_group for rule in rules if rule.policy == "Drop"}
        dropping_peers = [peer for peer in near if dropped.intersection(self.instance_now(peer).groups)]
        return dropping_peers + [self._stranger(lets_out, edge) for edge in sorted(edges) if edge in whole]

    def _parts(self, protocol: str, ports: str) -> list[Port]:
        """One packet of each part of these ports that rules tell apart."""
        low, high = (1, 65_535) if ports == "-1/-1" else map(int, ports.split("/"))
        every = [rule.port_range for group in self.groups for rule in group.rules.at(self.store.clock.now())]
        cuts = {
            low,
            *(cut for span in every for a, b in [map(int, span.split("/"))] for cut in (a, b + 1) if low < cut <= high),
        }
        boundary_ports = [Port(name, cut, cut) for name in ("tcp", "udp") for cut in sorted(cuts)] + [
            Port("icmp"),
            Port("gre"),
        ]
        probes = (
            [probe for probe in self.queries if probe.low == -1 or low <= probe.low <= high]
            if self.queries
            else boundary_ports
        )
        return [probe for probe in probes if protocol in ("ALL", probe.protocol.upper())]

    def _stranger(self, group: Group, address: Address) -> Instance:
        new_instance = self.store.create_instance(group.account, [group.id])
        new_instance.private_ip = str(address)
        return new_instance


def _admits(reaching: Reaching, source: Instance, groups: list[Group]) -> bool:
    if reaching.source and not reaching.address:
        return reaching.source in {Party(group.account, group.id) for group in groups}
    return ":" not in reaching.address and Address(source.private_ip) in Range(reaching.address)


@pytest.mark.exhaustive
def test_who_reaches_a_party_is_what_becomes_of_packets_in_random_worlds() -> None:
    """Each source is listed, with the state that its packets have, and no other; of whatever arrives, the source is
    listed."""
    counts: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = World(seed)
        answer, sources = world.answer(), dict(world.sources())
        text = f"world {seed}, {world.party} {world.queries}: {answer}\n{world.described()}"
        assert {(source.group.id, source.rule.id if source.rule else "") for source in answer} == sources.keys(), text
        for reacher in answer:
            arrives, doubted = world.outcomes(sources[reacher.group.id, reacher.rule.id if reacher.rule else ""])
            word = "partly" if len(arrives) == 2 else "open" if True in arrives else "blocked"
            assert not arrives or reacher.state == word or (doubted and reacher.state == "unknown"), (
                reacher,
                word,
                text,
            )
            counts[reacher.state] += 1
        for source, packet in (
            (instance, packet) for instance in world.instances for packet in world.queries or PACKETS
        ):
            if any(target is not source and world.arrives(source, target, packet) for target in world.to):
                admitting = [entry for entry in answer if _admits(entry, source, world.of(source))]
                assert any(entry.state != "blocked" for entry in admitting), (source.id, packet, text)
    assert min(counts[word] for word in ("open", "partly", "blocked", "unknown")) > WORLDS / 20, counts
