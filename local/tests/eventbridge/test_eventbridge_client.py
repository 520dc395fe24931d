"""EventBridge: PutEvents through the official client, what the target of a rule receives, and patterns as they are
documented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_eventbridge20200401 import models
from alibabacloud_eventbridge20200401.client import Client

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Caller
from aliyun_local.eventbridge.pattern import Pattern
from clients import HOME, ask, config, key_of, refusal, refused

OTHER = "1000000000000002"
ENTRY = {"Id": "e-1", "Source": "acs.ecs", "Type": "ecs:Instance:StateChange", "Data": {"state": "Running"}}


class Setup:
    """A client of the home account, and a rule there that matches every event."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.events = cloud.events
        self.delivered_events: list[dict[str, Any]] = []
        self.client = Client(config(key_of(cloud), "eventbridge.cn-qingdao.aliyuncs.com"))
        self.events.add_rule(HOME, "all", "{}", self.delivered_events.append)

    def put(self, *entries: dict[str, Any], bus: str | None = "default") -> Any:
        event_list = [models.PutEventsRequestEventList().from_map(entry) for entry in entries]
        return ask(self.client, "PutEvents", event_bus_name=bus, event_list=event_list)


@pytest.fixture(name="setup")
def _setup(local_cloud: LocalCloud) -> Setup:
    return Setup(local_cloud)


def test_an_event_gets_the_buss_own_attributes(setup: Setup) -> None:
    """The bus adds account, bus, region and time of publication."""
    setup.put({**ENTRY, "Subject": "s", "Time": "2026-11-25T00:00:00Z"})
    [event] = setup.delivered_events
    assert event == {
        "id": "e-1",
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": "ecs:Instance:StateChange",
        "datacontenttype": "application/json;charset=utf-8",
        "subject": "s",
        "time": "2026-11-25T00:00:00Z",
        "aliyunaccountid": HOME,
        "aliyunpublishtime": "2026-11-25T00:00:00Z",
        "aliyuneventbusname": "default",
        "aliyunregionid": "cn-qingdao",
        "aliyunpublishaddr": "127.0.0.1",
        "data": {"state": "Running"},
    }


def test_the_result_is_at_the_top_level_too(setup: Setup) -> None:
    """Where older clients read it."""
    caller = Caller(HOME, f"acs:ram::{HOME}:root")
    params = {"EventBusName": "default", "EventList": '[{"Id":"1","Source":"s","Type":"t","Data":"{\\"a\\":1}"}]'}
    answer = setup.events.call(caller, "PutEvents", params)
    assert (answer["FailedEntryCount"], answer["EntryList"][0]["EventId"]) == (0, "1")
    assert setup.delivered_events[0]["data"] == {"a": 1}


def test_a_sender_cannot_claim_another_account(setup: Setup) -> None:
    """The attributes of the bus replace the sender's."""
    setup.events.publish(HOME, {"source": "x", "type": "y", "aliyunaccountid": OTHER, "aliyunregionid": "mars"})
    assert (setup.delivered_events[0]["aliyunaccountid"], setup.delivered_events[0]["aliyunregionid"]) == (
        HOME,
        "cn-qingdao",
    )


def test_an_invalid_entry_fails_alone(setup: Setup) -> None:
    """The answer is 200 with FailedEntryCount, so a client must check the list; under `data`, where this client reads
    it."""
    answer = setup.put(ENTRY, {"Id": "e-2", "Source": "s"}, {**ENTRY, "Id": "x" * 129})
    assert (answer.code, answer.success, answer.data.failed_entry_count) == ("200", True, 2)
    assert answer.data.entry_list[0].event_id == "e-1"
    assert [entry.error_code for entry in answer.data.entry_list] == [None, "InvalidCloudEvents", "InvalidCloudEvents"]
    assert [event["id"] for event in setup.delivered_events] == ["e-1"]


def test_an_event_has_at_most_256_kilobytes(setup: Setup) -> None:
    """A larger one is refused."""
    answer = setup.put({**ENTRY, "Data": {"x": "y" * 256 * 1024}})
    assert answer.data.failed_entry_count == 1


@pytest.mark.parametrize(
    ("bus", "entries", "code"),
    [
        (None, [ENTRY], "EventBusNameEmpty"),
        ("nothing", [ENTRY], "EventBusNotExist"),
        ("default", [], "EventListEmpty"),
    ],
)
def test_a_request_without_bus_or_events_is_refused(
    setup: Setup, bus: str | None, entries: list[dict[str, Any]], code: str
) -> None:
    """The whole request fails."""
    with refused(code):
        setup.put(*entries, bus=bus)


@pytest.mark.parametrize("bus", [["default"], {"a": 1}, 1])
def test_a_bus_must_be_a_string(setup: Setup, bus: Any) -> None:
    """Any other value in `aliyuneventbusname` is an unknown bus."""
    with refused("EventBusNotExist"):
        setup.events.put(HOME, [{"id": "1", "source": "s", "type": "t", "aliyuneventbusname": bus}])


