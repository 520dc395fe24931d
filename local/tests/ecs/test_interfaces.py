"""Network interfaces and their addresses through the official SDK."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, ask, refusal, refused
from ecs_helpers import client, instances, new_group


class World:
    """One group with one instance, which has 10.0.0.1, in the home account's own VPC."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        self.vpc = cloud.ecs.default_vpc(HOME)
        self.group = new_group(self.ecs)
        self.instance = cloud.ecs.create_instance(HOME, [self.group], tags={"a": "b"})

    def create(self, **fields: Any) -> Any:
        usual = {"v_switch_id": self.vpc.vswitch_id, "security_group_id": self.group}
        return ask(self.ecs, "CreateNetworkInterface", **{**usual, **fields})

    def interface_ids(self, **filters: Any) -> list[str]:
        body = ask(self.ecs, "DescribeNetworkInterfaces", **filters)
        return [each.network_interface_id for each in body.network_interface_sets.network_interface_set]

    def interface(self, interface: str) -> Any:
        (row,) = ask(
            self.ecs, "DescribeNetworkInterfaces", network_interface_id=[interface]
        ).network_interface_sets.network_interface_set
        return row

    def addresses(self, interface: str) -> list[tuple[str, bool]]:
        return [
            (each.private_ip_address, each.primary) for each in self.interface(interface).private_ip_sets.private_ip_set
        ]

    def attach(self, interface: str, instance: str) -> None:
        ask(self.ecs, "AttachNetworkInterface", network_interface_id=interface, instance_id=instance)

    def delete(self, interface: str) -> None:
        ask(self.ecs, "DeleteNetworkInterface", network_interface_id=interface)

    def assign(self, interface: str, **fields: Any) -> list[str]:
        body = ask(self.ecs, "AssignPrivateIpAddresses", network_interface_id=interface, **fields)
        return list(body.assigned_private_ip_addresses_set.private_ip_set.private_ip_address)

    def unassign(self, interface: str, *addresses: str) -> None:
        ask(self.ecs, "UnassignPrivateIpAddresses", network_interface_id=interface, private_ip_address=list(addresses))


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_a_new_interface_is_available_with_its_addresses(w: World) -> None:
    """The answer and DescribeNetworkInterfaces show the same; the addresses are in use from then on."""
    addresses = {"primary_ip_address": "10.0.0.9", "private_ip_address": ["10.0.0.7"]}
    nic = w.create(network_interface_name="nic", tag=[{"key": "a", "value": "b"}], **addresses)
    assert (nic.status, nic.type, nic.owner_id, nic.vpc_id) == ("Available", "Secondary", HOME, w.vpc.id)
    assert w.addresses(nic.network_interface_id) == [("10.0.0.9", True), ("10.0.0.7", False)]
    row = w.interface(nic.network_interface_id)
    assert (row.private_ip_address, row.network_interface_name, row.instance_id) == ("10.0.0.9", "nic", "")
    assert row.security_group_ids.security_group_id == [w.group]
    assert [(tag.tag_key, tag.tag_value) for tag in row.tags.tag] == [("a", "b")]
    assert refusal(w.create, primary_ip_address="10.0.0.7") == ("InvalidIp.IpAssigned", 400)


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"v_switch_id": None}, "MissingParameter", 400),
        ({"v_switch_id": "vsw-none"}, "InvalidVSwitchId.NotFound", 404),
        ({"security_group_id": None}, "MissingParameter", 400),
        ({"security_group_id": "sg-none"}, "InvalidSecurityGroupId.NotFound", 404),
        ({"primary_ip_address": "10.200.0.1"}, "InvalidPrivateIpAddress", 400),
        ({"primary_ip_address": "here"}, "InvalidPrivateIpAddress.Malformed", 400),
        ({"primary_ip_address": "10.0.0.1"}, "InvalidIp.IpAssigned", 400),
        ({"private_ip_address": ["10.0.0.8", "10.0.0.1"]}, "InvalidIp.IpAssigned", 400),
        ({"private_ip_address": ["10.0.0.8", "10.0.0.8"]}, "InvalidIp.IpRepeated", 400),
        ({"secondary_private_ip_address_count": 50}, "InvalidParameter", 400),
        (
            {"private_ip_address": ["10.0.0.8"], "secondary_private_ip_address_count": 1},
            "InvalidParameter.Conflict",
            400,
        ),
    ],
)
def test_an_invalid_interface_is_not_created(w: World, fields: dict[str, Any], code: str, status: int) -> None:
    """No address stays in use."""
    assert refusal(w.create, **fields) == (code, status)
    assert w.interface_ids(type="Secondary") == []
    assert w.create(private_ip_address=["10.0.0.8"]).private_ip_address == "10.0.0.2"


