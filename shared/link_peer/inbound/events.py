"""Parses platform events into hints: which instance to look at, and why.

An event is a hint, never a fact: anyone who may put events on the bus can forge one, and it may arrive twice, late or
never. So only ids are taken from it, after a check of their syntax; everything else is read from the cloud.
There are three kinds of event: EventBridge's `ecs:Instance:StateChange` [doc ecs-events], CloudMonitor's older one
[doc Instance event notification], and ActionTrail's record of a call that changed tags [doc actiontrail-events].
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from link_peer.domain.errors import BadInput
from link_peer.domain.hint import Hint
from link_peer.domain.tags import is_account_uid, is_instance_id, parse_instant, quoted

MAX_BYTES = 1024 * 1024  # an event is at most 256 KB [doc limits]
MAX_BATCH_BYTES = 32 * 1024 * 1024  # a batch of queue messages is one synchronous call, at most 32 MB [doc limits]

STATES = frozenset({"Created", "Pending", "Running", "Deleted"})
"""The states that can change links. Older documents call Pending what newer ones call Created."""

TAG_CALLS = frozenset({"TagResources", "UntagResources"})
"""The API calls, as ActionTrail names them, that change tags."""

_TRAIL = re.compile(r"ecs:ActionTrail:(ApiCall|ConsoleOperation|AliyunServiceEvent)")
_RESOURCE_ID = re.compile(r"resourceids?(\.[0-9]{1,4})?")
_INSTANCE_KINDS = frozenset({"instance", "acs::ecs::instance"})
# "20190409T121826.922+0800"
_OLD_TIME = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(\.[0-9]{1,9})?([+-][0-9]{2})([0-9]{2})"
)


def elements(event: bytes, limit: int = MAX_BYTES) -> list[object]:
    """The elements of a delivery, which is one JSON object or an array. They are not validated yet.

    Raises BadInput if the delivery is longer than `limit` bytes or is not JSON.
    """
    if len(event) > limit:
        raise BadInput("event", f"longer than {limit // 1024} KB")
    try:
        found = json.loads(event.decode("utf-8"), parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise BadInput("event", "nested too deeply") from None
    except ValueError:
        raise BadInput("event", "not JSON") from None
    if isinstance(found, dict):
        return [found]
    if isinstance(found, list):
        return found
    raise BadInput("event", "neither an object nor an array")


def decode(element: object, *, home: str, region: str) -> list[Hint | BadInput]:
    """The hints of an event, one for each instance, and an error for each invalid instance id that it names.

    The list is empty if the event cannot change links. Raises BadInput if the event is invalid, or is not for the account
    `home` and this region.
    """
    event = _mapping(element, "event")
    if "specversion" not in event and "product" in event:
        return _old_state_change(event, home, region)
    source = _text(event, "source")
    if source != "acs.ecs":
        raise BadInput("source", f"{quoted(source)} is not acs.ecs")
    kind = _text(event, "type")
    trail = _TRAIL.fullmatch(kind) is not None
    if not trail and kind != "ecs:Instance:StateChange":
        return []
    data = _mapping(event.get("data"), "data")
    when = _time(event.get("time"))
    common: dict[str, Any] = {
        "event_id": _text(event, "id"),
        "source": source,
        "account": _account(event.get("aliyunaccountid"), "aliyunaccountid", home),
        "region": _region(event.get("aliyunregionid"), "aliyunregionid", region),
        "time": when if when is not None else _time(data.get("eventTime")),
    }
    if trail:
        return [
            BadInput("data", f"{_shown(instance)} is not an instance id (i-…)")
            if not isinstance(instance, str) or not is_instance_id(instance)
            else Hint(instance=instance, kind="tags", **common)
            for instance in _tagged(data, region)
        ]
    # In the documentation, data is the content itself; existing receivers also read data.content.
    return _state_change(_mapping(data["content"], "data.content") if "content" in data else data, common)


def queue_message(element: object) -> tuple[str, str]:
    """(event id, message body) of an element of the queue's stream: a CloudEvent, its data alone (RawData), or the body.

    Lenient on purpose: the message is validated later and its envelope grants nothing. The id is empty if it is invalid.
    Raises BadInput if there is no body.
    """
    if isinstance(element, str):
        return "", element
    event = _mapping(element, "event")
    wrapped = "specversion" in event or ("data" in event and "action" not in event)
    inner = event.get("data") if wrapped else event
    if isinstance(inner, str):
        return queue_id(event), inner
    inner = _mapping(inner, "data")
    if "messageBody" not in inner:
        return queue_id(event), _dumped(inner)  # without an envelope: perhaps the request itself
    body = inner["messageBody"]
    return queue_id(event), body if isinstance(body, str) else _dumped(_mapping(body, "messageBody"))


def queue_id(element: object) -> str:
    """The event id or else the message id of an element of the queue's stream; empty if neither is valid."""
    if not isinstance(element, dict):
        return ""
    for field in ("id", "messageId"):
        try:
            return _text(element, field)
        except BadInput:
            continue
    return ""


