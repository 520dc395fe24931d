"""Instances modified in place, and their interfaces, through the official SDK."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_local.cloud import LocalCloud

from tests.local.clients import HOME, PEER, ask, refusal
from tests.local.ecs.helpers import client, instances, new_group


class World:
    """Two groups of the home account's own VPC, and an instance in the first."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        self.first, self.second = new_group(self.ecs), new_group(self.ecs)
        self.web = cloud.ecs.create_instance(HOME, [self.first], name="web", tags={"a": "b"})

    def modify(self, **fields: Any) -> None:
        ask(self.ecs, "ModifyInstanceAttribute", instance_id=self.web.id, **fields)

    def groups(self) -> list[str]:
        (found,) = instances(self.ecs)
        return found.security_group_ids.security_group_id

    def interfaces(self, **fields: Any) -> list[Any]:
        return ask(self.ecs, "DescribeNetworkInterfaces", **fields).network_interface_sets.network_interface_set


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_an_instances_attributes_are_changed_one_by_one(w: World) -> None:
    """Omitted attributes stay; an attribute that is not offered here is refused, not ignored."""
    w.modify(instance_name="shop")
    w.modify(description="the shop", host_name="shop-1")
    (found,) = instances(w.ecs)
    assert (found.instance_name, found.description, found.host_name) == ("shop", "the shop", "shop-1")
    assert refusal(w.modify, instance_name="other", password="Secret-1") == ("InvalidParameter", 400)
    (found,) = instances(w.ecs)
    assert found.instance_name == "shop"


def test_an_instance_is_moved_into_other_groups_at_once(w: World) -> None:
    """All its groups are replaced, in the order of the request; all must be of one type, which may differ from before."""
    advanced = new_group(w.ecs, security_group_type="enterprise")
    for wanted in ([w.second, w.first], [w.second], [advanced]):
        w.modify(security_group_ids=wanted)
        assert w.groups() == wanted
    elsewhere = new_group(w.ecs, list(w.cloud.ecs.vpcs)[2])
    managed = w.cloud.ecs.create_group(HOME, w.web.vpc_id, managed=True).id
    for wanted, code, status in (
        ([elsewhere], "InvalidInstanceId.Mismatch", 400),
        ([w.first, advanced], "InvalidOperation.MultiGroupType", 400),
        ([managed], "InvalidOperation.ResourceManagedByCloudProduct", 403),
        (["sg-none"], "InvalidSecurityGroupId.NotFound", 404),
    ):
        assert refusal(w.modify, security_group_ids=wanted) == (code, status)
    assert w.groups() == [advanced]