def test_an_address_is_found_in_its_vpc(w: World) -> None:
    """VpcId and PrivateIpAddress find the interface that has the address, as primary or as secondary one."""
    (primary,) = w.interface_ids()
    nic_id = w.create(primary_ip_address="10.0.0.9", private_ip_address=["10.0.0.7"]).network_interface_id
    for address, owner in (("10.0.0.1", primary), ("10.0.0.9", nic_id), ("10.0.0.7", nic_id)):
        assert w.interface_ids(vpc_id=w.vpc.id, private_ip_address=[address]) == [owner]
        assert w.interface_ids(vpc_id="vpc-other", private_ip_address=[address]) == []
    assert w.interface_ids(vpc_id=w.vpc.id, private_ip_address=["10.0.0.1", "10.0.0.7"]) == [nic_id, primary]
    assert w.interface_ids(vpc_id=w.vpc.id, private_ip_address=["10.0.0.99"]) == []
    assert w.interface_ids(primary_ip_address="10.0.0.7") == []


@pytest.mark.parametrize(
    ("filters", "key"),
    [
        ({"type": "Primary", "status": "InUse", "service_managed": False}, "primary"),
        ({"private_ip_address": ["10.0.0.1", "10.9.9.9"], "primary_ip_address": "10.0.0.1"}, "primary"),
        ({"type": "Secondary", "status": "Available", "network_interface_name": "nic"}, "secondary"),
        ({"tag": [{"key": "a", "value": "b"}]}, "secondary"),
        ({"tag": [{"key": "a", "value": "c"}]}, ""),
        ({"status": "InUse", "type": "Secondary"}, ""),
        ({"service_managed": True}, ""),
        ({"instance_id": "i-none"}, ""),
        ({"network_interface_id": ["eni-none"]}, ""),
        ({"network_interface_name": "other"}, ""),
        ({"security_group_id": "sg-none"}, ""),
        ({"primary_ip_address": "10.9.9.9"}, ""),
        ({"vpc_id": "vpc-none"}, ""),
        ({"v_switch_id": "vsw-none"}, ""),
        ({"resource_group_id": "rg-1"}, ""),
    ],
)
def test_interfaces_are_filtered(w: World, filters: dict[str, Any], key: str) -> None:
    """By every filter of the API; an instance's tags are not its interface's tags. The group filter finds secondary
    ones only [doc]."""
    nic_id = w.create(network_interface_name="nic", tag=[{"key": "a", "value": "b"}]).network_interface_id
    each = {"primary": [w.instance.interface_id], "secondary": [nic_id], "": []}
    assert w.interface_ids(**filters) == each[key]
    assert w.interface_ids(security_group_id=w.group) == [nic_id]


def test_each_instance_has_its_primary_interface(w: World) -> None:
    """With the instance's groups and address; an instance in the classic network has none."""
    w.cloud.ecs.create_instance(HOME, [w.group], classic=True)
    assert w.interface_ids() == [w.instance.interface_id]
    nic = w.interface(w.instance.interface_id)
    assert (nic.instance_id, nic.type, nic.status) == (w.instance.id, "Primary", "InUse")
    assert (nic.private_ip_address, nic.vpc_id, nic.owner_id) == (w.instance.private_ip, w.vpc.id, HOME)
    assert nic.security_group_ids.security_group_id == [w.group]
    (row,) = instances(w.ecs, instance_ids=f'["{w.instance.id}"]')
    assert row.network_interfaces.network_interface[0].network_interface_id == w.instance.interface_id


def test_an_interface_is_attached_until_its_instance_is_released(w: World) -> None:
    """DescribeInstances shows it beside the primary one."""
    nic_id = w.create(primary_ip_address="10.0.0.9").network_interface_id
    w.attach(nic_id, w.instance.id)
    assert (w.interface(nic_id).status, w.interface(nic_id).instance_id) == ("InUse", w.instance.id)
    (row,) = instances(w.ecs)
    assert [(each.type, each.primary_ip_address) for each in row.network_interfaces.network_interface] == [
        ("Primary", "10.0.0.1"),
        ("Secondary", "10.0.0.9"),
    ]
    for again in (lambda: w.attach(nic_id, w.instance.id), lambda: w.delete(nic_id)):
        assert refusal(again) == ("InvalidOperation.InvalidEniState", 403)
    ask(w.ecs, "DeleteInstance", instance_id=w.instance.id, force=True)
    assert w.interface(nic_id).status == "Available"


def test_an_interface_is_attached_within_its_vpc_only(w: World) -> None:
    """To an instance that is Running or Stopped; unknown interfaces are not found."""
    other_group = w.cloud.ecs.create_group(HOME, list(w.cloud.ecs.vpcs)[2])
    elsewhere = w.cloud.ecs.create_instance(HOME, [other_group])
    pending = w.cloud.ecs.create_instance(HOME, [w.group], status="Pending")
    nic_id = w.create().network_interface_id
    assert refusal(w.attach, nic_id, elsewhere.id) == ("InvalidParameter.Mismatch", 400)
    assert refusal(w.attach, nic_id, pending.id) == ("IncorrectInstanceStatus", 403)
    assert refusal(w.attach, "eni-none", w.instance.id) == ("InvalidEniId.NotFound", 404)
    assert w.interface(nic_id).status == "Available"


