"""Instances through the official SDK: their life, groups and addresses, and how they are listed."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, ask, refusal, refused
from ecs_helpers import client, instances, new_group, run_instances

WISH = {"key": "wants", "value": "sg-db"}


class World:
    """One basic group in the home account's own VPC."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        self.vpc = cloud.ecs.default_vpc(HOME)
        self.group = new_group(self.ecs)

    def run(self, **fields: Any) -> list[str]:
        return run_instances(self.ecs, self.group, self.vpc.vswitch_id, **fields)

    def ids(self, **filters: Any) -> list[str]:
        return [instance.instance_id for instance in instances(self.ecs, **filters)]

    def instance(self, instance_id: str) -> Any:
        (instance,) = instances(self.ecs, instance_ids=f'["{instance_id}"]')
        return instance

    def groups(self, instance_id: str) -> list[str]:
        return self.instance(instance_id).security_group_ids.security_group_id

    def modify(self, instance_id: str, **fields: Any) -> None:
        ask(self.ecs, "ModifyInstanceAttribute", instance_id=instance_id, **fields)

    def delete(self, instance_id: str, force: bool | None = None) -> None:
        ask(self.ecs, "DeleteInstance", instance_id=instance_id, force=force)


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_run_instances_starts_instances_in_their_groups(w: World) -> None:
    """Each has an address of the vSwitch, its tags, and a name."""
    first, second = w.run(amount=2, tag=[WISH], instance_name="web")
    instance = w.instance(first)
    assert (instance.status, instance.instance_name, instance.instance_network_type) == ("Running", "web", "vpc")
    assert w.groups(first) == [w.group]
    assert (instance.vpc_attributes.vpc_id, instance.vpc_attributes.v_switch_id) == (w.vpc.id, w.vpc.vswitch_id)
    assert instance.vpc_attributes.private_ip_address.ip_address == ["10.0.0.1"]
    assert [(tag.tag_key, tag.tag_value) for tag in instance.tags.tag] == [("wants", "sg-db")]
    assert w.instance(second).vpc_attributes.private_ip_address.ip_address == ["10.0.0.2"]


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"image_id": None}, "MissingParameter", 400),
        ({"instance_type": None}, "MissingParameter", 400),
        ({"security_group_id": None}, "MissingParameter", 400),
        ({"v_switch_id": None}, "MissingParameter", 400),
        ({"v_switch_id": "vsw-none"}, "InvalidVSwitchId.NotFound", 404),
        ({"security_group_id": "sg-none"}, "InvalidSecurityGroupId.NotFound", 404),
        ({"security_group_ids": ["sg-1"]}, "InvalidParameter.Conflict", 400),
        ({"amount": 101}, "InvalidMaxAmount.Malformed", 400),
        ({"min_amount": 2}, "InvalidMinAmount.Malformed", 400),
        ({"private_ip_address": "10.200.0.1"}, "InvalidPrivateIpAddress", 400),
        ({"private_ip_address": "here"}, "InvalidPrivateIpAddress.Malformed", 400),
        ({"dry_run": True}, "DryRunOperation", 400),
    ],
)
def test_an_invalid_instance_is_not_created(w: World, fields: dict[str, Any], code: str, status: int) -> None:
    """Nothing is left behind."""
    assert refusal(w.run, **fields) == (code, status)
    assert w.ids() == []


def test_an_instances_groups_share_its_vpc_and_one_type(w: World) -> None:
    """In the order of the request, at most ten, and none of them managed."""
    second = new_group(w.ecs)
    (instance_id,) = w.run(security_group_id=None, security_group_ids=[second, w.group])
    assert w.groups(instance_id) == [second, w.group]
    shared = list(w.cloud.ecs.vpcs)[2]
    elsewhere, advanced = new_group(w.ecs, shared), new_group(w.ecs, security_group_type="enterprise")
    assert refusal(w.run, security_group_id=elsewhere) == ("InvalidParameter.Mismatch", 400)
    with refused("InvalidParameter.Mismatch", 400):
        w.run(security_group_id=None, security_group_ids=[w.group, elsewhere])
    with refused("InvalidOperation.MultiGroupType", 400):
        w.run(security_group_id=None, security_group_ids=[w.group, advanced])
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        w.run(security_group_id=w.cloud.ecs.create_group(HOME, w.vpc.id, managed=True).id)
    with refused("JoinedGroupLimitExceed", 400):
        w.run(security_group_id=None, security_group_ids=[new_group(w.ecs) for _ in range(11)])


