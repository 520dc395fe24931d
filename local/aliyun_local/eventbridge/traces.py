"""What a bus received: QueryTracedEvents lists it, QueryEvent shows one event. Fields are the SDK's [src
eventbridge20200401 8.7.0].

The order of the list is not documented; here it is newest first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.eventbridge.rules import Event

TRACE_ACTIONS = frozenset({"QueryTracedEvents", "QueryEvent"})
MAX_PAGE = 100


def answer(action: str, params: Mapping[str, str], events: Sequence[Event]) -> dict[str, Any]:
    """The `Data` of one of TRACE_ACTIONS. `events` are those of the caller's bus, oldest first."""
    return _event(params, events) if action == "QueryEvent" else _list(params, events)


def _event(params: Mapping[str, str], events: Sequence[Event]) -> dict[str, Any]:
    event_key = _required(params, "EventId"), _required(params, "EventSource")
    traced_event = next((event for event in events if (event["id"], event["source"]) == event_key), None)
    if traced_event is None:
        raise ApiError("EventNotExist", 404, f"The event [{event_key[0]}] not existed!")
    event_copy: dict[str, Any] = json.loads(json.dumps(traced_event))
    return event_copy


def _list(params: Mapping[str, str], events: Sequence[Event]) -> dict[str, Any]:
    start, end = (_number(params, name) for name in ("StartTime", "EndTime"))
    filters = {"source": params.get("EventSource"), "type": params.get("EventType"), "subject": params.get("Subject")}
    matching_events = [
        event
        for event in reversed(events)
        if start <= _received(event) <= end
        and all(event.get(name) == value for name, value in filters.items() if value)
    ]
    first = _number(params, "NextToken", "0")
    limit = _number(params, "Limit", "10")
    if not 1 <= limit <= MAX_PAGE:
        raise ApiError("InvalidParameter", 400, f"Limit must be between 1 and {MAX_PAGE}.")
    next_page = {"NextToken": str(first + limit)} if first + limit < len(matching_events) else {}
    return {
        "Events": [_traced(event) for event in matching_events[first : first + limit]],
        "Total": len(matching_events),
        **next_page,
    }


def _traced(event: Event) -> dict[str, Any]:
    return {
        "EventBusName": event["aliyuneventbusname"],
        "EventId": event["id"],
        "EventSource": event["source"],
        "EventType": event["type"],
        "EventReceivedTime": _received(event),
    }


def _received(event: Event) -> int:
    """When the bus took the event, in epoch milliseconds."""
    return round(datetime.fromisoformat(event["aliyunpublishtime"].replace("Z", "+00:00")).timestamp() * 1000)


def _required(params: Mapping[str, str], name: str) -> str:
    if not params.get(name):
        raise ApiError("MissingParameter", 400, f"The parameter {name} is required.")
    return params[name]


def _number(params: Mapping[str, str], name: str, default: str = "") -> int:
    text = params.get(name) or default or _required(params, name)
    if not (text.isascii() and text.isdigit()):
        raise ApiError("InvalidParameter", 400, f"The parameter {name} must be a number.")
    return int(text)
