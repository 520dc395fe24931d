"""Tags through the official SDK, on instances and on groups; AddTags, RemoveTags and DescribeTags, too."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, ask, refusal
from ecs_helpers import client, instances, new_group


class World:
    """One group with one instance."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud, self.ecs = cloud, client(cloud)
        self.group = new_group(self.ecs)
        self.instance = cloud.ecs.create_instance(HOME, [self.group]).id

    def tag(self, *resources: str, kind: str | None = "instance", **tags: str) -> None:
        self.tag_all(list(resources or [self.instance]), [*tags.items()], kind)

    def tag_all(self, resources: list[str], tags: list[tuple[str, str]], kind: str | None = "instance") -> None:
        pairs = [{"key": key, "value": value} for key, value in tags]
        ask(self.ecs, "TagResources", resource_type=kind, resource_id=resources, tag=pairs)

    def untag(self, *keys: str, every: bool | None = None) -> None:
        resources: dict[str, Any] = {"resource_type": "instance", "resource_id": [self.instance]}
        ask(self.ecs, "UntagResources", tag_key=list(keys) or None, all=every, **resources)

    def tags(self) -> dict[str, str]:
        (instance,) = instances(self.ecs, instance_ids=f'["{self.instance}"]')
        return {tag.tag_key: tag.tag_value for tag in instance.tags.tag} if instance.tags else {}

    def listed(self, **query: Any) -> Any:
        return ask(self.ecs, "ListTagResources", **{"resource_type": "instance", **query})

    def add(self, resource: str, kind: str = "instance", **tags: str) -> None:
        pairs = [{"key": key, "value": value} for key, value in tags.items()]
        ask(self.ecs, "AddTags", resource_type=kind, resource_id=resource, tag=pairs)

    def remove(self, *tags: tuple[str, str | None]) -> None:
        pairs = [{"key": key, "value": value} for key, value in tags]
        ask(self.ecs, "RemoveTags", resource_type="instance", resource_id=self.instance, tag=pairs)

    def described(self, **filters: Any) -> Any:
        return ask(self.ecs, "DescribeTags", **filters)


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_tagging_adds_and_overwrites_and_untagging_removes(w: World) -> None:
    """A missing key is no error; All applies only without keys."""
    w.tag(a="1", b="2")
    w.tag(b="3", c="")
    assert w.tags() == {"a": "1", "b": "3", "c": ""}
    w.untag("a", "nowhere", every=True)
    assert w.tags() == {"b": "3", "c": ""}
    w.untag(every=True)
    assert w.tags() == {}
    assert refusal(w.untag) == ("MissingParameter.Tags", 404)


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        ("", "v", "InvalidTagKey.Malformed"),
        ("k" * 129, "v", "InvalidTagKey.Malformed"),
        ("aliyun-x", "v", "InvalidTagKey.Malformed"),
        ("acs:x", "v", "InvalidTagKey.Malformed"),
        ("see https://x", "v", "InvalidTagKey.Malformed"),
        ("k", "v" * 129, "InvalidTagValue.Malformed"),
        ("see http://x", "v", "InvalidTagKey.Malformed"),
        ("k", "http://x", "InvalidTagValue.Malformed"),
        ("k", "https://x", "InvalidTagValue.Malformed"),
    ],
)
def test_an_invalid_tag_is_refused(w: World, key: str, value: str, code: str) -> None:
    """Keys and values have at most 128 characters."""
    assert refusal(w.tag_all, [w.instance], [("fine", "x"), (key, value)]) == (code, 400)
    assert w.tags() == {}


def test_a_key_and_a_value_may_have_128_characters(w: World) -> None:
    """So one tag holds five or six group ids."""
    w.tag_all([w.instance], [("k" * 128, "v" * 128)])
    assert w.tags() == {"k" * 128: "v" * 128}


