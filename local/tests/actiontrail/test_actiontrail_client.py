"""ActionTrail through its official SDK: who changed what, with the RequestId of the call."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_actiontrail20200706.client import Client

from aliyun_local.cloud import LocalCloud
from clients import HOME, REGION, ask, config, key_of, refusal
from ecs_helpers import RuleWorld, permission


class World(RuleWorld):
    """Groups, and a client that looks events up."""

    def __init__(self, cloud: LocalCloud) -> None:
        super().__init__(cloud)
        self.trail = Client(config(key_of(cloud), f"actiontrail.{REGION}.aliyuncs.com"))

    def events(self, key: str = "", value: str = "", **options: Any) -> list[dict[str, Any]]:
        condition = [{"key": key, "value": value}] if key else None
        events: list[dict[str, Any]] = ask(self.trail, "LookupEvents", lookup_attribute=condition, **options).events
        return events


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def test_a_change_is_found_with_its_request_id_and_caller(w: World) -> None:
    """Reads are not recorded here, and another account's calls are in its own trail."""
    permitted_source = permission(source_group_id=w.app)
    request_id = ask(w.ecs, "AuthorizeSecurityGroup", security_group_id=w.db, permissions=[permitted_source]).request_id
    w.rules(w.db)
    (event,) = w.events("EventName", "AuthorizeSecurityGroup")
    assert (event["requestId"], event["eventRW"], event["serviceName"]) == (request_id, "Write", "Ecs")
    assert (event["userIdentity"]["accountId"], event["userIdentity"]["type"]) == (HOME, "root-account")
    assert event["requestParameters"]["SecurityGroupId"] == w.db
    assert [event["eventName"] for event in w.events("ResourceName", w.db)] == [
        "AuthorizeSecurityGroup",
        "CreateSecurityGroup",
    ]
    assert w.events("ResourceName", w.peer) == []


@pytest.mark.parametrize(
    ("key", "value", "count"),
    [
        ("ServiceName", "Ecs", 2),
        ("ServiceName", "Sts", 0),
        ("User", "root", 2),
        ("EventRW", "Read", 0),
        ("ResourceType", "ACS::ECS::SecurityGroup", 2),
    ],
)
def test_events_are_found_by_one_condition(w: World, key: str, value: str, count: int) -> None:
    assert len(w.events(key, value)) == count


def test_events_come_newest_first_in_pages(w: World) -> None:
    first = ask(w.trail, "LookupEvents", max_results="1")
    second = ask(w.trail, "LookupEvents", max_results="1", next_token=first.next_token)
    assert [body.events[0]["referencedResources"]["ACS::ECS::SecurityGroup"] for body in (first, second)] == [
        [w.db],
        [w.app],
    ]
    assert second.next_token is None
    assert w.events(direction="FORWARD") == list(reversed(w.events()))


def test_events_have_a_range_of_time_and_may_appear_late(w: World) -> None:
    """Seven days by default."""
    w.cloud.trail.visible_after = 600
    assert w.events() == []
    w.cloud.clock.sleep(600)
    assert len(w.events()) == 2
    assert w.events(start_time="2026-11-25T00:00:01Z") == w.events(end_time="2026-11-24T23:59:59Z") == []
    w.cloud.clock.sleep(7 * 86_400)
    assert w.events() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"max_results": "51"},
        {"direction": "SIDEWAYS"},
        {"start_time": "yesterday"},
        {"start_time": "2026-11-25T00:00:01Z", "end_time": "2026-11-25T00:00:00Z"},
        {"start_time": "2026-10-25T23:59:59Z", "end_time": "2026-11-25T00:00:00Z"},
        {"start_time": "2026-08-26T23:59:59Z", "end_time": "2026-08-27T00:00:00Z"},
        {"lookup_attribute": [{"key": "Colour", "value": "red"}]},
        {"lookup_attribute": [{"key": "EventRW", "value": "Read"}] * 2},
    ],
)
def test_an_invalid_query_is_refused(w: World, fields: dict[str, Any]) -> None:
    assert refusal(ask, w.trail, "LookupEvents", **fields)[1] == 400
