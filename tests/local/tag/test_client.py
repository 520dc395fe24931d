"""The Tag service through its official SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_tag20180828 import models
from alibabacloud_tag20180828.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Caller

from tests.local.clients import HOME, PEER, REGION, ask, config, key_of


class World:
    """An instance and its group."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.client = Client(config(key_of(cloud), f"tag.{REGION}.aliyuncs.com"))
        self.group = cloud.ecs.create_group(HOME, next(iter(cloud.ecs.vpcs)), tags={"env": "prod"})
        self.instance = cloud.ecs.create_instance(HOME, [self.group], tags={"env": "prod", "link-peer": "sg-db"})
        self.arns = [self.arn("instance", self.instance.id), self.arn("securitygroup", self.group.id)]

    @staticmethod
    def arn(kind: str, name: str) -> str:
        return f"arn:acs:ecs:{REGION}:{HOME}:{kind}/{name}"

    def tag(self, *arns: str, **tags: str) -> list[tuple[str, str]]:
        failed = ask(
            self.client, "TagResources", resource_arn=list(arns), tags=json.dumps(tags)
        ).failed_resources.failed_resource
        return [(one.resource_arn, one.result.code) for one in failed]

    def listed(self, **filters: Any) -> dict[str, dict[str, str]]:
        body = ask(self.client, "ListTagResources", **filters)
        return {row.resource_arn: {tag.key: tag.value for tag in row.tags} for row in body.tag_resources}


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_resources_are_tagged_by_their_arns(w: World) -> None:
    """Those that cannot be are named in an answer of 200, and the others are tagged. `*` means one's own."""
    foreign = f"arn:acs:ecs:{REGION}:{PEER}:instance/{w.instance.id}"
    elsewhere = w.arns[0].replace(REGION, "cn-hangzhou")
    missing, wrong = w.arn("instance", "i-none"), "arn:acs:vpc:cn-qingdao:1:vpc/vpc-1"
    named = (w.arns[0], f"arn:acs:ecs:*:*:securitygroup/{w.group.id}", foreign, elsewhere, missing, wrong)
    failed = w.tag(*named, team="red")
    assert dict(failed) == {
        foreign: "InvalidResourceId.NotFound",
        elsewhere: "InvalidResourceId.NotFound",
        missing: "InvalidResourceId.NotFound",
        wrong: "InvalidParameter.ResourceARN",
    }
    assert {arn: tags["team"] for arn, tags in w.listed(resource_arn=w.arns).items()} == dict.fromkeys(w.arns, "red")


def test_resources_are_found_by_all_of_the_tags(w: World) -> None:
    """Each comes with all of its tags."""
    assert set(w.listed(tags=json.dumps({"env": "prod"}))) == set(w.arns)
    found = w.listed(tags=json.dumps({"env": "prod", "link-peer": "sg-db"}))
    assert found == {w.arns[0]: {"env": "prod", "link-peer": "sg-db"}}
    assert w.listed(tags=json.dumps({"env": "test"})) == {}


def test_a_released_instance_is_not_found(w: World) -> None:
    w.cloud.ecs.call(
        Caller(HOME, f"acs:ram::{HOME}:root"),
        "DeleteInstance",
        {"RegionId": REGION, "InstanceId": w.instance.id, "Force": "true"},
    )
    assert set(w.listed(tags=json.dumps({"env": "prod"}))) == {w.arns[1]}


def test_a_page_ends_where_the_next_begins(w: World) -> None:
    request = models.ListTagResourcesRequest(region_id=REGION, tags=json.dumps({"env": "prod"}), page_size=1)
    seen = []
    while True:
        body = w.client.list_tag_resources(request).body
        seen += [row.resource_arn for row in body.tag_resources]
        request.next_token = body.next_token
        if not body.next_token:
            break
    assert seen == sorted(w.arns)


def test_a_page_holds_up_to_a_thousand_resources(w: World) -> None:
    assert set(w.listed(resource_arn=w.arns, page_size=1000)) == set(w.arns)
    for size in (0, 1001):
        with pytest.raises(ClientException):
            w.listed(resource_arn=w.arns, page_size=size)


def test_a_call_that_changes_tags_names_up_to_fifty_resources(w: World) -> None:
    """And at least one."""
    for arns in ([], w.arns * 26):
        with pytest.raises(ClientException) as refused:
            w.tag(*arns, team="red")
        assert refused.value.status_code == 400
    assert w.tag(*w.arns * 25, team="red") == []


def test_tags_are_removed_by_key(w: World) -> None:
    assert ask(w.client, "UntagResources", resource_arn=w.arns, tag_key=["env"]).failed_resources.failed_resource == []
    assert w.listed(resource_arn=w.arns) == {w.arns[0]: {"link-peer": "sg-db"}}


@pytest.mark.parametrize("tags", ["{", "[]", '{"a": 1}', json.dumps({str(n): "" for n in range(11)}), "{}"])
def test_invalid_tags_are_refused(w: World, tags: str) -> None:
    with pytest.raises(ClientException) as refused:
        ask(w.client, "TagResources", resource_arn=w.arns, tags=tags)
    assert refused.value.status_code == 400