def test_the_limits_of_one_call(w: World) -> None:
    """50 resources, 20 tags, unique keys, a known type; resources and tags are required."""
    assert refusal(w.tag, *[f"i-{n}" for n in range(51)], a="1") == ("NumberExceed.ResourceIds", 400)
    assert refusal(w.tag, *[f"i-{n}" for n in range(50)], a="1") == ("InvalidResourceId.NotFound", 404)
    assert refusal(w.tag, **{f"k{n}": "v" for n in range(21)}) == ("NumberExceed.Tags", 400)
    filters = [{"key": f"k{n}"} for n in range(21)]
    assert instances(w.ecs, tag=filters[:20]) == []
    assert refusal(instances, w.ecs, tag=filters) == ("InvalidTagCount", 400)
    assert refusal(instances, w.ecs, tag=[{"value": "v"}]) == ("InvalidTag.Mismatch", 400)
    w.untag(*(f"k{n}" for n in range(20)))
    assert refusal(w.untag, *(f"k{n}" for n in range(21))) == ("NumberExceed.Tags", 400)
    assert refusal(w.tag_all, [w.instance], [("a", "1"), ("a", "2")]) == ("Duplicate.TagKey", 400)
    assert refusal(w.tag, kind="spaceship", a="1") == ("InvalidResourceType.NotFound", 404)
    assert refusal(w.tag, kind=None, a="1") == ("MissingParameter.ResourceType", 404)
    assert refusal(w.tag_all, [], [("a", "1")]) == ("MissingParameter.ResourceIds", 404)
    assert refusal(w.tag) == ("MissingParameter.Tags", 404)


def test_tagging_is_all_or_nothing(w: World) -> None:
    """One unknown id, another account's resource, or a group among instances refuses the call."""
    peers = new_group(client(w.cloud, PEER))
    for resource in ("i-none", w.group, peers):
        assert refusal(w.tag, w.instance, resource, a="1") == ("InvalidResourceId.NotFound", 404)
    assert w.tags() == {}


def test_a_resource_has_at_most_twenty_tags(w: World) -> None:
    """Overwriting one of them is allowed."""
    w.tag(**{f"k{n}": "v" for n in range(20)})
    second_instance = w.cloud.ecs.create_instance(HOME, [w.group]).id
    assert refusal(w.tag, w.instance, second_instance, one="more") == ("OperationDenied.QuotaExceed", 400)
    w.tag(k0="new")
    assert w.tags()["k0"] == "new"


def test_listing_requires_ids_or_tags_and_is_paged(w: World) -> None:
    """50 rows per page, continued by NextToken; unknown ids list nothing."""
    assert refusal(w.listed) == ("MissingParameter.Tags", 404)
    assert w.listed(resource_id=["i-none"]).tag_resources.tag_resource == []
    tags = {f"k{n:02}": "v" for n in range(20)}
    for name in ("i-c", "i-b", "i-a"):
        w.cloud.ecs.create_instance(HOME, [w.group], tags=tags, instance_id=name)
    by_tag = {"tag": [{"key": "k00"}]}
    for query in ({"resource_id": ["i-a", "i-b", "i-c"]}, by_tag):
        first = w.listed(**query)
        second = w.listed(**query, next_token=first.next_token)
        rows = [*first.tag_resources.tag_resource, *second.tag_resources.tag_resource]
        assert (len(first.tag_resources.tag_resource), second.next_token) == (50, "")
        assert [(row.resource_id, row.tag_key) for row in rows] == [(f"i-{n}", key) for n in "cba" for key in tags]


def test_list_tag_resources_reads_beyond_the_limit_of_tag_filters(w: World) -> None:
    """Describe calls fail beyond 1,000 matches of a tag filter; this one pages through all of them."""
    tags, vpc = {"managed": "true"}, next(iter(w.cloud.ecs.vpcs))
    group_ids = {w.cloud.ecs.create_group(HOME, vpc, tags=tags).id for _ in range(1001)}
    filters = [{"key": "managed", "value": "true"}]
    assert refusal(ask, w.ecs, "DescribeSecurityGroups", tag=filters) == ("InvalidTagCount", 400)
    resource_ids: list[str] = []
    token: str | None = None
    while token != "":
        page = w.listed(resource_type="securitygroup", tag=filters, next_token=token)
        resource_ids += [row.resource_id for row in page.tag_resources.tag_resource]
        token = page.next_token
    assert sorted(resource_ids) == sorted(group_ids)