def test_events_stay_in_their_account(setup: Setup) -> None:
    """Another account's event reaches none of our rules."""
    setup.events.publish(OTHER, {"source": "acs.ecs", "type": "t"})
    assert setup.delivered_events == []


def test_a_rule_receives_what_its_pattern_matches(setup: Setup) -> None:
    """A rule of the same name replaces the earlier one."""
    events: list[dict[str, Any]] = []
    setup.events.add_rule(HOME, "all", '{"source":["acs.oss"]}', events.append)
    setup.put(ENTRY, {**ENTRY, "Id": "e-2", "Source": "acs.oss"})
    assert ([event["id"] for event in events], setup.delivered_events) == (["e-2"], [])


def test_delivery_is_at_least_once(setup: Setup) -> None:
    """The same event, with the same id, may be delivered twice."""
    setup.events.copies = 2
    setup.put(ENTRY)
    assert [event["id"] for event in setup.delivered_events] == ["e-1", "e-1"]


@pytest.mark.parametrize("most", [10, 50])
def test_the_default_bus_has_so_many_rules(setup: Setup, most: int) -> None:
    """By either document; the next is refused."""
    setup.cloud.knobs.change({"rules_per_bus": most})
    for number in range(most - 1):
        setup.events.add_rule(HOME, f"r{number}", "{}", setup.delivered_events.append)
    with pytest.raises(ValueError, match=str(most)):
        setup.events.add_rule(HOME, "one more", "{}", setup.delivered_events.append)


def test_rules_and_their_targets_are_listed(setup: Setup) -> None:
    """With pattern, status, and the ARN of the target; the dead-letter queue only where one rule is read."""
    arn, letters = f"acs:fc:cn-qingdao:{HOME}:functions/f/live", f"acs:mns:cn-qingdao:{HOME}:/queues/dead"
    setup.events.add_rule(
        HOME, "f-one", '{"source":["acs.ecs"]}', setup.delivered_events.append, endpoint=arn, dead_letters=letters
    )
    setup.events.add_rule(HOME, "f-two", "{}", setup.delivered_events.append, enabled=False)
    listed = ask(setup.client, "ListRules", event_bus_name="default", rule_name_prefix="f-")
    assert (listed.success, listed.data.total) == (True, 2)
    assert [(rule.rule_name, rule.status) for rule in listed.data.rules] == [("f-one", "ENABLE"), ("f-two", "DISABLE")]
    assert listed.data.rules[0].targets[0].endpoint == arn
    rule = ask(setup.client, "GetRule", event_bus_name="default", rule_name="f-one").data
    assert (rule.filter_pattern, rule.targets[0].dead_letter_queue.arn) == ('{"source":["acs.ecs"]}', letters)
    targets = ask(setup.client, "ListTargets", event_bus_name="default", rule_name="f-one")
    assert [(target.type, target.endpoint) for target in targets.data.targets] == [("acs.fc.function", arn)]


def test_rules_come_in_pages(setup: Setup) -> None:
    """The token of a page is the start of the next; the last has none."""
    for number in range(4):
        setup.events.add_rule(HOME, f"r{number}", "{}", setup.delivered_events.append)
    rule_names: list[str] = []
    token = None
    for size in (2, 2, 1):
        page = ask(setup.client, "ListRules", event_bus_name="default", limit=2, next_token=token).data
        assert len(page.rules) == size
        rule_names += [rule.rule_name for rule in page.rules]
        token = page.next_token
    assert (rule_names, token) == (["all", "r0", "r1", "r2", "r3"], None)


@pytest.mark.parametrize(
    ("bus", "rule", "code"), [("other", "all", "EventBusNotExist"), ("default", "x", "EventRuleNotExisted")]
)
def test_an_unknown_rule_or_bus_is_refused(setup: Setup, bus: str, rule: str, code: str) -> None:
    """Each with its code."""
    with refused(code):
        ask(setup.client, "GetRule", event_bus_name=bus, rule_name=rule)


def test_a_rule_that_is_disabled_delivers_nothing(setup: Setup) -> None:
    """Its events are not kept for later."""
    setup.events.add_rule(HOME, "all", "{}", setup.delivered_events.append, enabled=False)
    setup.put(ENTRY)
    assert setup.delivered_events == []


# Traces


def _traced(setup: Setup, **query: Any) -> models.QueryTracedEventsResponseBodyData:
    window = {"start_time": 0, "end_time": int(setup.events._clock.now() * 1000), "event_bus_name": "default"}
    return ask(setup.client, "QueryTracedEvents", **{**window, **query}).data


