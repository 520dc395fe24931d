"""Which events cloud services publish, and what delivers them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from aliyun_conformance.bench import Bench
from aliyun_conformance.question import Need, NotAnswered
from aliyun_conformance.sdks import code_of

SEEN_EVENTS = 200  # at most so many events of one source are read in one row
POLL_SECONDS = 15.0

Event = Mapping[str, Any]


def _wait_for(bench: Bench, source: str, since: float, matches: Callable[[Event], bool]) -> tuple[Event, float]:
    """The earliest event of a source on the default bus that is wanted, and how many seconds after `since` it was found."""
    read: dict[str, Event] = {}

    def look() -> Event | None:
        events = bench.sdks.events(
            "query_traced_events",
            "QueryTracedEventsRequest",
            event_bus_name="default",
            event_source=source,
            start_time=int(since * 1000) - 5000,
            end_time=int(bench.clock.now() * 1000) + 5000,
            limit=100,
        )
        for traced in (events.data and events.data.events) or []:
            if traced.event_id not in read and len(read) < SEEN_EVENTS:
                params = {"event_bus_name": "default", "event_id": traced.event_id, "event_source": source}
                body = bench.sdks.events("query_event", "QueryEventRequest", **params)
                read[traced.event_id] = dict(body.data or {})
        events = [event for event in reversed(read.values()) if matches(event)]
        return min(events, key=lambda event: str(event.get("time", "")), default=None)

    deadline = since + bench.options.event_seconds
    while (event := look()) is None:
        if bench.clock.now() > deadline:
            raise NotAnswered(
                f"no such event within {bench.options.event_seconds:.0f} s, among {len(read)} of {source}"
            )
        bench.clock.sleep(POLL_SECONDS)
    return event, round(bench.clock.now() - since)


def _data(event: Event) -> dict[str, Any]:
    """An event's content, also where it is JSON text; empty if it is no object."""
    data = event.get("data", {})
    data = json.loads(data) if isinstance(data, str) else data
    return data if isinstance(data, dict) else {}


def _names(event: Event, *words: str) -> bool:
    text = json.dumps(event)
    return all(word in text for word in words)


@pytest.mark.real_cloud(
    36,
    Need.INSTANCES,
    expected="`state` and `resourceId`, in `data` or in `data.content`",
    cleanup="release the instance, delete the group",
)
def test_state_change(bench: Bench) -> None:
    """The content of `ecs:Instance:StateChange` is `data` itself: `data.resourceId`, `data.state`; or it is `data.content`."""
    event, seconds = _started(bench)
    data = _data(event)
    where = "data.content" if "content" in data else "data"
    keys = sorted(data.get("content", data))
    bench.saw(f"{where} has {', '.join(keys)}; after {seconds} s", {"event": event})
    assert {"state", "resourceId"} <= set(keys)


def _started(bench: Bench) -> tuple[Event, float]:
    """The first event of a new instance's state, of one instance for all questions, and how many seconds after its launch."""

    def launch() -> tuple[Event, float]:
        began = bench.clock.now()
        instance = bench.instance(bench.group())
        return _wait_for(bench, "acs.ecs", began, lambda e: _names(e, instance, "StateChange"))

    timed_event: tuple[Event, float] = bench.shared("started", launch)
    return timed_event


@pytest.mark.real_cloud(
    37, Need.INSTANCES, expected="`Created` or `Pending`", cleanup="release the instance, delete the group"
)
def test_first_state(bench: Bench) -> None:
    """The first state of a new instance is `Created` or `Pending`."""
    event, seconds = _started(bench)
    data = _data(event)
    state = str(data.get("content", data).get("state", ""))
    bench.saw(f"{state or 'no state'} after {seconds} s", {"event": event})
    assert state in ("Created", "Pending")


def _trail_event(bench: Bench, action: str, resource: str, act: Callable[[], object]) -> None:
    """Make a call about a resource, and see which event of ActionTrail names it."""
    began = bench.clock.now()
    act()
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, resource, action))
    data = _data(event)
    name = str(data.get("eventName", ""))
    where = _named_in(data, resource)
    text = f"{event.get('type')}, eventName {name or 'absent'}, the id in {', '.join(where) or 'no field'}, after {seconds} s"
    bench.saw(text, {"event": event})
    assert name == action
    assert where


def _named_in(data: Event, resource: str) -> list[str]:
    """The fields of an event of ActionTrail that name a resource, of those that the functions read."""
    fields = ("referencedResources", "requestParameters", "resourceName")
    return [field for field in fields if _names({"": data.get(field)}, resource)]


@pytest.mark.real_cloud(
    59,
    expected="an event with `data.eventName` TagResources that names the group; the report has its JSON and its delay",
)
def test_tag_event_of_a_group(bench: Bench) -> None:
    """Tag changes of security groups are published through ActionTrail as `TagResources`, with `eventName` in `data`, and the group in `referencedResources`, `requestParameters` or `resourceName`."""
    group, tags = bench.group(), {"cloud-selftest.event": "x"}
    _trail_event(bench, "TagResources", group, lambda: bench.sdks.ecs.tag("securitygroup", group, **tags))


