"""ActionTrail: the write calls of ECS, refused ones included, as events that LookupEvents finds.

[doc SDK actiontrail20200706 2.6.0; doc-detail 28821]. Real events can be looked up about ten minutes later; here at
once, unless `visible_after` says otherwise.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller
from aliyun_local.ecs.params import Params

ACTIONS = ("LookupEvents",)
REMEMBERED = 100_000
_WEEK = 7 * 86_400.0
_KEPT, _SPAN = 90 * 86_400.0, 30 * 86_400.0  # [doc-detail 28849: within 90 days, over at most 30; the code is a guess]
_FIELDS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "ServiceName": lambda event: [event["serviceName"]],
    "EventName": lambda event: [event["eventName"]],
    "User": lambda event: [event["userIdentity"]["userName"]],
    "EventId": lambda event: [event["eventId"]],
    "EventRW": lambda event: [event["eventRW"]],
    "ResourceType": lambda event: list(event["referencedResources"]),
    "ResourceName": lambda event: [name for names in event["referencedResources"].values() for name in names],
}
"""Conditions -> the values of an event that may meet them. EventAccessKeyId is not offered: no event here has one."""


class ActionTrail:
    """The events of every account, oldest first."""

    def __init__(self, clock: Clock, region: str) -> None:
        self._clock = clock
        self._region = region
        self._lock = threading.Lock()
        self._events: dict[str, deque[tuple[float, dict[str, Any]]]] = {}
        self.visible_after = 0.0

    def record(self, account: str, event: Mapping[str, Any]) -> None:
        """Keep an event of the bus if it is one of ActionTrail's."""
        if str(event.get("type", "")).endswith(":ActionTrail:ApiCall"):
            with self._lock:
                events = self._events.setdefault(account, deque(maxlen=REMEMBERED))
                events.append((self._clock.now(), event["data"]))

    def newest(self, account: str) -> dict[str, Any]:
        """The last event of an account, whether LookupEvents shows it yet or not. Raises IndexError if it has none."""
        with self._lock:
            return self._events.get(account, deque())[-1][1]

    def call(self, caller: Caller, _action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """LookupEvents: the answer without RequestId, or ApiError."""
        return self._lookup(caller.account, Params(params))

    def _lookup(self, account: str, params: Params) -> dict[str, Any]:
        now = self._clock.now()
        start, end = _time(params, "StartTime", now - _WEEK), _time(params, "EndTime", now)
        if start > end or end - start > _SPAN or start < now - _KEPT:
            raise ApiError("InvalidTimeRangeException", 400)
        size, direction = params.integer("MaxResults", 20), params.get("Direction", "BACKWARD")
        if not 0 <= size <= 50:
            raise ApiError("InvalidMaxResultsException", 400)
        if direction not in ("FORWARD", "BACKWARD"):
            raise ApiError("InvalidDirectionException", 400)
        meets = _condition(params)
        with self._lock:
            events = [
                event
                for received, event in self._events.get(account, ())
                if received <= now - self.visible_after
                and utc(start) <= event["eventTime"] <= utc(end)
                and meets(event)
            ]
        if direction == "BACKWARD":
            events.reverse()
        offset = params.integer("NextToken", 0)
        page = {"Events": events[offset : offset + size], "StartTime": utc(start), "EndTime": utc(end)}
        has_more = offset + size < len(events) and size > 0
        return {**page, "NextToken": str(offset + size)} if has_more else page


def _condition(params: Params) -> Callable[[dict[str, Any]], bool]:
    """The test of the one condition that a query may have."""
    conditions = params.records("LookupAttribute")
    if len(conditions) > 1:
        raise ApiError("InvalidLookupAttributesException", 400)
    if not conditions:
        return lambda _event: True
    key, value = conditions[0].get("Key", ""), conditions[0].get("Value", "")
    if key not in _FIELDS:
        raise ApiError("InvalidLookupAttributesException", 400, "The specified LookupAttribute is invalid.")
    return lambda event: value in _FIELDS[key](event)


def _time(params: Params, name: str, default: float) -> float:
    text = params.get(name)
    if not text:
        return default
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise ApiError(f"Invalid{name}Exception", 400, f"The specified {name} is invalid.") from None