def test_create_instance_does_not_start_it(w: World) -> None:
    """StartInstance requires Stopped, StopInstance requires Running."""
    needed = {"image_id": "m-1", "instance_type": "ecs.g7.large", "v_switch_id": w.vpc.vswitch_id}
    instance_id = ask(w.ecs, "CreateInstance", security_group_id=w.group, **needed).instance_id
    assert w.instance(instance_id).status == "Stopped"
    assert refusal(ask, w.ecs, "StopInstance", instance_id=instance_id) == ("IncorrectInstanceStatus", 403)
    ask(w.ecs, "StartInstance", instance_id=instance_id)
    assert w.instance(instance_id).status == "Running"
    assert refusal(ask, w.ecs, "StartInstance", instance_id=instance_id) == ("IncorrectInstanceStatus", 403)
    ask(w.ecs, "StopInstance", instance_id=instance_id)
    assert w.instance(instance_id).status == "Stopped"
    w.delete(instance_id)
    assert w.ids() == []


def test_a_running_instance_is_released_only_by_force(w: World) -> None:
    """Once. DeleteInstances releases all or none."""
    running, second_id = w.run(amount=2)
    assert refusal(w.delete, running) == ("IncorrectInstanceStatus", 403)
    together = {"instance_id": [running, "i-none"], "force": True}
    assert refusal(ask, w.ecs, "DeleteInstances", **together) == ("InvalidInstanceId.NotFound", 404)
    assert refusal(ask, w.ecs, "DeleteInstances", instance_id=[running, second_id]) == ("IncorrectInstanceStatus", 403)
    assert refusal(ask, w.ecs, "DeleteInstances", instance_id=["i-1"] * 101) == ("InvalidParameter", 400)
    assert set(w.ids()) == {running, second_id}
    w.delete(running, force=True)
    assert refusal(w.delete, running, force=True) == ("InvalidInstanceId.NotFound", 404)
    assert w.ids() == [second_id]


def test_instances_are_released_together(w: World) -> None:
    """An id that is named twice counts once; each has its event."""
    ids = w.run(amount=3)
    deleted: list[str] = []
    w.cloud.events.add_rule(HOME, "deleted", '{"source":["acs.ecs"]}', lambda event: deleted.append(str(event["data"])))
    ask(w.ecs, "DeleteInstances", instance_id=[ids[0], ids[1], ids[0]], force=True)
    assert w.ids() == [ids[2]]
    assert [sum(name in text and "Deleted" in text for text in deleted) for name in ids] == [1, 1, 0]


def test_a_released_address_goes_to_the_next_instance(w: World) -> None:
    """The lowest free address is reused, so a /32 rule left behind would admit a stranger."""
    first, _ = w.run(amount=2)
    w.delete(first, force=True)
    (stranger,) = w.run()
    assert w.instance(stranger).vpc_attributes.private_ip_address.ip_address == ["10.0.0.1"]


def test_addresses_run_out(w: World) -> None:
    """With a pool of one address; nothing is created when there are too few."""
    w.cloud.ecs.ip_pool = ["10.0.0.77"]
    assert refusal(w.run, amount=2) == ("InvalidVSwitchId.IpNotEnough", 403)
    (instance_id,) = w.run()
    assert w.instance(instance_id).vpc_attributes.private_ip_address.ip_address == ["10.0.0.77"]
    assert refusal(w.run, private_ip_address="10.0.0.77") == ("InvalidPrivateIpAddress.Duplicated", 400)


