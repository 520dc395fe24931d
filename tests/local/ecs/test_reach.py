"""Whether packets reach their destination: cases of networks, groups and rules."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_local.core.clock import VirtualClock
from link_peer_local.core.identity import Caller
from link_peer_local.ecs import EcsBackend, Verdict, may_reach
from link_peer_local.ecs.state import Group, Instance
from msgspec import Struct

from tests.local.clients import HOME, PEER


class World(Struct):
    """A and B in two basic groups of one shared VPC, of two accounts, without rules."""

    backend: EcsBackend
    group_a: Group
    group_b: Group
    a: Instance
    b: Instance

    def rule(self, group: Group, direction: str = "ingress", **fields: Any) -> None:
        action = "AuthorizeSecurityGroup" + ("" if direction == "ingress" else "Egress")
        permission = {"IpProtocol": "tcp", "PortRange": "3306/3306", **fields}
        params = {f"Permissions.1.{name}": str(value) for name, value in permission.items()}
        params |= {"RegionId": "cn-qingdao", "SecurityGroupId": group.id}
        self.backend.call(Caller(group.account, "root"), action, params)

    def admit(self, **fields: Any) -> None:
        """Let B's group accept A's group on TCP 3306, unless other fields are given."""
        source = {"SourceGroupId": self.group_a.id, "SourceGroupOwnerId": HOME}
        self.rule(self.group_b, **({} if "SourceCidrIp" in fields else source), **fields)

    def reach(self, protocol: str = "tcp", port: int = 3306) -> Verdict:
        return may_reach(self.backend, HOME, self.a.id, PEER, self.b.id, protocol, port)


@pytest.fixture(name="w")
def _world() -> World:
    backend = EcsBackend(VirtualClock())
    vpc = backend.create_vpc(HOME, "10.2.0.0/16", shared_with=(PEER,))
    group_a, group_b = backend.create_group(HOME, vpc.id), backend.create_group(PEER, vpc.id)
    a, b = backend.create_instance(HOME, [group_a]), backend.create_instance(PEER, [group_b])
    return World(backend, group_a, group_b, a, b)


def test_inbound_traffic_is_denied_by_default(w: World) -> None:
    """The verdict names the group without a matching rule."""
    verdict = w.reach()
    assert not verdict.ok
    assert verdict.why == f"no ingress rule of {w.group_b.id} applies"


@pytest.mark.parametrize(
    ("protocol", "port", "ok"),
    [("tcp", 3306, True), ("TCP", 3306, True), ("tcp", 3307, False), ("udp", 3306, False), ("icmp", -1, False)],
)
def test_a_group_rule_admits_its_protocol_and_ports(w: World, protocol: str, port: int, ok: bool) -> None:
    """And no others."""
    w.admit()
    assert w.reach(protocol, port).ok is ok


@pytest.mark.parametrize(("protocol", "port"), [("tcp", 1), ("udp", 65535), ("icmp", -1)])
def test_a_rule_for_all_admits_everything(w: World, protocol: str, port: int) -> None:
    """In one direction only: the opposite direction has rules of its own."""
    w.admit(IpProtocol="all", PortRange="-1/-1")
    assert w.reach(protocol, port).ok
    assert not may_reach(w.backend, PEER, w.b.id, HOME, w.a.id, protocol, port).ok


def test_a_group_rule_admits_members_of_that_group_only(w: World) -> None:
    """An instance in another group of the same account stays out."""
    w.admit()
    other = w.backend.create_group(HOME, w.group_a.vpc_id)
    stranger = w.backend.create_instance(HOME, [other])
    assert not may_reach(w.backend, HOME, stranger.id, PEER, w.b.id, "tcp", 3306).ok


@pytest.mark.parametrize(
    ("source", "dest", "ok"),
    [
        ("10.2.0.1/32", "", True),
        ("10.2.0.0/24", "", True),
        ("10.2.0.9/32", "", False),
        ("10.2.0.1", "10.2.0.2", True),
        ("10.2.0.9", "", False),
        ("10.2.0.1/32", "10.2.0.2/32", True),
        ("10.2.0.1/32", "10.2.0.3/32", False),
    ],
)
def test_address_rules_check_both_ends(w: World, source: str, dest: str, ok: bool) -> None:
    """A quintuple rule can admit traffic to a single member of the group."""
    assert (w.a.private_ip, w.b.private_ip) == ("10.2.0.1", "10.2.0.2")
    w.admit(SourceCidrIp=source, **({"DestCidrIp": dest} if dest else {}))
    assert w.reach().ok is ok


@pytest.mark.parametrize(
    ("accept", "drop", "ok"),
    [(100, 100, False), (100, 1, False), (1, 2, True), (99, 100, True)],
)
def test_the_smaller_priority_decides_and_drop_wins_a_tie(w: World, accept: int, drop: int, ok: bool) -> None:
    """So an accept with priority 100 never beats an operator's drop."""
    w.admit(Priority=accept)
    w.rule(w.group_b, Policy="drop", SourceCidrIp="10.0.0.0/8", Priority=drop)
    assert w.reach().ok is ok