@pytest.mark.real_cloud(87, expected="an event with `data.eventName` AddTags that names the group")
def test_older_tag_event(bench: Bench) -> None:
    """AddTags and RemoveTags are published under their own names."""
    tag = bench.models.AddTagsRequestTag(key="cloud-selftest.event", value="x")
    group = bench.group()
    fields = {"resource_type": "securitygroup", "resource_id": group, "tag": [tag]}
    _trail_event(bench, "AddTags", group, lambda: bench.sdks.ask("add_tags", **fields))


@pytest.mark.real_cloud(
    38,
    Need.INSTANCES,
    expected="an event with `data.eventName` TagResources that names the instance; the report has its JSON and its delay",
    cleanup="release the instance, delete the group",
)
def test_tag_event_of_an_instance(bench: Bench) -> None:
    """A tag change of an instance is published through ActionTrail within 10 minutes, with the instance's id in `referencedResources`, `requestParameters` or `resourceName` of `data`."""
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    tags = {"cloud-selftest.event": "x"}
    _trail_event(bench, "TagResources", instance, lambda: bench.sdks.ecs.tag("instance", instance, **tags))


@pytest.mark.real_cloud(
    173,
    Need.INSTANCES,
    expected="an event with `data.eventName` ModifyInstanceAttribute that names the instance; the report has its JSON and its delay",
    cleanup="release the instance, delete the groups",
)
def test_event_of_a_move(bench: Bench) -> None:
    """A move of an instance between groups is published through ActionTrail as `ModifyInstanceAttribute`, with the instance's id in `referencedResources`, `requestParameters` or `resourceName` of `data`."""
    instance, group = bench.instance(bench.group()), bench.group()
    bench.running(instance)
    moved = {"InstanceId": instance, "SecurityGroupIds_1": group}
    _trail_event(
        bench,
        "ModifyInstanceAttribute",
        instance,
        lambda: bench.sdks.raw("ecs", "ModifyInstanceAttribute", **moved),
    )


@pytest.mark.real_cloud(
    174,
    Need.INTERFACES,
    expected="an event of type `ecs:NetworkInterface:PrivateIPAssigned` whose `data.eniId` is the interface; the report has its JSON",
    cleanup="delete the interface and the group",
)
def test_event_of_an_address(bench: Bench) -> None:
    """A secondary address is published as `ecs:NetworkInterface:PrivateIPAssigned`, with `eniId` in `data` and no instance."""
    interface = bench.interface(bench.group()).network_interface_id
    began = bench.clock.now()
    params = {"network_interface_id": interface, "secondary_private_ip_address_count": 1}
    bench.sdks.ask("assign_private_ip_addresses", **params)
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, interface, "PrivateIPAssigned"))
    data = _data(event)
    bench.saw(f"{event.get('type')} with {', '.join(sorted(data))}, after {seconds} s", {"event": event})
    assert event.get("type") == "ecs:NetworkInterface:PrivateIPAssigned"
    assert data.get("eniId") == interface


@pytest.mark.real_cloud(39, expected="an event of `acs.tag`; the report has its JSON")
def test_tag_service_event(bench: Bench) -> None:
    """Changes in the Tag console are published by the Tag service, under a source that no trigger matches."""
    group, began = bench.group(), bench.clock.now()
    arn = f"arn:acs:ecs:{bench.region}:{bench.account}:securitygroup/{group}"
    code = code_of(
        lambda: bench.sdks.raw(
            "tag", "TagResources", RegionId=bench.region, Tags='{"cloud-selftest.event":"x"}', ResourceARN_1=arn
        )
    )
    if code:
        raise NotAnswered(f"tag:TagResources: {code}")
    event, seconds = _wait_for(bench, "acs.tag", began, lambda e: _names(e, group))
    bench.saw(f"{event.get('type')} after {seconds} s", {"event": event})
    assert event["source"] == "acs.tag"


@pytest.mark.real_cloud(
    40, expected="rules whose targets are functions: one on StateChange, one on `data.eventName`", cleanup="none"
)
def test_deployed_rules(bench: Bench) -> None:
    """fc3 can create triggers for Alibaba Cloud events, with ApiCall patterns on `data.eventName`."""
    body = bench.sdks.events("list_rules", "ListRulesRequest", event_bus_name="default", limit=100)
    rules = [
        rule
        for rule in (body.data and body.data.rules) or []
        if any(":functions/" in str(target.endpoint) for target in rule.targets or [])
    ]
    if not rules:
        raise NotAnswered("no rule has a function as its target: deploy one with both triggers first")
    patterns = [str(rule.filter_pattern) for rule in rules]
    bench.saw(f"{len(rules)} rule(s)", {"patterns": patterns, "targets": [str(r.targets[0].endpoint) for r in rules]})
    assert any("StateChange" in each for each in patterns)
    assert any("eventName" in each for each in patterns)
