"""Which events ECS publishes on the account's bus, and when."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from clients import HOME, REGION, ask, refusal, refused
from ecs_helpers import authorize, client, new_group, permission, run_instances

Published = list[tuple[str, dict[str, Any]]]


@pytest.fixture(name="published")
def _published(local_cloud: LocalCloud) -> Published:
    """Every event, with the account on whose bus it was published."""
    published: Published = []
    local_cloud.ecs.on_event = lambda account, event: published.append((account, event))
    return published


def run(cloud: LocalCloud, **fields: Any) -> str:
    ecs = client(cloud)
    return run_instances(ecs, new_group(ecs), cloud.ecs.default_vpc(HOME).vswitch_id, **fields)[0]


def states(published: Published) -> list[str]:
    return [event["data"]["state"] for _, event in published if event["type"] == "ecs:Instance:StateChange"]


def calls(published: Published, name: str) -> list[dict[str, Any]]:
    trail = [event["data"] for _, event in published if event["type"] == "ecs:ActionTrail:ApiCall"]
    return [data for data in trail if data["eventName"] == name]


def test_an_instances_life_is_published_in_order(local_cloud: LocalCloud, published: Published) -> None:
    """Created comes once; a restart publishes Running again, so Running does not imply creation."""
    instance_id, ecs = run(local_cloud), client(local_cloud)
    ask(ecs, "StopInstance", instance_id=instance_id)
    ask(ecs, "StartInstance", instance_id=instance_id)
    ask(ecs, "DeleteInstance", instance_id=instance_id, force=True)
    assert states(published) == [
        "Created",
        "Starting",
        "Running",
        "Stopping",
        "Stopped",
        "Starting",
        "Running",
        "Deleted",
    ]


def test_a_state_change_has_the_documented_envelope(local_cloud: LocalCloud, published: Published) -> None:
    """The time is in China's time zone, the account is a string, and there are no tags."""
    instance_id = run(local_cloud, tag=[{"key": "wants", "value": "sg-secret"}])
    account, event = next(entry for entry in published if entry[1]["type"] == "ecs:Instance:StateChange")
    assert account == HOME
    assert event.pop("id")
    assert event == {
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": "ecs:Instance:StateChange",
        "datacontenttype": "application/json;charset=utf-8",
        "subject": f"acs.ecs:{REGION}:{HOME}:{instance_id}",
        "time": "2026-11-25T08:00:00+08:00",
        "aliyunaccountid": HOME,
        "aliyunpublishtime": "2026-11-25T00:00:00Z",
        "aliyuneventbusname": "default",
        "aliyunregionid": REGION,
        "aliyunpublishaddr": "172.25.0.1",
        "data": {"resourceId": instance_id, "resourceType": "ALIYUN::ECS::Instance", "state": "Created"},
    }


def test_a_tag_change_is_published_through_actiontrail(local_cloud: LocalCloud, published: Published) -> None:
    """Tag changes have no event of their own; this one names the instances and the parameters as sent."""
    instance_id, ecs = run(local_cloud), client(local_cloud)
    tag = {"key": "wants", "value": "sg-db"}
    ask(ecs, "TagResources", resource_type="instance", resource_id=[instance_id], tag=[tag])
    ask(ecs, "UntagResources", resource_type="instance", resource_id=[instance_id], tag_key=["wants"])
    (data,) = calls(published, "TagResources")
    assert data["referencedResources"] == {"ACS::ECS::Instance": [instance_id]}
    assert data["requestParameters"]["Tag.1.Value"] == "sg-db"
    assert data["userIdentity"]["accountId"] == HOME
    assert (data["serviceName"], data["eventRW"], data["acsRegion"], data["eventType"]) == (
        "Ecs",
        "Write",
        REGION,
        "ApiCall",
    )
    assert "errorCode" not in data
    assert [data["referencedResources"] for data in calls(published, "UntagResources")] == [
        {"ACS::ECS::Instance": [instance_id]}
    ]
    assert calls(published, "RunInstances")[0]["referencedResources"]["ACS::ECS::Instance"] == [instance_id]


def test_refused_writes_are_published_with_their_error(local_cloud: LocalCloud, published: Published) -> None:
    """Consumers must check errorCode."""
    ecs = client(local_cloud)
    group = new_group(ecs)
    with refused("InvalidSourceGroupId.NotFound", 404):
        authorize(ecs, group, permission(source_group_id="sg-none"))
    for action, problem in (("CreateSecurityGroup", None), ("AuthorizeSecurityGroup", "InvalidSourceGroupId.NotFound")):
        (data,) = calls(published, action)
        assert data.get("errorCode") == problem
        assert data["referencedResources"] == {"ACS::ECS::SecurityGroup": [group]}


def test_a_slow_boot_publishes_each_state_in_time(local_cloud: LocalCloud, published: Published) -> None:
    """Pending until half of the delay, Running after all of it; a booting instance cannot be released, not even by
    force."""
    local_cloud.ecs.boot_delay = 60
    instance_id, ecs = run(local_cloud), client(local_cloud)

    def status() -> str:
        return ask(ecs, "DescribeInstances").instances.instance[0].status

    assert (status(), states(published)) == ("Pending", ["Created"])
    assert refusal(ask, ecs, "DeleteInstance", instance_id=instance_id, force=True) == ("IncorrectInstanceStatus", 403)
    local_cloud.clock.sleep(30)
    assert (status(), states(published)) == ("Starting", ["Created", "Starting"])
    local_cloud.clock.sleep(30)
    local_cloud.ecs.publish_due()
    assert states(published) == ["Created", "Starting", "Running"]
    assert status() == "Running"
