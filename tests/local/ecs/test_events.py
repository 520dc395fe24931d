"""What ECS tells the event bus of the account, and when."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import SystemClock
from link_peer_local.core.identity import Caller
from link_peer_local.ecs import EcsBackend

from tests.local.ecs.helpers import HOME, PEER, REGION, authorize, client, new_group, permission, refused

Heard = list[tuple[str, dict[str, Any]]]


@pytest.fixture(name="heard")
def _heard(local_cloud: LocalCloud) -> Heard:
    """Every event, with the account whose bus gets it."""
    heard: Heard = []
    local_cloud.ecs.on_event = lambda account, event: heard.append((account, event))
    return heard


def run(cloud: LocalCloud, **fields: Any) -> str:
    vpc, ecs = cloud.ecs.default_vpc(HOME), client(cloud)
    request = models.RunInstancesRequest(
        region_id=REGION,
        image_id="m-1",
        instance_type="ecs.g7.large",
        security_group_id=new_group(ecs),
        v_switch_id=vpc.vswitch_id,
        **fields,
    )
    return ecs.run_instances(request).body.instance_id_sets.instance_id_set[0]


def states(heard: Heard) -> list[str]:
    return [event["data"]["state"] for _, event in heard if event["type"] == "ecs:Instance:StateChange"]


def calls(heard: Heard, name: str) -> list[dict[str, Any]]:
    trail = [event["data"] for _, event in heard if event["type"] == "ecs:ActionTrail:ApiCall"]
    return [data for data in trail if data["eventName"] == name]


def test_an_instances_life_is_told_in_order(local_cloud: LocalCloud, heard: Heard) -> None:
    """Created once; a restart tells Running again, so Running alone is no sign of creation."""
    made, ecs = run(local_cloud), client(local_cloud)
    ecs.stop_instance(models.StopInstanceRequest(instance_id=made))
    ecs.start_instance(models.StartInstanceRequest(instance_id=made))
    ecs.delete_instance(models.DeleteInstanceRequest(instance_id=made, force=True))
    assert states(heard) == ["Created", "Starting", "Running", "Stopping", "Stopped", "Starting", "Running", "Deleted"]


def test_a_state_change_has_the_documented_envelope(local_cloud: LocalCloud, heard: Heard) -> None:
    """Time with the zone of China, the account as a string, and no tags anywhere."""
    tag = models.RunInstancesRequestTag(key="link-peer", value="sg-secret")
    made = run(local_cloud, tag=[tag])
    account, event = next(entry for entry in heard if entry[1]["type"] == "ecs:Instance:StateChange")
    assert account == HOME
    assert event.pop("id")
    assert event == {
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": "ecs:Instance:StateChange",
        "datacontenttype": "application/json;charset=utf-8",
        "subject": f"acs.ecs:{REGION}:{HOME}:{made}",
        "time": "2026-11-25T08:00:00+08:00",
        "aliyunaccountid": HOME,
        "aliyunpublishtime": "2026-11-25T00:00:00Z",
        "aliyuneventbusname": "default",
        "aliyunregionid": REGION,
        "aliyunpublishaddr": "172.25.0.1",
        "data": {"resourceId": made, "resourceType": "ALIYUN::ECS::Instance", "state": "Created"},
    }


def test_a_tag_change_is_told_through_actiontrail(local_cloud: LocalCloud, heard: Heard) -> None:
    """There is no tag event of its own; the trail names the instances and the parameters as sent."""
    made, ecs = run(local_cloud), client(local_cloud)
    tag = models.TagResourcesRequestTag(key="link-peer", value="sg-db")
    ecs.tag_resources(
        models.TagResourcesRequest(region_id=REGION, resource_type="instance", resource_id=[made], tag=[tag])
    )
    ecs.untag_resources(
        models.UntagResourcesRequest(
            region_id=REGION, resource_type="instance", resource_id=[made], tag_key=["link-peer"]
        )
    )
    (told,) = calls(heard, "TagResources")
    assert told["referencedResources"] == {"ACS::ECS::Instance": [made]}
    assert told["requestParameters"]["Tag.1.Value"] == "sg-db"
    assert told["userIdentity"]["accountId"] == HOME
    assert (told["serviceName"], told["eventRW"], told["acsRegion"], told["eventType"]) == (
        "Ecs",
        "Write",
        REGION,
        "ApiCall",
    )
    assert "errorCode" not in told
    assert [data["referencedResources"] for data in calls(heard, "UntagResources")] == [{"ACS::ECS::Instance": [made]}]
    assert calls(heard, "RunInstances")[0]["referencedResources"]["ACS::ECS::Instance"] == [made]


def test_refused_writes_are_told_with_their_error(local_cloud: LocalCloud, heard: Heard) -> None:
    """A reader has to look at errorCode."""
    ecs = client(local_cloud)
    group = new_group(ecs)
    with refused("InvalidSourceGroupId.NotFound", 404):
        authorize(ecs, group, permission(source_group_id="sg-none"))
    (told,) = calls(heard, "AuthorizeSecurityGroup")
    assert told["errorCode"] == "InvalidSourceGroupId.NotFound"
    assert told["referencedResources"] == {"ACS::ECS::SecurityGroup": [group]}


def test_reads_are_not_told(local_cloud: LocalCloud, heard: Heard) -> None:
    """EventBridge supports write events only."""
    client(local_cloud).describe_instances(models.DescribeInstancesRequest(region_id=REGION))
    assert heard == []


def test_the_request_id_joins_the_answer_and_the_trail(local_cloud: LocalCloud, heard: Heard) -> None:
    """When the wire passes it on."""
    caller = local_cloud.identity.keys[local_cloud.identity.accounts[PEER].access_key_id].caller
    local_cloud.ecs.call(caller, "CreateSecurityGroup", {"RegionId": REGION}, request_id="4711")
    ((account, event),) = heard
    assert (account, event["data"]["requestId"]) == (PEER, "4711")


def test_a_slow_boot_tells_its_states_when_they_come(local_cloud: LocalCloud, heard: Heard) -> None:
    """Pending until half of the delay, Running after all of it; force does not release an instance that boots."""
    local_cloud.ecs.boot_delay = 60
    made, ecs = run(local_cloud), client(local_cloud)

    def status() -> str:
        request = models.DescribeInstancesRequest(region_id=REGION)
        return ecs.describe_instances(request).body.instances.instance[0].status

    assert (status(), states(heard)) == ("Pending", ["Created"])
    with refused("IncorrectInstanceStatus", 403):
        ecs.delete_instance(models.DeleteInstanceRequest(instance_id=made, force=True))
    local_cloud.clock.sleep(30)
    assert (status(), states(heard)) == ("Starting", ["Created", "Starting"])
    local_cloud.clock.sleep(30)
    local_cloud.ecs.publish_due()
    assert states(heard) == ["Created", "Starting", "Running"]
    assert status() == "Running"


def test_a_listener_may_call_back(local_cloud: LocalCloud, heard: Heard) -> None:
    """Events are handed over without the lock, after the change: the listener sees it."""
    seen: list[int] = []
    caller = local_cloud.identity.keys[local_cloud.identity.accounts[HOME].access_key_id].caller

    def listen(_account: str, event: dict[str, Any]) -> None:
        if event["data"].get("state") == "Created":
            answer = local_cloud.ecs.call(caller, "DescribeInstances", {"RegionId": REGION})
            seen.append(len(answer["Instances"]["Instance"]))

    local_cloud.ecs.on_event = listen
    run(local_cloud)
    assert seen == [1]


def test_with_real_time_the_events_of_a_slow_boot_come_by_themselves() -> None:
    """No further call is needed."""
    backend, told, running = EcsBackend(SystemClock()), [], threading.Event()

    def listen(_account: str, event: dict[str, Any]) -> None:
        told.append(event["data"].get("state"))
        if told[-1] == "Running":
            running.set()

    vpc = backend.create_vpc(HOME, "10.0.0.0/16")
    group = backend.create_group(HOME, vpc.id)
    backend.on_event, backend.boot_delay = listen, 0.05
    params = {"RegionId": REGION, "ImageId": "m-1", "InstanceType": "ecs.g7.large"}
    params |= {"SecurityGroupId": group.id, "VSwitchId": vpc.vswitch_id}
    backend.call(Caller(HOME, "root"), "RunInstances", params)
    assert running.wait(60)
    assert [state for state in told if state] == ["Created", "Starting", "Running"]


def test_many_threads_may_call_at_once(heard: Heard, local_cloud: LocalCloud) -> None:
    """No rule is lost, none is written twice, and each call is told once."""
    caller = Caller(HOME, "root")
    group = local_cloud.ecs.call(caller, "CreateSecurityGroup", {"RegionId": REGION})["SecurityGroupId"]

    def write(first: int) -> None:
        for port in range(first, first + 20):
            fields = {"IpProtocol": "tcp", "PortRange": f"{port}/{port}", "SourceCidrIp": "10.0.0.1"}
            local_cloud.ecs.call(
                caller, "AuthorizeSecurityGroup", {"RegionId": REGION, "SecurityGroupId": group, **fields}
            )

    threads = [threading.Thread(target=write, args=(first,)) for first in (1, 1, 11, 21, 31, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ports = [rule.port_range for rule in local_cloud.ecs.account(HOME).groups[group].rules.at(2e9)]
    assert sorted(ports) == sorted(f"{port}/{port}" for port in range(1, 61))
    assert len(calls(heard, "AuthorizeSecurityGroup")) == 120
