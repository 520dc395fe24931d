"""Which events cloud services publish, and what delivers them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from link_peer_conformance.model import Need, NotAnswered, Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench

section = Section("Events and queues")

SEEN_EVENTS = 200  # at most so many events of one source are read in one row
POLL_SECONDS = 15.0

Event = Mapping[str, Any]


def _wait_for(bench: Bench, source: str, since: float, wanted: Callable[[Event], bool]) -> tuple[Event, float]:
    """The earliest event of a source on the default bus that is wanted, and how many seconds after `since` it was found."""
    read: dict[str, Event] = {}

    def look() -> Event | None:
        found = bench.sdks.events(
            "query_traced_events",
            "QueryTracedEventsRequest",
            event_bus_name="default",
            event_source=source,
            start_time=int(since * 1000) - 5000,
            end_time=int(bench.clock.now() * 1000) + 5000,
            limit=100,
        )
        for traced in (found.data and found.data.events) or []:
            if traced.event_id not in read and len(read) < SEEN_EVENTS:
                asked = {"event_bus_name": "default", "event_id": traced.event_id, "event_source": source}
                body = bench.sdks.events("query_event", "QueryEventRequest", **asked)
                read[traced.event_id] = dict(body.data or {})
        found = [event for event in reversed(read.values()) if wanted(event)]
        return min(found, key=lambda event: str(event.get("time", "")), default=None)

    deadline = since + bench.options.event_seconds
    while (event := look()) is None:
        if bench.clock.now() > deadline:
            raise NotAnswered(
                f"no such event within {bench.options.event_seconds:.0f} s, among {len(read)} of {source}"
            )
        bench.clock.sleep(POLL_SECONDS)
    return event, round(bench.clock.now() - since)


def _data(event: Event) -> Any:
    """An event's content, also where it is JSON text."""
    data = event.get("data", {})
    return json.loads(data) if isinstance(data, str) else data


def _names(event: Event, *words: str) -> bool:
    text = json.dumps(event)
    return all(word in text for word in words)


@section.row(
    36,
    Need.INSTANCES,
    assumed="The content of `ecs:Instance:StateChange` is `data` itself: `data.resourceId`, `data.state`; or it is `data.content`",
    depends="nothing: the trigger's pattern names no state, and the function reads both forms",
    test="`aliyun ecs StartInstance --InstanceId $I`; *trace*",
    expected="`state` and `resourceId`, in `data` or in `data.content`",
    cleanup="release the instance, delete the group",
)
def state_change(bench: Bench) -> Seen:
    """The event of a new instance."""
    began = bench.clock.now()
    instance = bench.instance(bench.group())
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, instance, "StateChange"))
    data = _data(event)
    where = "data.content" if isinstance(data, dict) and "content" in data else "data"
    content = data["content"] if where == "data.content" else data
    keys = sorted(content) if isinstance(content, dict) else []
    return Seen(
        f"{where} has {', '.join(keys)}; after {seconds} s", {"state", "resourceId"} <= set(keys), {"event": event}
    )


@section.row(
    37,
    Need.INSTANCES,
    assumed="The first state of a new instance is `Created` or `Pending`",
    depends="both are accepted; order, duplicates and delay do not matter",
    test="`RunInstances` as in #23; *trace*",
    expected="`Created` or `Pending`",
    cleanup="release the instance, delete the group",
)
def first_state(bench: Bench) -> Seen:
    """The states in the first event of a new instance."""
    began = bench.clock.now()
    instance = bench.instance(bench.group())
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, instance, "StateChange"))
    data = _data(event)
    content = data.get("content", data) if isinstance(data, dict) else {}
    state = str(content.get("state", ""))
    return Seen(f"{state or 'no state'} after {seconds} s", state in ("Created", "Pending"), {"event": event})


def _tag_event(bench: Bench, action: str, tag: Callable[[str], object]) -> Seen:
    """Tag a new group, and see which event of ActionTrail names it."""
    group, began = bench.group(), bench.clock.now()
    tag(group)
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, group, action))
    data = _data(event)
    name = str(data.get("eventName", "")) if isinstance(data, dict) else ""
    where = _named_in(data, group)
    text = f"{event.get('type')}, eventName {name or 'absent'}, the group in {', '.join(where) or 'no field'}, after {seconds} s"
    return Seen(text, name == action and bool(where), {"event": event})


def _named_in(data: object, resource: str) -> list[str]:
    """The fields of an event of ActionTrail that name a resource, of those that the functions read."""
    fields = ("referencedResources", "requestParameters", "resourceName")
    return [field for field in fields if isinstance(data, dict) and _names({"": data.get(field)}, resource)]


