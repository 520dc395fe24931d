"""The Tag service through its official SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_tag20180828.client import Client

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, REGION, ask, config, key_of, refusal


class World:
    """An instance and its group."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.client = Client(config(key_of(cloud), f"tag.{REGION}.aliyuncs.com"))
        self.group = cloud.ecs.create_group(HOME, next(iter(cloud.ecs.vpcs)), tags={"env": "prod"})
        self.instance = cloud.ecs.create_instance(HOME, [self.group], tags={"env": "prod"})
        self.arns = [self.arn("instance", self.instance.id), self.arn("securitygroup", self.group.id)]

    @staticmethod
    def arn(kind: str, name: str) -> str:
        return f"arn:acs:ecs:{REGION}:{HOME}:{kind}/{name}"

    def tag(self, *arns: str, **tags: str) -> list[tuple[str, str]]:
        answer = ask(self.client, "TagResources", resource_arn=list(arns), tags=json.dumps(tags))
        return [(failure.resource_arn, failure.result.code) for failure in answer.failed_resources.failed_resource]

    def tags(self, key: str) -> list[str | None]:
        """The value of a tag of the instance and of the group."""
        now = self.cloud.clock.now()
        return [resource.tags.at(now).get(key) for resource in (self.instance, self.group)]


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_resources_are_tagged_by_their_arns(w: World) -> None:
    """Those that cannot be are named in an answer of 200, and the others are tagged. `*` means one's own. ActionTrail
    names all."""
    foreign = f"arn:acs:ecs:{REGION}:{PEER}:instance/{w.instance.id}"
    elsewhere = w.arns[0].replace(REGION, "cn-hangzhou")
    missing, wrong = w.arn("instance", "i-none"), "arn:acs:vpc:cn-qingdao:1:vpc/vpc-1"
    arns = (w.arns[0], f"arn:acs:ecs:*:*:securitygroup/{w.group.id}", foreign, elsewhere, missing, wrong)
    failed = w.tag(*arns, team="red")
    assert dict(failed) == {
        foreign: "InvalidResourceId.NotFound",
        elsewhere: "InvalidResourceId.NotFound",
        missing: "InvalidResourceId.NotFound",
        wrong: "InvalidParameter.ResourceARN",
    }
    event = w.cloud.trail.newest(HOME)
    assert (event["serviceName"], event["eventName"]) == ("Tag", "TagResources")
    assert event["referencedResources"]["ACS::ECS::SecurityGroup"] == [w.group.id]
    assert w.tags("team") == ["red", "red"]
    assert w.tags("env") == ["prod", "prod"]


def test_a_call_that_changes_tags_names_up_to_fifty_resources(w: World) -> None:
    """And up to ten tags."""
    assert w.tag(*w.arns * 25, **{f"k{n}": "" for n in range(10)}) == []
    assert w.tags("k9") == ["", ""]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"resource_arn": []}, "MissingParameter"),
        ({"resource_arn": ["arn"] * 51}, "InvalidParameter"),
        ({"region_id": "cn-atlantis"}, "InvalidRegionId.NotFound"),
        *(({"tags": text}, "InvalidParameter") for text in ("{", "[]", '{"a": 1}')),
        ({"tags": json.dumps({str(n): "" for n in range(11)})}, "InvalidParameter"),
        *(({"tags": text}, "MissingParameter") for text in ("{}", "")),
        ({"tags": '{"acs:x": ""}'}, "InvalidTagKey.Malformed"),
    ],
)
def test_an_invalid_call_is_refused(w: World, changes: dict[str, Any], code: str) -> None:
    """And tags nothing."""
    fields = {"resource_arn": w.arns, "tags": '{"team": "red"}', **changes}
    assert refusal(ask, w.client, "TagResources", **fields) == (code, 404 if "region_id" in changes else 400)
    assert w.tags("team") == [None, None]
