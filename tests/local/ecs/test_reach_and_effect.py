"""The local cloud's check of whether a packet arrives, and the library's, were written apart from each other: over random
worlds they agree."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from typing import Any

from alibabacloud_ecs20140526 import models
from link_peer.alicloud import ecs_shapes as shapes
from link_peer.domain import model
from link_peer.domain.model import Party, Port
from link_peer.domain.snapshot import Snapshot
from link_peer.planning import effect_text
from link_peer.planning.effect import Effect, between, end_of
from link_peer_local.core.clock import VirtualClock
from link_peer_local.ecs import may_reach
from link_peer_local.ecs.state import Group, Instance, Rule
from link_peer_local.ecs.store import Store

from tests.local.clients import HOME, PEER

WORLDS = 10_000
SAMPLE = models.DescribeSecurityGroupAttributeResponseBodyPermissionsPermission
PACKETS = [Port("tcp", port, port) for port in (1, 22, 80, 443, 65535)] + [Port("udp", 53, 53), Port("icmp")]


class World:
    """Two instances in up to three groups each, of one or two VPCs and accounts, with rules of every kind."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
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
            named = chance.choice(self.groups)
            peer, owner = named.id, named.account
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
        return str(ipaddress.IPv4Network(f"{address}/{bits}", strict=False))

    def effect(self, source: Instance, dest: Instance, packet: Port) -> Effect:
        """What the library says, of what the API shows of this world."""
        ends = [end_of(self.shown(instance)) for instance in (source, dest)]
        return between(self.snapshot(), *ends, [packet])

    def shown(self, instance: Instance) -> model.Instance:
        state = instance.states.at(self.store.clock.now())
        assert state is not None
        return model.Instance(Party(instance.account, instance.id), instance.vpc_id, state.groups, instance.private_ip)

    def snapshot(self) -> Snapshot:
        groups, rules = {}, {}
        for group in self.groups:
            party = Party(group.account, group.id)
            groups[party] = model.Group(party, group.vpc_id, advanced=group.type == "enterprise")
            shown = group.rules.at(self.store.clock.now())
            rules[party] = tuple(shapes.rule(party, SAMPLE().from_map(as_read(rule, party))) for rule in shown)
        access = {Party(g.account, g.id): g.inner_access == "Accept" for g in self.groups}
        return Snapshot(groups=groups, rules=rules, inner_access=access)

    @property
    def common(self) -> set[str]:
        """The groups that both are in."""
        return set(self.shown(self.a).groups) & set(self.shown(self.b).groups)

    def described(self) -> str:
        return "\n".join(f"{g.id} {g.type} {g.inner_access} {g.rules.at(self.store.clock.now())}" for g in self.groups)


def as_read(rule: Rule, group: Party) -> dict[str, Any]:
    """A rule as DescribeSecurityGroupAttribute shows it; a group of the same account comes without its owner."""
    peer, own = ("Source", "Dest") if rule.direction == "ingress" else ("Dest", "Source")
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
        f"{own}CidrIp": rule.own_cidr,
    }


def test_the_local_cloud_and_the_library_agree_on_random_worlds() -> None:
    """The library may leave open only what the documentation does: whether a rule that names a group applies across VPCs,
    and whether an egress drop stops members of one group that reach each other."""
    seen: Counter[tuple[bool, bool | None]] = Counter()
    for seed in range(WORLDS):
        world = World(random.Random(seed))
        packet = world.chance.choice(PACKETS)
        arrives = may_reach(world.store, HOME, world.a.id, world.b.account, world.b.id, packet.protocol, packet.low)
        effect = world.effect(world.a, world.b, packet)
        told = f"world {seed}, {packet}: {arrives.why}; {effect_text.detail(effect)}\n{world.described()}"
        assert effect.passes in (arrives.ok, None), told
        assert effect.passes is not None or world.a.vpc_id != world.b.vpc_id or world.common, told
        seen[arrives.ok, effect.passes] += 1
    assert min(seen[True, True], seen[False, False]) > WORLDS / 7, seen
    assert seen[True, None] + seen[False, None] < WORLDS / 10, seen