def test_the_peer_account_runs_instances_in_the_shared_vswitch_only(w: World) -> None:
    """Each account sees its own instances there."""
    own_vpc, _, shared = w.cloud.ecs.vpcs.values()
    peer = World.__new__(World)
    peer.cloud, peer.ecs, peer.vpc = w.cloud, client(w.cloud, PEER), shared
    peer.group = new_group(peer.ecs, shared.id)
    (instance_id,) = peer.run()
    assert peer.ids() == [instance_id]
    assert w.ids() == []
    assert refusal(peer.run, v_switch_id=own_vpc.vswitch_id) == ("InvalidVSwitchId.NotFound", 404)


def test_an_unknown_id_gives_an_empty_list(w: World) -> None:
    """So do an empty list of ids and another account's instance."""
    (instance_id,) = w.run()
    assert w.ids(instance_ids=f'["i-none", "{instance_id}"]') == [instance_id]
    assert w.ids(instance_ids='["i-none"]') == []
    assert w.ids(instance_ids="[]") == []
    assert instances(client(w.cloud, PEER), instance_ids=f'["{instance_id}"]') == []
    assert refusal(w.ids, instance_ids=instance_id) == ("InvalidInstanceIds.Malformed", 400)
    assert refusal(w.ids, instance_ids=str(["i-1"] * 101).replace("'", '"')) == ("InvalidInstanceIds.Malformed", 400)
    for hostile in ("[" * 60_000, '["\\ud800"]', "[" + "9" * 5000 + "]"):
        assert refusal(w.ids, instance_ids=hostile) == ("InvalidInstanceIds.Malformed", 400)


def test_instances_come_ten_a_page(w: World) -> None:
    """MaxResults is clamped to 10..100; TotalCount comes with page numbers only."""
    instance_ids = [instance for _ in range(3) for instance in w.run(amount=37)]
    newest_first = instance_ids[::-1]
    first = ask(w.ecs, "DescribeInstances")
    assert [instance.instance_id for instance in first.instances.instance] == newest_first[:10]
    assert (first.total_count, first.page_number, first.page_size, first.next_token) == (111, 1, 10, None)
    assert w.ids(page_size=100, page_number=2) == newest_first[100:]
    assert len(w.ids(max_results=1)) == 10
    body = ask(w.ecs, "DescribeInstances", max_results=1000)
    assert (len(body.instances.instance), body.total_count) == (100, None)
    assert w.ids(max_results=100, next_token=body.next_token) == newest_first[100:]


def test_filters_are_combined(w: World) -> None:
    """By group, VPC, vSwitch, status, name with a wildcard, address, network type and tag."""
    (web,) = w.run(instance_name="web-1", tag=[WISH])
    (job,) = w.run(instance_name="job-1")
    classic = w.cloud.ecs.create_instance(HOME, [w.group], classic=True, name="old").id
    ask(w.ecs, "StopInstance", instance_id=job)
    assert w.ids(security_group_id=w.group, instance_name="web*") == [web]
    assert w.ids(instance_name="eb-1") == []
    assert w.ids(status="Stopped") == [job]
    assert w.ids(vpc_id=w.vpc.id, v_switch_id=w.vpc.vswitch_id) == [job, web]
    assert w.ids(private_ip_addresses='["10.0.0.1"]') == [web]
    assert w.ids(instance_network_type="classic") == [classic]
    assert w.ids(tag=[{"key": "wants"}]) == [web]
    assert w.ids(tag=[{"key": "wants", "value": "sg-x"}]) == []
    assert w.ids(security_group_id="sg-none") == []
    assert refusal(w.ids, status="running") == ("InvalidStatus.NotFound", 404)
    assert refusal(w.ids, instance_network_type="cloud") == ("InvalidNetworkType.NotFound", 404)


@pytest.mark.parametrize(
    "wrong",
    [
        {"instance_charge_type": "PostPaid"},
        {"ipv_6address": ["2001:db8::1"]},
        {"filter": [{"key": "CreationStartTime", "value": "2026-11-25T00:00Z"}]},
    ],
)
def test_no_filter_is_ignored(w: World, wrong: dict[str, Any]) -> None:
    """Otherwise the caller would take an unfiltered list for a filtered one."""
    assert refusal(w.ids, **wrong) == ("NotOfferedByLocalCloud", 501)