def test_a_stopped_instance_gets_another_address_and_a_start_before_the_next(w: World) -> None:
    """An event says so, with the addresses that it has then."""
    seen: list[dict[str, Any]] = []
    w.cloud.ecs.on_event = lambda _account, event: seen.append(event)
    switch, old = w.web.vswitch_id, w.web.private_ip

    def change(**fields: Any) -> None:
        given = {"instance_id": w.web.id, "v_switch_id": switch, **fields}
        ask(w.ecs, "ModifyInstanceVpcAttribute", **given)

    def restart() -> None:
        ask(w.ecs, "StartInstance", instance_id=w.web.id)
        ask(w.ecs, "StopInstance", instance_id=w.web.id)

    assert refusal(change) == ("IncorrectInstanceStatus", 400)
    ask(w.ecs, "StopInstance", instance_id=w.web.id)
    foreign = next(vpc for vpc in w.cloud.ecs.vpcs.values() if vpc.owner == PEER)
    shared = next(vpc for vpc in w.cloud.ecs.vpcs.values() if vpc.shared_with)
    into = {"vpc_id": shared.id, "v_switch_id": shared.vswitch_id}
    there, other = (new_group(w.ecs, shared.id, security_group_type=kind) for kind in ("normal", "enterprise"))
    for code, status, fields in (
        ("InvalidPrivateIpAddress.Malformed", 400, {"private_ip_address": "10.0.0"}),
        ("InvalidPrivateIpAddress.Mismatch", 400, {"private_ip_address": "10.9.0.1"}),
        ("InvalidPrivateIpAddress.Duplicated", 400, {"private_ip_address": old}),
        ("InvalidVSwitchId.NotFound", 404, {"v_switch_id": foreign.vswitch_id}),
        ("InvalidVSwitchId.NotFound", 404, {"v_switch_id": shared.vswitch_id}),
        ("InvalidParameter.MustBeEmpty", 404, {"security_group_id": [w.first]}),
        ("InvalidParameter.AlreadyInTargetVpc", 404, {"vpc_id": w.web.vpc_id}),
        ("InvalidVSwitch.NotBelongToVpc", 404, {"vpc_id": shared.id}),
        ("MissingParameter", 400, into),
        ("InvalidSecurityGroupVpc.NotBelongToOneVpc", 404, {**into, "security_group_id": [there, w.first]}),
        ("EnterpriseGroupLimited.MutliGroupType", 404, {**into, "security_group_id": [there, other]}),
    ):
        assert refusal(change, **fields) == (code, status)
    assert w.web.private_ip == old
    change(private_ip_address="10.0.0.77")
    assert refusal(change, private_ip_address="10.0.0.78") == ("InvalidPrivateIp.Changing", 400)
    restart()
    change(**into, security_group_id=[there])
    (found,) = instances(w.ecs)
    assert (found.vpc_attributes.vpc_id, w.groups()) == (shared.id, [there])
    said = [event["data"] for event in seen if event["type"] == "ecs:Instance:VSwitchChanged"]
    assert [(one["instanceId"], one["privateIpAddress"]) for one in said] == [
        (w.web.id, "10.0.0.77"),
        (w.web.id, w.web.private_ip),
    ]
    assert foreign.take() == str(foreign.subnet[1])
    assert w.cloud.ecs.create_instance(HOME, [w.first]).private_ip == old


def test_each_instance_has_its_primary_interface(w: World) -> None:
    """With the instance's groups and address; an instance in the classic network has none."""
    w.cloud.ecs.create_instance(HOME, [w.first], classic=True)
    (found,) = w.interfaces()
    assert (found.instance_id, found.type, found.status) == (w.web.id, "Primary", "InUse")
    assert (found.private_ip_address, found.vpc_id, found.owner_id) == (w.web.private_ip, w.web.vpc_id, HOME)
    assert found.security_group_ids.security_group_id == [w.first]
    (shown,) = instances(w.ecs, instance_ids=f'["{w.web.id}"]')
    assert shown.network_interfaces.network_interface[0].network_interface_id == found.network_interface_id


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"type": "Primary", "status": "InUse", "service_managed": False}, True),
        ({"private_ip_address": ["10.0.0.1", "10.9.9.9"], "primary_ip_address": "10.0.0.1"}, True),
        ({"type": "Secondary"}, False),
        ({"status": "Available"}, False),
        ({"service_managed": True}, False),
        ({"instance_id": "i-none"}, False),
        ({"network_interface_id": ["eni-none"]}, False),
        ({"primary_ip_address": "10.9.9.9"}, False),
        ({"vpc_id": "vpc-none"}, False),
        ({"v_switch_id": "vsw-none"}, False),
        ({"resource_group_id": "rg-1"}, False),
        ({"network_interface_name": "mine"}, False),
        ({"tag": [{"key": "a", "value": "b"}]}, False),
    ],
)
def test_interfaces_are_filtered(w: World, filters: dict[str, Any], found: bool) -> None:
    """By every filter of the API; an instance's tags are not its interface's tags."""
    assert [row.instance_id for row in w.interfaces(**filters)] == ([w.web.id] if found else [])


def test_the_group_filter_finds_secondary_interfaces_only(w: World) -> None:
    """DescribeInstances finds the primary ones [doc]."""
    assert w.interfaces(security_group_id=w.first) == []
    assert [row.instance_id for row in instances(w.ecs, security_group_id=w.first)] == [w.web.id]
