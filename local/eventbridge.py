"""EventBridge: buses, rules, and PutEvents. Cloud services publish to the bus `default` of their region."""

from __future__ import annotations

import json
import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local.clock import Clock, utc
from local.errors import ApiError
from local.identity import Caller
from local.pattern import Pattern

Event = dict[str, Any]
Target = Callable[[Event], None]

# [doc EventBridge limits]
RULES_PER_BUS = 50
MAX_EVENT_BYTES = 256 * 1024
MAX_LENGTH = {"Id": 128, "Source": 128, "Subject": 512, "Type": 64}

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


@dataclass(frozen=True, slots=True)
class Rule:
    """What goes where: every matching event of the bus is handed to the target."""

    name: str
    pattern: Pattern
    target: Target


class EventBridge:
    """Every account's buses. Delivery is at least once: `copies = 2` hands every event over twice."""

    ACTIONS = frozenset({"PutEvents"})

    def __init__(self, clock: Clock, region: str) -> None:
        self._clock = clock
        self._region = region
        self._lock = threading.RLock()
        self._rules: dict[tuple[str, str], list[Rule]] = {}
        self.copies = 1
        self.recent: deque[Event] = deque(maxlen=1000)

    def add_rule(self, account: str, name: str, pattern: str, target: Target, bus: str = "default") -> None:
        """A rule on a bus; a rule of the same name is replaced. ValueError for a bad pattern."""
        rule = Rule(name, Pattern(pattern), target)
        with self._lock:
            rules = [old for old in self._rules.get((account, bus), []) if old.name != name]
            if len(rules) >= RULES_PER_BUS:
                raise ValueError(f"bus {bus} holds {RULES_PER_BUS} rules already")
            self._rules[account, bus] = [*rules, rule]

    def publish(self, account: str, event: Event) -> None:
        """An event of a cloud service, or one that PutEvents accepted: attributes are added, rules run."""
        self._deliver(account, "default", event)

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """The RPC entrance."""
        if action not in self.ACTIONS:
            raise ApiError(
                "InvalidAction.NotFound", 404, "Specified api is not found, please check your url and method."
            )
        return self._put_events(caller, params)

    def _put_events(self, caller: Caller, params: Mapping[str, str]) -> dict[str, Any]:
        bus = params.get("EventBusName", "")
        if not bus:
            raise ApiError("EventBusNameEmpty", 400, "The event bus name is required.")
        if bus != "default":
            raise ApiError("EventBusNotExist", 404, f"The event bus [{bus}] not existed!")
        try:
            entries = json.loads(params.get("EventList", ""))
        except ValueError:
            entries = None
        if not isinstance(entries, list) or not entries:
            raise ApiError("EventListEmpty", 400, "The event list is not a JSON array of events.")
        results = []
        for entry in entries:
            problem = _problem(entry)
            if problem:
                results.append({"ErrorCode": "InvalidCloudEvents", "ErrorMessage": problem})
                continue
            event = {_ATTRIBUTES[key]: entry[key] for key in _ATTRIBUTES if entry.get(key)}
            event.setdefault("specversion", "1.0")
            if entry.get("Data") is not None:
                event["data"] = _data(entry["Data"])
            self._deliver(caller.account, bus, event)
            results.append({"EventId": event["id"], "TraceId": uuid.uuid4().hex})
        outcome = {"FailedEntryCount": sum("ErrorCode" in result for result in results), "EntryList": results}
        # The clients differ in where they look for the outcome, so it stands in both places.
        return {"Code": "Success", "Success": True, "Message": "", **outcome, "Data": outcome}

    def _deliver(self, account: str, bus: str, event: Event) -> None:
        now = utc(self._clock.now())
        event = {
            "id": str(uuid.uuid4()),
            "specversion": "1.0",
            "datacontenttype": "application/json;charset=utf-8",
            "time": now,
            **event,
            # The bus's own attributes are never the sender's.
            "aliyunaccountid": account,
            "aliyunpublishtime": now,
            "aliyuneventbusname": bus,
            "aliyunregionid": self._region,
            "aliyunpublishaddr": "127.0.0.1",
        }
        with self._lock:
            self.recent.append(event)
            targets = [rule.target for rule in self._rules.get((account, bus), []) if rule.pattern.matches(event)]
        for target in targets:
            for _ in range(self.copies):
                target(json.loads(json.dumps(event)))


def _problem(entry: Any) -> str:
    """Why an entry of PutEvents is no CloudEvent; empty if it is one."""
    if not isinstance(entry, dict):
        return "The event is not a JSON object."
    for key in ("Id", "Source", "Type"):
        if not isinstance(entry.get(key), str) or not entry[key]:
            return f"The attribute [{key.lower()}] is required."
    for key, limit in MAX_LENGTH.items():
        if len(str(entry.get(key, ""))) > limit:
            return f"The attribute [{key.lower()}] is longer than {limit}."
    if len(json.dumps(entry).encode()) > MAX_EVENT_BYTES:
        return f"The event is larger than {MAX_EVENT_BYTES} bytes."
    return ""


def _data(data: Any) -> Any:
    """Data comes as an object or as JSON text; other text stays text."""
    if isinstance(data, str):
        try:
            return json.loads(data)
        except ValueError:
            return data
    return data