def test_a_tag_filter_fails_beyond_its_limit_of_matches(w: World) -> None:
    """Without the filter all instances can be read."""
    w.cloud.ecs.quotas.tag_filter_matches = 2
    w.run(amount=3, tag=[WISH])
    assert refusal(w.ids, tag=[{"key": "wants"}]) == ("InvalidTagCount", 400)
    assert len(w.ids()) == 3


def test_the_group_filter_follows_every_change_of_groups(w: World) -> None:
    """Joining, leaving, moving and releasing; each page of a group's members continues where the last one ended."""
    second = new_group(w.ecs)
    instance_ids = w.run(amount=14)
    for each in instance_ids:
        ask(w.ecs, "JoinSecurityGroup", security_group_id=second, instance_id=each)
    ask(w.ecs, "LeaveSecurityGroup", security_group_id=second, instance_id=instance_ids[0])
    w.modify(instance_ids[1], security_group_ids=[second])
    ask(w.ecs, "DeleteInstance", instance_id=instance_ids[2], force=True)
    query = {"security_group_id": second, "max_results": 10}
    first = ask(w.ecs, "DescribeInstances", **query)
    last_page = ask(w.ecs, "DescribeInstances", **query, next_token=first.next_token)
    listed = [instance.instance_id for page in (first, last_page) for instance in page.instances.instance]
    assert listed == [instance_ids[n] for n in range(13, 0, -1) if n != 2]
    assert set(w.ids(security_group_id=w.group, max_results=100)) == {instance_ids[0], *instance_ids[3:]}


def test_join_and_leave_change_the_groups_in_order(w: World) -> None:
    """The last group cannot be left; a group of another VPC or type cannot be joined."""
    (instance_id,) = w.run()
    second = new_group(w.ecs)

    def join(group: str) -> None:
        ask(w.ecs, "JoinSecurityGroup", security_group_id=group, instance_id=instance_id)

    def leave(group: str) -> None:
        ask(w.ecs, "LeaveSecurityGroup", security_group_id=group, instance_id=instance_id)

    join(second)
    assert w.groups(instance_id) == [w.group, second]
    assert refusal(join, second) == ("InvalidInstanceId.AlreadyExists", 403)
    assert refusal(join, new_group(w.ecs, list(w.cloud.ecs.vpcs)[2])) == ("InvalidInstanceId.Mismatch", 400)
    assert refusal(join, new_group(w.ecs, security_group_type="enterprise")) == ("InvalidOperation.MultiGroupType", 400)
    w.cloud.ecs.quotas.groups_per_instance = 2
    assert refusal(join, new_group(w.ecs)) == ("InstanceSecurityGroupLimitExceeded", 400)
    leave(w.group)
    assert w.groups(instance_id) == [second]
    assert refusal(leave, w.group) == ("InvalidSecurityGroupAssociation.NotFound", 400)
    assert refusal(leave, second) == ("InstanceLastSecurityGroup", 403)


# modified in place


def test_an_instances_attributes_are_changed_one_by_one(w: World) -> None:
    """Omitted attributes stay; an attribute that is not offered here is refused, not ignored."""
    (web,) = w.run()
    w.modify(web, instance_name="shop")
    w.modify(web, description="the shop", host_name="shop-1")
    assert refusal(w.modify, web, instance_name="other", password="Secret-1") == ("InvalidParameter", 400)
    instance = w.instance(web)
    assert (instance.instance_name, instance.description, instance.host_name) == ("shop", "the shop", "shop-1")