def test_received_events_are_listed_newest_first_and_shown_whole(setup: Setup) -> None:
    """Of the caller's account only, whatever rules there are."""
    for n in range(3):
        setup.events.publish(HOME, {"id": f"e-{n}", "source": "acs.ecs", "type": "t", "data": {"n": n}})
    setup.events.publish(OTHER, {"id": "e-9", "source": "acs.ecs", "type": "t"})
    first = _traced(setup, limit=2)
    assert ([event.event_id for event in first.events], first.total) == (["e-2", "e-1"], 3)
    last_page = _traced(setup, limit=2, next_token=first.next_token)
    assert ([event.event_id for event in last_page.events], last_page.next_token) == (["e-0"], None)
    assert ask(setup.client, "QueryEvent", event_bus_name="default", event_id="e-1", event_source="acs.ecs").data[
        "data"
    ] == {"n": 1}


@pytest.mark.parametrize(
    ("query", "event_ids"),
    [
        ({"event_source": "acs.oss"}, ["b"]),
        ({"event_type": "t"}, ["a"]),
        ({"subject": "s"}, ["b"]),
        ({"end_time": 1}, []),
        ({"event_source": "acs.x"}, []),
    ],
)
def test_traces_are_filtered(setup: Setup, query: dict[str, Any], event_ids: list[str]) -> None:
    setup.events.publish(HOME, {"id": "a", "source": "acs.ecs", "type": "t"})
    setup.events.publish(HOME, {"id": "b", "source": "acs.oss", "type": "u", "subject": "s"})
    assert [event.event_id for event in _traced(setup, **query).events] == event_ids


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"event_bus_name": "other"}, "EventBusNotExist"),
        ({"limit": 0}, "InvalidParameter"),
        ({"limit": 101}, "InvalidParameter"),
        ({"next_token": "x"}, "InvalidParameter"),
        ({"start_time": None}, "MissingParameter"),
    ],
)
def test_unusable_queries_of_traces_are_refused(setup: Setup, query: dict[str, Any], code: str) -> None:
    with refused(code):
        _traced(setup, **query)


def test_an_unknown_event_is_not_shown(setup: Setup) -> None:
    """Neither is one of another source."""
    setup.events.publish(HOME, {"id": "a", "source": "acs.ecs", "type": "t"})
    for event_id, source in (("a", "acs.oss"), ("b", "acs.ecs")):
        with refused("EventNotExist"):
            ask(setup.client, "QueryEvent", event_bus_name="default", event_id=event_id, event_source=source)


# Patterns

EVENT = {
    "source": "acs.ecs",
    "type": "ecs:Instance:StateChange",
    "subject": "",
    "data": {"state": "Running", "count": 3, "ip": "10.0.0.7", "tags": ["a", "b"], "gone": None, "flag": True},
}

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("an empty pattern lets everything through", {}, True),
    ("a value is compared exactly", {"source": ["acs.ecs"]}, True),
    ("case counts", {"source": ["ACS.ecs"]}, False),
    ("the values of a key are ORed", {"source": ["acs.oss", "acs.ecs"]}, True),
    ("keys are ANDed", {"source": ["acs.ecs"], "type": ["x"]}, False),
    ("nested fields are reached by nesting", {"data": {"state": ["Created", "Running"]}}, True),
    ("a field that is missing does not match", {"data": {"zone": ["a"]}}, False),
    ("a nested pattern does not match a plain value", {"source": {"x": ["y"]}}, False),
    ("an array in the event matches by any of its values", {"data": {"tags": ["b", "c"]}}, True),
    ("an array without a common value does not match", {"data": {"tags": ["c"]}}, False),
    ("null matches null", {"data": {"gone": [None]}}, True),
    ("null does not match a missing field", {"data": {"zone": [None]}}, False),
    ("the empty string matches itself", {"subject": [""]}, True),
    ("true is not 1", {"data": {"flag": [1]}}, False),
]

BAD = [
    "not json",
    "[]",
    '{"source": "acs.ecs"}',
    '{"source": []}',
    '{"source": [["acs.ecs"]]}',
]


@pytest.mark.parametrize(("fact", "pattern", "matches"), CASES, ids=[case[0] for case in CASES])
def test_matching(fact: str, pattern: dict[str, Any], matches: bool) -> None:
    """Each row is one documented fact."""
    assert Pattern(json.dumps(pattern)).matches(EVENT) is matches, fact


@pytest.mark.parametrize("text", BAD)
def test_an_invalid_pattern_is_refused(text: str) -> None:
    """It would never match, so it is a mistake."""
    with pytest.raises(ValueError):
        Pattern(text)


def test_an_operator_is_not_offered() -> None:
    """Wherever it stands."""
    for pattern in ({"source": [{"prefix": "acs."}]}, {"data": {"count": [1, {"numeric": [">", 0]}]}}):
        assert refusal(Pattern, json.dumps(pattern)) == ("NotOfferedByLocalCloud", 501)