def test_the_rules_of_all_groups_of_an_instance_count_together(w: World) -> None:
    """A drop in the second group stops what the first admits."""
    second = w.backend.create_group(PEER, w.group_b.vpc_id)
    params = {"SecurityGroupId": second.id, "InstanceId": w.b.id}
    w.admit(Priority=100)
    w.backend.call(Caller(PEER, "root"), "JoinSecurityGroup", params)
    assert w.reach().ok
    w.rule(second, Policy="drop", SourceCidrIp="10.2.0.1", Priority=50)
    verdict = w.reach()
    assert not verdict.ok
    assert second.id in verdict.why


def test_with_inner_access_drop_the_rules_decide_inside_a_group(w: World) -> None:
    """ModifySecurityGroupPolicy isolates the members; a CIDR rule admits them again, and Accept ignores the rules."""
    fellow = w.backend.create_instance(HOME, [w.group_a])

    def reach() -> bool:
        return may_reach(w.backend, HOME, fellow.id, HOME, w.a.id, "tcp", 22).ok

    def modify(policy: str) -> None:
        params = {"RegionId": "cn-qingdao", "SecurityGroupId": w.group_a.id, "InnerAccessPolicy": policy}
        w.backend.call(Caller(HOME, "root"), "ModifySecurityGroupPolicy", params)

    modify("Drop")
    assert not reach()
    w.rule(w.group_a, SourceCidrIp=f"{fellow.private_ip}/32", PortRange="22/22")
    assert reach()
    w.rule(w.group_a, SourceCidrIp="10.0.0.0/8", Policy="drop", PortRange="22/22")
    assert not reach()
    modify("Accept")
    assert reach()


@pytest.mark.parametrize("by_group", [False, True])
def test_basic_groups_allow_outbound_unless_dropped(w: World, by_group: bool) -> None:
    """An egress rule names the destination: an address, or a group with its owner."""
    w.admit()
    group = {"DestGroupId": w.group_b.id, "DestGroupOwnerId": PEER}
    dest = group if by_group else {"DestCidrIp": "10.2.0.2/32"}
    w.rule(w.group_a, "egress", Policy="drop", PortRange="1/65535", **dest)
    verdict = w.reach()
    assert not verdict.ok
    assert verdict.why.endswith("drops it (egress)")


def advanced(w: World) -> tuple[Group, str, str]:
    """An advanced group with two members, which it lets connect to each other by rules for addresses."""
    group = w.backend.create_group(HOME, w.group_a.vpc_id, type="enterprise", inner_access="Accept")
    one, two = w.backend.create_instance(HOME, [group]), w.backend.create_instance(HOME, [group])
    return group, one.id, two.id


def test_members_of_an_advanced_group_are_always_isolated(w: World) -> None:
    """They need an egress rule and an ingress rule, like strangers: outbound traffic is denied by default, too."""
    group, one, two = advanced(w)
    for direction, end in (("egress", "DestCidrIp"), ("ingress", "SourceCidrIp")):
        verdict = may_reach(w.backend, HOME, one, HOME, two, "tcp", 3306)
        assert (verdict.ok, verdict.why.startswith(f"no {direction} rule")) == (False, True)
        w.rule(group, direction, **{end: "10.2.0.0/16"})
    assert may_reach(w.backend, HOME, one, HOME, two, "tcp", 3306).ok