def test_a_deleted_interface_frees_its_addresses_and_its_group(w: World) -> None:
    """A group cannot be deleted while an interface is in it."""
    group = new_group(w.ecs)
    nic_id = w.create(security_group_id=group, primary_ip_address="10.0.0.9").network_interface_id
    assert refusal(ask, w.ecs, "DeleteSecurityGroup", security_group_id=group) == ("DependencyViolation", 403)
    w.delete(nic_id)
    assert w.interface_ids(network_interface_id=[nic_id]) == []
    ask(w.ecs, "DeleteSecurityGroup", security_group_id=group)
    w.create(primary_ip_address="10.0.0.9")


@pytest.mark.parametrize("kind", ["primary", "secondary"])
def test_secondary_addresses_are_assigned_and_unassigned(w: World, kind: str) -> None:
    """By address or by count, on either type of interface; a released address can be assigned again."""
    interface = w.instance.interface_id if kind == "primary" else w.create().network_interface_id
    assert w.assign(interface, private_ip_address=["10.0.0.20", "10.0.0.21"]) == ["10.0.0.20", "10.0.0.21"]
    (third,) = w.assign(interface, secondary_private_ip_address_count=1)
    assert [address for address, first in w.addresses(interface) if not first] == ["10.0.0.20", "10.0.0.21", third]
    assert w.interface_ids(vpc_id=w.vpc.id, private_ip_address=["10.0.0.21"]) == [interface]
    assert refusal(w.unassign, interface, "10.0.0.20", "10.0.0.99") == ("InvalidIp.IpUnassigned", 400)
    w.unassign(interface, "10.0.0.20", third)
    assert [address for address, first in w.addresses(interface) if not first] == ["10.0.0.21"]
    w.create(primary_ip_address="10.0.0.20")


def test_secondary_addresses_are_limited(w: World) -> None:
    """49 per interface; none is assigned when one of them is in use."""
    nic_id = w.create(secondary_private_ip_address_count=49).network_interface_id
    assert refusal(w.assign, nic_id, secondary_private_ip_address_count=1) == (
        "InvalidOperation.Ipv4CountExceeded",
        403,
    )
    with refused("InvalidIp.IpAssigned", 400):
        w.assign(w.instance.interface_id, private_ip_address=["10.0.0.200", "10.0.0.1"])
    assert refusal(w.assign, w.instance.interface_id) == ("MissingParameter", 400)
    assert w.addresses(w.instance.interface_id) == [("10.0.0.1", True)]
    ask(w.ecs, "DeleteInstance", instance_id=w.instance.id, force=True)
    with refused("InvalidEniId.NotFound", 404):
        w.assign(w.instance.interface_id, secondary_private_ip_address_count=1)


def test_the_secondary_addresses_of_a_released_instance_are_free(w: World) -> None:
    """Like its primary address."""
    w.assign(w.instance.interface_id, private_ip_address=["10.0.0.20"])
    ask(w.ecs, "DeleteInstance", instance_id=w.instance.id, force=True)
    w.create(primary_ip_address="10.0.0.1", private_ip_address=["10.0.0.20"])


def test_another_accounts_interfaces_are_not_visible(w: World) -> None:
    """Not even in a shared VPC."""
    nic_id = w.create().network_interface_id
    peer = World.__new__(World)
    peer.cloud, peer.ecs = w.cloud, client(w.cloud, PEER)
    assert peer.interface_ids() == []
    assert refusal(peer.delete, nic_id) == ("InvalidEniId.NotFound", 404)


def test_ipv6_addresses_are_shown_where_there_are_any(w: World) -> None:
    """Of primary and of secondary interfaces; no key without one."""
    nic_id = w.create().network_interface_id
    nic_ids = [nic_id, w.instance.interface_id]
    assert [w.interface(interface).ipv_6sets for interface in nic_ids] == [None, None]
    account = w.cloud.ecs.accounts[HOME]
    account.interfaces[nic_id].ipv6.append("2001:db8::2")
    account.instances[w.instance.id].ipv6.append("2001:db8::1")
    ipv6_addresses = [
        [each.ipv_6address for each in w.interface(interface).ipv_6sets.ipv_6set] for interface in nic_ids
    ]
    assert ipv6_addresses == [["2001:db8::2"], ["2001:db8::1"]]


def test_interfaces_have_tags(w: World) -> None:
    """Written and listed with the resource type eni."""
    nic_id = w.create().network_interface_id
    resources: dict[str, Any] = {"resource_type": "eni", "resource_id": [nic_id]}
    ask(w.ecs, "TagResources", tag=[{"key": "a", "value": "b"}], **resources)
    listed = ask(w.ecs, "ListTagResources", **resources).tag_resources.tag_resource
    assert [(row.resource_id, row.tag_key, row.tag_value) for row in listed] == [(nic_id, "a", "b")]