@section.row(
    59,
    assumed="Tag changes of security groups are published through ActionTrail as `TagResources`, with `eventName` in `data`, and the group in `referencedResources`, `requestParameters` or `resourceName`",
    depends="locks, consent and managed tags at the event; otherwise the sweep, within 10 minutes",
    test="`aliyun ecs TagResources $R --ResourceType securitygroup --ResourceId.1 $B --Tag.1.Key x --Tag.1.Value y`; *trace*",
    expected="an event with `data.eventName` TagResources that names the group; the report has its JSON and its delay",
)
def tag_event_of_a_group(bench: Bench) -> Seen:
    """The event of TagResources on a group."""
    return _tag_event(
        bench,
        "TagResources",
        lambda group: bench.sdks.ecs.tag("securitygroup", group, **{"link-peer-selftest.event": "x"}),
    )


@section.row(
    87,
    assumed="AddTags and RemoveTags are published under their own names",
    depends="the trigger's pattern names all four actions",
    test="#59 with `aliyun ecs AddTags`",
    expected="an event with `data.eventName` AddTags that names the group",
)
def older_tag_event(bench: Bench) -> Seen:
    """The event of AddTags on a group."""
    tag = bench.models.AddTagsRequestTag(key="link-peer-selftest.event", value="x")
    return _tag_event(
        bench,
        "AddTags",
        lambda group: bench.sdks.ask("add_tags", resource_type="securitygroup", resource_id=group, tag=[tag]),
    )


@section.row(
    38,
    Need.INSTANCES,
    assumed="A tag change of an instance is published through ActionTrail within 10 minutes, with the instance's id in `referencedResources`, `requestParameters` or `resourceName` of `data`",
    depends="auto_link reacts to tag changes; otherwise the sweep does, within 10 minutes",
    test="`aliyun ecs TagResources $R --ResourceType instance --ResourceId.1 $I --Tag.1.Key link-peer --Tag.1.Value $B`; *trace*",
    expected="an event with `data.eventName` TagResources that names the instance; the report has its JSON and its delay",
    cleanup="release the instance, delete the group",
)
def tag_event_of_an_instance(bench: Bench) -> Seen:
    """The event of TagResources on an instance."""
    instance = bench.instance(bench.group())
    bench.until(lambda: bench.instance_of(instance), bool)
    began = bench.clock.now()
    bench.sdks.ecs.tag("instance", instance, **{"link-peer-selftest.event": "x"})
    event, seconds = _wait_for(bench, "acs.ecs", began, lambda e: _names(e, instance, "TagResources"))
    data = _data(event)
    where = _named_in(data, instance)
    text = f"{event.get('type')}, the instance in {', '.join(where) or 'no field'}, after {seconds} s"
    return Seen(text, bool(where), {"event": event})


@section.row(
    39,
    assumed="Changes in the Tag console are published by the Tag service, under a source that no trigger matches",
    depends="no trigger matches them today; the sweep finds them",
    test='`aliyun tag TagResources --RegionId cn-qingdao --ResourceARN.1 arn:acs:ecs:cn-qingdao:<uid>:securitygroup/$B --Tags \'{"x":"y"}\'`; *trace* with `--EventSource acs.tag`',
    expected="an event of `acs.tag`; the report has its JSON",
)
def tag_service_event(bench: Bench) -> Seen:
    """The event of the Tag service's own TagResources."""
    group, began = bench.group(), bench.clock.now()
    arn = f"arn:acs:ecs:{bench.region}:{bench.account}:securitygroup/{group}"
    code = code_of(
        lambda: bench.sdks.raw(
            "tag", "TagResources", RegionId=bench.region, Tags='{"link-peer-selftest.event":"x"}', ResourceARN_1=arn
        )
    )
    if code:
        raise NotAnswered(f"tag:TagResources: {code}")
    event, seconds = _wait_for(bench, "acs.tag", began, lambda e: _names(e, group))
    return Seen(f"{event.get('type')} after {seconds} s", True, {"event": event})


@section.row(
    40,
    assumed="fc3 can create triggers for Alibaba Cloud events, with ApiCall patterns on `data.eventName`",
    depends="`s deploy`; the fallback is deploy/terraform",
    test="`s deploy -y`; `aliyun eventbridge ListRules --EventBusName default`",
    expected="two rules whose targets are auto_link: one on StateChange, one on `data.eventName`",
    cleanup="none",
)
def deployed_rules(bench: Bench) -> Seen:
    """The rules of the default bus whose target is this deployment's auto_link."""
    body = bench.sdks.events("list_rules", "ListRulesRequest", event_bus_name="default", limit=100)
    function = f"{bench.options.prefix}-auto-link"
    rules = [
        rule
        for rule in (body.data and body.data.rules) or []
        if any(function in str(target.endpoint) for target in rule.targets or [])
    ]
    if not rules:
        raise NotAnswered(f"no rule has {function} as its target: s deploy -y first")
    patterns = [str(rule.filter_pattern) for rule in rules]
    fits = any("StateChange" in each for each in patterns) and any("eventName" in each for each in patterns)
    return Seen(
        f"{len(rules)} rule(s)", fits, {"patterns": patterns, "targets": [str(r.targets[0].endpoint) for r in rules]}
    )