def test_list_tag_resources_shows_every_tag_of_what_matches(w: World) -> None:
    """A key alone matches any value; several tags must all match. Other types and other accounts are not shown."""
    vpc = next(iter(w.cloud.ecs.vpcs))
    group_id = w.cloud.ecs.create_group(HOME, vpc, tags={"team": "a", "env": "prod"}).id
    w.cloud.ecs.create_group(HOME, vpc, tags={"team": "b"})
    w.tag(team="a")

    def tagged_resources(*tags: tuple[str, str | None]) -> list[tuple[str, str, str]]:
        filters = [{"key": key, "value": value} for key, value in tags]
        rows = w.listed(resource_type="securitygroup", tag=filters).tag_resources.tag_resource
        assert all(row.resource_type == "securitygroup" for row in rows)
        return [(row.resource_id, row.tag_key, row.tag_value) for row in rows]

    assert tagged_resources(("team", "a")) == [(group_id, "env", "prod"), (group_id, "team", "a")]
    assert len(tagged_resources(("team", None))) == 3
    assert tagged_resources(("team", "b"), ("env", "prod")) == []
    second_page = w.listed(resource_type="securitygroup", resource_id=[group_id], tag=[{"key": "team", "value": "b"}])
    assert second_page.tag_resources.tag_resource == []


def test_a_released_instance_has_no_tags_to_list(w: World) -> None:
    """Nor can it be tagged, although lagging reads may still show it. Tags are listed late, too, in either way."""
    w.cloud.ecs.read_lag.tags = 5
    w.cloud.clock.sleep(5)

    def tag_counts() -> tuple[int, int]:
        return len(w.listed(resource_id=[w.instance]).tag_resources.tag_resource), len(w.described().tags.tag)

    w.tag(team="a")
    assert tag_counts() == (0, 0)
    w.cloud.clock.sleep(5)
    assert tag_counts() == (1, 1)
    ask(w.ecs, "DeleteInstance", instance_id=w.instance, force=True)
    assert tag_counts() == (0, 0)
    assert refusal(w.tag, team="b") == ("InvalidResourceId.NotFound", 404)


# the older actions


def test_tags_are_added_and_removed_one_resource_at_a_time(w: World) -> None:
    """Adding overwrites; a missing key is no error; a tag with a value is removed only if it has that value."""
    w.add(w.instance, a="1", b="2")
    w.add(w.instance, b="3", c="")
    assert w.tags() == {"a": "1", "b": "3", "c": ""}
    w.remove(("a", None), ("b", "2"), ("nowhere", None))
    assert w.tags() == {"b": "3", "c": ""}
    w.remove(("b", "3"))
    assert w.tags() == {"c": ""}


def test_invalid_calls_change_nothing(w: World) -> None:
    """Unknown resources, another account's, missing tags, invalid keys, and more tags than a resource may have."""
    foreign = new_group(client(w.cloud, PEER))
    for resource, kind in (("i-none", "instance"), (foreign, "securitygroup")):
        assert refusal(w.add, resource, kind, a="1") == ("InvalidResourceId.NotFound", 404)
    assert refusal(ask, w.ecs, "AddTags", resource_type="instance") == ("MissingParameter", 400)
    assert refusal(w.add, w.instance) == ("MissingParameter.Tags", 404)
    assert refusal(w.remove) == ("MissingParameter.Tags", 404)
    assert refusal(w.add, w.instance, **{"acs:x": "1"}) == ("InvalidTagKey.Malformed", 400)
    w.cloud.ecs.quotas.tags_per_resource = 1
    assert refusal(w.add, w.instance, a="1", b="2") == ("OperationDenied.QuotaExceed", 400)
    assert w.tags() == {}


def test_distinct_tags_are_described_with_their_counts(w: World) -> None:
    """By type, by resource or by tag, 50 per page."""
    second_instance = w.cloud.ecs.create_instance(HOME, [w.group], tags={"a": "1"}).id
    w.add(w.instance, a="1", b="2")
    w.add(w.group, "securitygroup", a="1")

    def counts(**filters: Any) -> dict[tuple[str, str], tuple[int | None, int | None]]:
        return {
            (tag.tag_key, tag.tag_value): (tag.resource_type_count.instance, tag.resource_type_count.securitygroup)
            for tag in w.described(**filters).tags.tag
        }

    assert counts() == {("a", "1"): (2, 1), ("b", "2"): (1, None)}
    assert counts(resource_type="instance", resource_id=second_instance) == {("a", "1"): (1, None)}
    assert counts(tag=[{"key": "b", "value": "2"}]) == {
        ("a", "1"): (1, None),
        ("b", "2"): (1, None),
    }
    assert (w.described().total_count, w.described().page_size) == (2, 50)
    assert w.described(page_size=101).page_size == 100
    assert len(w.described(page_number=2, page_size=1).tags.tag) == 1
    assert refusal(w.described, resource_type="spaceship") == ("InvalidResourceType.NotFound", 404)
