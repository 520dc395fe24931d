"""EventBridge: the bus, its rules, and PutEvents. Cloud services publish to the bus `default` of their region."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loaded, loads
from aliyun_local.core.identity import Caller, Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.eventbridge import linked_roles, traces
from aliyun_local.eventbridge.pattern import Pattern
from aliyun_local.eventbridge.rules import RULE_ACTIONS, Event, Rule, Target, answer

# [doc EventBridge limits]
MAX_EVENT_BYTES = 256 * 1024
MAX_LENGTH = {"id": 128, "source": 128, "subject": 512, "type": 64}

_ATTRIBUTES = {
    "Id": "id",
    "Source": "source",
    "SpecVersion": "specversion",
    "Type": "type",
    "DataContentType": "datacontenttype",
    "DataSchema": "dataschema",
    "Subject": "subject",
    "Time": "time",
}


ACTIONS = frozenset({"ListEventBuses", "PutEvents"}) | RULE_ACTIONS | traces.TRACE_ACTIONS | linked_roles.ACTIONS
"""The operations that are offered."""

_SUCCESS = {"Code": "Success", "Success": True, "Message": ""}


class EventBridge:
    """The bus of every account. Delivery is at least once: with `copies = 2` every event is delivered twice.

    `recent` holds the last events, oldest first.
    """

    def __init__(self, clock: Clock, region: str, identity: Identity, knobs: Knobs) -> None:
        self._clock = clock
        self._region = region
        self._identity = identity
        self._knobs = knobs
        self._lock = threading.RLock()
        self._rules: dict[str, list[Rule]] = {}
        self.copies = 1
        self.recent: deque[Event] = deque(maxlen=1000)

    def add_rule(
        self,
        account: str,
        name: str,
        pattern: str,
        target: Target,
        *,
        endpoint: str = "",
        dead_letters: str = "",
        enabled: bool = True,
    ) -> None:
        """Add a rule to the bus, or replace the one with its name. ValueError for an invalid pattern or a full bus."""
        rule = Rule(name, Pattern(pattern), target, pattern, endpoint, dead_letters, enabled, self._clock.now())
        with self._lock:
            rules = [old for old in self._rules.get(account, []) if old.name != name]
            if len(rules) >= self._knobs.rules_per_bus:
                raise ValueError(f"bus default already has {self._knobs.rules_per_bus} rules")
            self._rules[account] = [*rules, rule]

    def remove_rule(self, account: str, name: str) -> None:
        """Remove a rule, if there is one of this name."""
        with self._lock:
            self._rules[account] = [rule for rule in self._rules.get(account, []) if rule.name != name]

    def publish(self, account: str, event: Event) -> None:
        """Publish an event of a cloud service on the account's default bus, if EventBridge may read its source."""
        trail = ":ActionTrail:" in str(event.get("type", ""))
        if self.linked(account, linked_roles.SOURCE_ACTIONTRAIL if trail else linked_roles.SOURCE_CMS):
            self._deliver(account, event)

    def linked(self, account: str, *roles: str) -> bool:
        """Whether an account has these service-linked roles."""
        return linked_roles.exists(self._identity, account, *roles)

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Run one RPC action: the answer without RequestId, or ApiError."""
        if action == "PutEvents":
            return self._put_events(caller, params)
        if action == "ListEventBuses":
            return self._list_event_buses(caller)
        if action in linked_roles.ACTIONS:
            now = self._clock.now()
            return {**_SUCCESS, **linked_roles.answer(self._identity, caller.account, action, params, now, self._knobs)}
        bus = params.get("EventBusName", "")
        if bus != "default":
            raise ApiError("EventBusNotExist", 404, f"The event bus [{bus}] not existed!")
        data = self._look(caller.account, action, params)
        return {**_SUCCESS, "Data": data}

    def _look(self, account: str, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """What a caller may read of the default bus: its rules, and the events that it received."""
        with self._lock:
            rules = list(self._rules.get(account, []))
            events = [event for event in self.recent if event["aliyunaccountid"] == account]
        if action in RULE_ACTIONS:
            place = f"acs:eventbridge:{self._region}:{account}:eventbus/default"
            return answer(action, params, rules, place)
        return traces.answer(action, params, events)

    def _list_event_buses(self, caller: Caller) -> dict[str, Any]:
        """The default bus, which every account has; there are no others here [doc SDK eventbridge20200401]."""
        arn = f"acs:eventbridge:{self._region}:{caller.account}:eventbus/default"
        bus = {"EventBusName": "default", "EventBusARN": arn, "Description": "", "CreateTimestamp": 0}
        return {**_SUCCESS, "Data": {"EventBuses": [bus], "Total": 1}}

    def _put_events(self, caller: Caller, params: Mapping[str, str]) -> dict[str, Any]:
        bus = params.get("EventBusName", "")
        if not bus:
            raise ApiError("EventBusNameEmpty", 400)
        entries = loaded(params.get("EventList", ""))
        if isinstance(entries, list):
            entries = [_event(entry, bus) if isinstance(entry, dict) else entry for entry in entries]
        outcome = self.put(caller.account, entries)
        # Clients differ in where they look for the outcome, so it is in both places.
        # Code is "200" here, where the other operations say "Success" [doc SDK eventbridge20200401].
        return {"Code": "200", "Success": True, "Message": "", **outcome, "Data": outcome}

    def put(self, account: str, events: Any) -> dict[str, Any]:
        """Publish CloudEvents, each of which names its bus in `aliyuneventbusname`; an invalid one fails alone."""
        if not isinstance(events, list) or not events:
            raise ApiError("EventListEmpty", 400)
        for bus in [event.get("aliyuneventbusname") for event in events if isinstance(event, dict)]:
            if not bus:
                raise ApiError("EventBusNameEmpty", 400)
            if bus != "default":
                raise ApiError("EventBusNotExist", 404, f"The event bus [{bus}] not existed!")
        results = []
        for event in events:
            problem = _problem(event)
            if problem:
                results.append({"ErrorCode": "InvalidCloudEvents", "ErrorMessage": problem})
                continue
            self._deliver(account, event)
            results.append({"EventId": event["id"], "TraceId": uuid.uuid4().hex})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "EntryList": results}

    def _deliver(self, account: str, event: Event) -> None:
        now = utc(self._clock.now())
        event = {
            "id": str(uuid.uuid4()),
            "specversion": "1.0",
            "datacontenttype": "application/json;charset=utf-8",
            "time": now,
            **event,
            # The bus sets these; senders cannot.
            "aliyunaccountid": account,
            "aliyunpublishtime": now,
            "aliyuneventbusname": "default",
            "aliyunregionid": self._region,
            "aliyunpublishaddr": "127.0.0.1",
        }
        with self._lock:
            self.recent.append(event)
            if not self.linked(account, linked_roles.SEND_TO_FC):
                return
            targets = [
                rule.target for rule in self._rules.get(account, []) if rule.enabled and rule.pattern.matches(event)
            ]
        for target in targets:
            for _ in range(self.copies):
                target(json.loads(json.dumps(event)))


def _event(entry: Mapping[str, Any], bus: str) -> Event:
    """The CloudEvent of an entry of PutEvents."""
    event = {_ATTRIBUTES[key]: entry[key] for key in _ATTRIBUTES if entry.get(key)}
    if entry.get("Data") is not None:
        event["data"] = _data(entry["Data"])
    return {**event, "aliyuneventbusname": bus}


def _problem(event: Any) -> str:
    """Why a value is not a CloudEvent; empty if it is one."""
    if not isinstance(event, dict):
        return "The event is not a JSON object."
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            return f"The attribute [{name}] is required."
    for name, limit in MAX_LENGTH.items():
        if len(str(event.get(name, ""))) > limit:
            return f"The attribute [{name}] is longer than {limit}."
    if len(json.dumps(event).encode()) > MAX_EVENT_BYTES:
        return f"The event is larger than {MAX_EVENT_BYTES} bytes."
    return ""


def _data(data: Any) -> Any:
    """The data, which is sent as an object or as JSON text; other text stays text."""
    if isinstance(data, str):
        try:
            return loads(data)
        except ValueError:
            return data
    return data
