"""AddTags, RemoveTags and DescribeTags through the official SDK."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from link_peer_local.cloud import LocalCloud

from tests.local.clients import HOME, PEER, ask, refused
from tests.local.ecs.helpers import client, instances, new_group


class World:
    """One group with one instance, and the ActionTrail data of every write."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        self.group = new_group(self.ecs)
        self.instance = cloud.ecs.create_instance(HOME, [self.group]).id
        self.trail: list[dict[str, Any]] = []
        cloud.ecs.on_event = lambda _account, event: self.trail.append(event["data"])

    def add(self, resource: str, kind: str = "instance", **tags: str) -> None:
        pairs = [models.AddTagsRequestTag(key=key, value=value) for key, value in tags.items()]
        ask(self.ecs, "AddTags", resource_type=kind, resource_id=resource, tag=pairs)

    def remove(self, *tags: tuple[str, str | None]) -> None:
        pairs = [models.RemoveTagsRequestTag(key=key, value=value) for key, value in tags]
        ask(self.ecs, "RemoveTags", resource_type="instance", resource_id=self.instance, tag=pairs)

    def tags(self) -> dict[str, str]:
        (instance,) = instances(self.ecs)
        return {tag.tag_key: tag.tag_value for tag in instance.tags.tag} if instance.tags else {}

    def described(self, **filters: Any) -> Any:
        return ask(self.ecs, "DescribeTags", **filters)


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_tags_are_added_and_removed_one_resource_at_a_time(w: World) -> None:
    """Adding overwrites; a missing key is no error; a tag with a value is removed only if it has that value."""
    w.add(w.instance, a="1", b="2")
    w.add(w.instance, b="3", c="")
    assert w.tags() == {"a": "1", "b": "3", "c": ""}
    w.remove(("a", None), ("b", "2"), ("nowhere", None))
    assert w.tags() == {"b": "3", "c": ""}
    w.remove(("b", "3"))
    assert w.tags() == {"c": ""}


def test_their_events_have_the_names_of_these_actions(w: World) -> None:
    """A consumer of tag changes must know AddTags and RemoveTags beside TagResources and UntagResources."""
    w.add(w.instance, **{"link-peer": "sg-db"})
    w.remove(("link-peer", None))
    w.add(w.group, "securitygroup", **{"link-accept": "*"})
    assert [(data["eventName"], data["referencedResources"]) for data in w.trail] == [
        ("AddTags", {"ACS::ECS::Instance": [w.instance]}),
        ("RemoveTags", {"ACS::ECS::Instance": [w.instance]}),
        ("AddTags", {"ACS::ECS::SecurityGroup": [w.group]}),
    ]
    assert w.trail[0]["requestParameters"]["Tag.1.Key"] == "link-peer"


def test_invalid_calls_change_nothing(w: World) -> None:
    """Unknown resources, another account's, missing tags, invalid keys, and more tags than a resource may have."""
    foreign = new_group(client(w.cloud, PEER))
    for resource, kind in (("i-none", "instance"), (foreign, "securitygroup")):
        with refused("InvalidResourceId.NotFound", 404):
            w.add(resource, kind, a="1")
    with refused("MissingParameter", 400):
        ask(w.ecs, "AddTags", resource_type="instance")
    with refused("MissingParameter.Tags", 404):
        w.add(w.instance)
    with refused("MissingParameter.Tags", 404):
        w.remove()
    with refused("InvalidTagKey.Malformed", 400):
        w.add(w.instance, **{"acs:x": "1"})
    w.cloud.ecs.quotas.tags_per_resource = 1
    with refused("OperationDenied.QuotaExceed", 400):
        w.add(w.instance, a="1", b="2")
    assert w.tags() == {}


def test_distinct_tags_are_described_with_their_counts(w: World) -> None:
    """By type, by resource or by tag, 50 per page."""
    other = w.cloud.ecs.create_instance(HOME, [w.group], tags={"a": "1"}).id
    w.add(w.instance, a="1", b="2")
    w.add(w.group, "securitygroup", a="1")

    def counts(**filters: Any) -> dict[tuple[str, str], tuple[int | None, int | None]]:
        return {
            (tag.tag_key, tag.tag_value): (tag.resource_type_count.instance, tag.resource_type_count.securitygroup)
            for tag in w.described(**filters).tags.tag
        }

    assert counts() == {("a", "1"): (2, 1), ("b", "2"): (1, None)}
    assert counts(resource_type="instance", resource_id=other) == {("a", "1"): (1, None)}
    assert counts(tag=[models.DescribeTagsRequestTag(key="b", value="2")]) == {
        ("a", "1"): (1, None),
        ("b", "2"): (1, None),
    }
    assert (w.described().total_count, w.described().page_size) == (2, 50)
    assert len(w.described(page_number=2, page_size=1).tags.tag) == 1
    with refused("InvalidResourceType.NotFound", 404):
        w.described(resource_type="spaceship")