def _old_state_change(event: dict[str, Any], home: str, region: str) -> list[Hint | BadInput]:
    if event.get("product") != "ECS" or event.get("name") != "Instance:StateChange":
        return []
    when = _OLD_TIME.fullmatch(event["eventTime"]) if isinstance(event.get("eventTime"), str) else None
    common: dict[str, Any] = {
        "event_id": _text(event, "id"),
        "source": "acs.ecs",
        "account": _account(event.get("userId"), "userId", home),
        "region": _region(event.get("regionId"), "regionId", region),
        "time": _time("{}-{}-{}T{}:{}:{}{}{}:{}".format(*when.groups(""))) if when else None,
    }
    return _state_change(_mapping(event.get("content"), "content"), common)


def _state_change(content: dict[str, Any], common: dict[str, Any]) -> list[Hint | BadInput]:
    state = _text(content, "state")
    instance = _text(content, "resourceId")
    if not is_instance_id(instance):
        raise BadInput("resourceId", f"{quoted(instance)} is not an instance id (i-…)")
    return [Hint(instance=instance, kind="state", state=state, **common)] if state in STATES else []


def _tagged(data: dict[str, Any], region: str) -> list[object]:
    """The ids, unchecked and without duplicates, of the instances whose tags a call changed.

    ActionTrail also records a refused call, with its errorCode: that one changed nothing. The documentation disagrees on
    which fields hold the ids and the resource type, so all of them are read.
    """
    if _text(data, "eventName") not in TAG_CALLS or data.get("errorCode"):
        return []
    _region(data.get("acsRegion"), "data.acsRegion", region)
    found: list[object] = []
    kinds: set[str] = set()
    referenced = data.get("referencedResources")
    if isinstance(referenced, dict):
        kinds |= {str(kind).lower() for kind in referenced}
        found += _list(referenced.get("ACS::ECS::Instance"))
    if isinstance(data.get("resourceType"), str):
        kinds.add(data["resourceType"].lower())
        if data["resourceType"].lower() in _INSTANCE_KINDS and isinstance(data.get("resourceName"), str):
            found += data["resourceName"].split(";")
    parameters = {str(key).lower(): value for key, value in _parsed(data.get("requestParameters")).items()}
    if isinstance(parameters.get("resourcetype"), str):
        kinds.add(parameters["resourcetype"].lower())
        if parameters["resourcetype"].lower() in _INSTANCE_KINDS:
            for key, value in parameters.items():
                found += _list(value) if _RESOURCE_ID.fullmatch(key) else []
    if not found and (not kinds or kinds & _INSTANCE_KINDS):
        raise BadInput("data", "the tag change names no resource")
    return list({repr(instance): instance for instance in found}.values())


def _parsed(value: object) -> dict[str, Any]:
    """Request parameters: an object, or its JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """ActionTrail writes one id as a string, and several as an array or as the JSON text of an array."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


def _mapping(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(field, "missing or not an object")
    return value


def _text(event: dict[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise BadInput(field, "missing or not a string of 1 to 128 printable characters")
    return value


def _account(value: object, field: str, home: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not is_account_uid(value):
        raise BadInput(field, "not an account uid")
    if value != home:
        raise BadInput(field, f"{value} is not this function's account")
    return value


def _region(value: object, field: str, region: str) -> str:
    """The function's own region. An event may omit it, but may not name another."""
    if value is not None and value != region:
        raise BadInput(field, f"{_shown(value)} is not this function's region")
    return region


def _time(value: object) -> float | None:
    """Epoch seconds, or None if invalid: the time only tells how old the event is, so it is no reason to reject it."""
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except BadInput:
        return None


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else "the value"


def _dumped(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise BadInput("messageBody", "nested too deeply") from None


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else _refuse(text)
