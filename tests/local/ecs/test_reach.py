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