@pytest.mark.parametrize(("priority", "ok"), [("1", False), ("50", False), ("51", True)])
def test_an_advanced_group_may_drop_by_priority(w: World, priority: str, ok: bool) -> None:
    """As a basic one: drop wins a tie."""
    group, one, two = advanced(w)
    w.rule(group, "egress", DestCidrIp="10.2.0.0/16")
    w.rule(group, SourceCidrIp="10.2.0.0/16", Priority=50)
    w.rule(group, SourceCidrIp="10.2.0.0/16", Policy="drop", Priority=priority)
    assert may_reach(w.backend, HOME, one, HOME, two, "tcp", 3306).ok is ok


@pytest.mark.parametrize(
    ("inner_first", "direction", "ok"), [(True, "egress", True), (False, "egress", False), (False, "ingress", True)]
)
def test_whether_inner_access_comes_before_an_egress_drop_is_a_knob(
    w: World, inner_first: bool, direction: str, ok: bool
) -> None:
    """Two official pages disagree. An ingress drop never stops packets inside the group."""
    w.backend.knobs.inner_access_first = inner_first
    member = w.backend.create_instance(HOME, [w.group_a])
    end = "DestCidrIp" if direction == "egress" else "SourceCidrIp"
    w.rule(w.group_a, direction, Policy="drop", **{end: "10.0.0.0/8"})
    assert may_reach(w.backend, HOME, w.a.id, HOME, member.id, "tcp", 3306).ok is ok


def test_a_rule_gives_no_route(w: World) -> None:
    """Instances in different VPCs need a peering, whatever the rules say."""
    vpc = w.backend.create_vpc(PEER, "10.3.0.0/16")
    group = w.backend.create_group(PEER, vpc.id)
    far = w.backend.create_instance(PEER, [group])
    w.rule(group, SourceCidrIp=f"{w.a.private_ip}/32")
    verdict = may_reach(w.backend, HOME, w.a.id, PEER, far.id, "tcp", 3306)
    assert (verdict.ok, verdict.why) == (False, f"no route from {w.a.vpc_id} to {vpc.id}")
    w.backend.peerings.add(frozenset({w.a.vpc_id, vpc.id}))
    assert may_reach(w.backend, HOME, w.a.id, PEER, far.id, "tcp", 3306).ok


def test_the_classic_network_is_out_of_reach(w: World) -> None:
    """It is retired, and so is ClassicLink."""
    classic = w.backend.create_instance(PEER, [w.group_b], classic=True)
    assert may_reach(w.backend, HOME, w.a.id, PEER, classic.id, "icmp").why.startswith("no route")


def test_both_instances_must_be_running(w: World) -> None:
    """A stopped or missing instance neither sends nor receives."""
    w.admit()
    w.backend.call(Caller(PEER, "root"), "StopInstance", {"InstanceId": w.b.id})
    assert w.reach() == Verdict(False, f"{w.b.id} is Stopped, not Running")
    assert not may_reach(w.backend, PEER, w.b.id, HOME, w.a.id, "tcp", 3306).ok
    assert may_reach(w.backend, HOME, w.a.id, PEER, "i-none", "tcp", 1).why == "i-none does not exist"


def test_an_instance_reaches_itself(w: World) -> None:
    """Security groups do not apply."""
    assert may_reach(w.backend, HOME, w.a.id, HOME, w.a.id, "tcp", 1).ok


def test_rules_of_the_other_family_or_source_port_do_not_apply(w: World) -> None:
    """IPv6 rules admit no IPv4 packet; connections come from an ephemeral port."""
    w.rule(w.group_b, Ipv6SourceCidrIp="::/0")
    w.admit(SourcePortRange="1/1024")
    assert not w.reach().ok
    w.admit(SourcePortRange="1/65535")
    assert w.reach().ok