def test_an_instance_is_moved_into_other_groups_at_once(w: World) -> None:
    """All its groups are replaced, in the order of the request; all must be of one type, which may differ from
    before."""
    (web,) = w.run()
    second, advanced = new_group(w.ecs), new_group(w.ecs, security_group_type="enterprise")
    for groups in ([second, w.group], [second], [advanced]):
        w.modify(web, security_group_ids=groups)
        assert w.groups(web) == groups
    elsewhere = new_group(w.ecs, list(w.cloud.ecs.vpcs)[2])
    managed = w.cloud.ecs.create_group(HOME, w.vpc.id, managed=True).id
    for groups, code, status in (
        ([elsewhere], "InvalidInstanceId.Mismatch", 400),
        ([w.group, advanced], "InvalidOperation.MultiGroupType", 400),
        ([managed], "InvalidOperation.ResourceManagedByCloudProduct", 403),
        (["sg-none"], "InvalidSecurityGroupId.NotFound", 404),
    ):
        assert refusal(w.modify, web, security_group_ids=groups) == (code, status)
    assert w.groups(web) == [advanced]


def test_a_stopped_instance_gets_another_address_and_a_start_before_the_next(w: World) -> None:
    """An event says so, with the addresses that it has then."""
    events: list[dict[str, Any]] = []
    w.cloud.ecs.on_event = lambda _account, event: events.append(event)
    web = w.cloud.ecs.create_instance(HOME, [w.group])
    old = web.private_ip

    def change(**fields: Any) -> None:
        params = {"instance_id": web.id, "v_switch_id": w.vpc.vswitch_id, **fields}
        ask(w.ecs, "ModifyInstanceVpcAttribute", **params)

    def restart() -> None:
        ask(w.ecs, "StartInstance", instance_id=web.id)
        ask(w.ecs, "StopInstance", instance_id=web.id)

    assert refusal(change) == ("IncorrectInstanceStatus", 400)
    ask(w.ecs, "StopInstance", instance_id=web.id)
    foreign = next(vpc for vpc in w.cloud.ecs.vpcs.values() if vpc.owner == PEER)
    shared = next(vpc for vpc in w.cloud.ecs.vpcs.values() if vpc.shared_with)
    into = {"vpc_id": shared.id, "v_switch_id": shared.vswitch_id}
    group_there, advanced_there = (
        new_group(w.ecs, shared.id, security_group_type=kind) for kind in ("normal", "enterprise")
    )
    for code, status, fields in (
        ("InvalidPrivateIpAddress.Malformed", 400, {"private_ip_address": "10.0.0"}),
        ("InvalidPrivateIpAddress.Mismatch", 400, {"private_ip_address": "10.9.0.1"}),
        ("InvalidPrivateIpAddress.Duplicated", 400, {"private_ip_address": old}),
        ("InvalidVSwitchId.NotFound", 404, {"v_switch_id": foreign.vswitch_id}),
        ("InvalidVSwitchId.NotFound", 404, {"v_switch_id": shared.vswitch_id}),
        ("InvalidParameter.MustBeEmpty", 404, {"security_group_id": [w.group]}),
        ("InvalidParameter.AlreadyInTargetVpc", 404, {"vpc_id": web.vpc_id}),
        ("InvalidVSwitch.NotBelongToVpc", 404, {"vpc_id": shared.id}),
        ("MissingParameter", 400, into),
        ("InvalidSecurityGroupVpc.NotBelongToOneVpc", 404, {**into, "security_group_id": [group_there, w.group]}),
        ("EnterpriseGroupLimited.MutliGroupType", 404, {**into, "security_group_id": [group_there, advanced_there]}),
    ):
        assert refusal(change, **fields) == (code, status)
    assert web.private_ip == old
    change(private_ip_address="10.0.0.77")
    assert refusal(change, private_ip_address="10.0.0.78") == ("InvalidPrivateIp.Changing", 400)
    restart()
    change(**into, security_group_id=[group_there])
    assert (w.instance(web.id).vpc_attributes.vpc_id, w.groups(web.id)) == (shared.id, [group_there])
    changes = [event["data"] for event in events if event["type"] == "ecs:Instance:VSwitchChanged"]
    assert [(change["instanceId"], change["privateIpAddress"]) for change in changes] == [
        (web.id, "10.0.0.77"),
        (web.id, web.private_ip),
    ]
    assert foreign.take() == str(foreign.subnet[1])
    assert w.cloud.ecs.create_instance(HOME, [w.group]).private_ip == old