section.by_hand(
    41,
    why="needs the deployed functions, and a day",
    assumed="The stream treats 200 with `X-Fc-Error-Type` as a failure, redelivers, and dead-letters after a day",
    depends="a message whose function raises is redelivered",
    test='set a wrong `LINK_PEER_AUDIT_LOGSTORE` in the function\'s environment; `link-peer request link …`; `s logs cross_account`; then the snippet of operations.md, "Dead letters"',
    expected="attempts for a day, then one dead letter",
    cleanup="`s deploy -y` resets the environment; delete the dead letter",
)
section.by_hand(
    42,
    why="needs the deployed functions",
    assumed="The stream pushes arrays of one, with `messageBody` decoded from base64",
    depends="every form is accepted",
    test="`link-peer request sync …`; `s logs cross_account` with a test function in its place that prints the event",
    expected="a list of one CloudEvent; `data.messageBody` is JSON text",
    cleanup="`s deploy -y`",
)
section.by_hand(
    43,
    why="needs the deployed functions",
    assumed="The ARN of a dead-letter queue in `onFailure` is `acs:mns:<region>:<uid>:/queues/<queue>/messages`; in a trigger's `deadLetterQueue` it is `acs:mns:<region>:<uid>:/queues/<queue>`",
    depends="dead letters of auto_link, sweep and the stream",
    test='a test function that raises in place of `sweep`; `s invoke sweep --invocation-type async`; the snippet of operations.md, "Dead letters"; the same with a message that cross_account cannot carry out, after its retries',
    expected="one dead letter each; it also shows whether dead letters are base64-encoded",
    cleanup="`s deploy -y`; delete the dead letters",
)
section.by_hand(
    57,
    why="needs the deployed functions",
    assumed="The `subject` of a queue's message in the stream is `acs:mns:<region>:<uid>:queues/<name>`, or has `:/queues/`",
    depends="a queue of an account's own proves who asks. With a third form, the queue counts as not proven, and requests of such accounts are denied",
    test="`link-peer request sync …`; `queue` of its audit record",
    expected="the queue's name",
)
section.by_hand(
    58,
    why="needs the deployed functions",
    assumed="The stream delivers a message with `DelaySeconds` after that delay, and no earlier",
    depends="the delay of a message that was put back",
    test="send a request with a delay of 60 s in the queue's console; `time` of its outcome",
    expected="60 s after it was sent, or a little later",
)
section.by_hand(
    82,
    why="needs the deployed functions",
    assumed="Retries and a dead-letter queue (`runOptions`) may be set on a trigger for cloud events, whose help page names message sources only",
    depends="nothing: auto_link is invoked asynchronously, and its own configuration retries and dead-letters",
    test="`aliyun eventbridge GetRule --EventBusName default --RuleName <rule>` after `s deploy -y`; then with `runOptions` in s.yaml",
    expected="without them, as shipped, the default (BACKOFF_RETRY); with them either the settings or an error of `s deploy`",
    cleanup="`s deploy -y` with the shipped s.yaml",
)
section.by_hand(
    83,
    why="needs the deployed functions",
    assumed="A trigger whose qualifier is an alias invokes the version that the alias names",
    depends="rollback: `live` is moved, triggers stay",
    test="`s deploy -y` twice with different code; move the alias `live` to the first version; `link-peer request sync …`; `s logs cross_account`",
    expected="the first version answers",
    cleanup="move the alias back",
)
section.by_hand(
    72,
    why="needs the deployed functions",
    assumed="The interval between asynchronous retries of a function is seconds to minutes; no page gives it",
    depends="nothing: what is not shown yet is looked at again through the queue",
    test="a test function that raises in place of `sweep`; `s invoke sweep --invocation-type async`; the times in `s logs sweep`",
    expected="as many attempts as `maxAsyncRetryAttempts`; the intervals are new knowledge",
    cleanup="`s deploy -y`",
)
section.by_hand(
    132,
    why="needs an account that has not used EventBridge",
    assumed="EventBridge has events of ECS and invokes functions only where its service-linked roles exist; CreateServiceLinkedRoleForProduct makes each by its name",
    depends="every event: `link-peer setup` makes AliyunServiceRoleForEventBridgeSendToFC, …SendToMNS, …SourceCMS and …SourceActionTrail",
    test="`link-peer setup`; `aliyun ram GetRole --RoleName AliyunServiceRoleForEventBridgeSourceActionTrail`, the same for the others; tag an instance; `link-peer audit`",
    expected="four roles, and a record",
)
