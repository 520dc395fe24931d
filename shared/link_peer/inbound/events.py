"""Platform events, from bytes to hints: which instance to look at, and why.

An event is a hint, never a fact: anybody who may put to the bus can write one, and it may come twice, late, or never.
So only ids are taken from it, checked by the grammar; everything else is read from the cloud.
Three forms are read: EventBridge's `ecs:Instance:StateChange` [doc ecs-events], the older form of CloudMonitor
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
MAX_BATCH_BYTES = 32 * 1024 * 1024  # of queue messages, as many as one synchronous call may carry [doc limits]

STATES = frozenset({"Created", "Pending", "Running", "Deleted"})
"""The states that matter. Older documents say Pending where newer ones say Created."""

TAG_CALLS = frozenset({"TagResources", "UntagResources"})

_TRAIL = re.compile(r"ecs:ActionTrail:(ApiCall|ConsoleOperation|AliyunServiceEvent)")
_RESOURCE_ID = re.compile(r"resourceids?(\.[0-9]{1,4})?")
_INSTANCE_KINDS = frozenset({"instance", "acs::ecs::instance"})
# "20190409T121826.922+0800"
_OLD_TIME = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(\.[0-9]{1,9})?([+-][0-9]{2})([0-9]{2})"
)


def elements(event: bytes, limit: int = MAX_BYTES) -> list[object]:
    """The elements of a delivery, which is one object or an array of them. Each is decoded on its own later."""
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
    """The instances that an event is about, and what is wrong with others that it names; none where none of ours.
    Raises BadInput where it is no event for us."""
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
            BadInput("data", f"{_shown(instance)} is not i-…")
            if not isinstance(instance, str) or not is_instance_id(instance)
            else Hint(instance=instance, kind="tags", **common)
            for instance in _tagged(data, region)
        ]
    # The documents show the content itself as data; receivers in the field also read data.content.
    return _state_change(_mapping(data["content"], "data.content") if "content" in data else data, common)


def queue_message(element: object) -> tuple[str, str]:
    """(event id, message body) of an element of a queue's stream: a CloudEvent, its data alone (RawData), or the body.

    Read with tolerance: a message carries no authority, so its wrapping needs none. An id that cannot be read is empty.
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
        return queue_id(event), _dumped(inner)  # the request itself, if it is one
    body = inner["messageBody"]
    return queue_id(event), body if isinstance(body, str) else _dumped(_mapping(body, "messageBody"))


def queue_id(element: object) -> str:
    """The id of an element of a queue's stream, of the event or of the message; empty where it cannot be read."""
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
        raise BadInput("resourceId", f"{quoted(instance)} is not i-…")
    return [Hint(instance=instance, kind="state", state=state, **common)] if state in STATES else []


def _tagged(data: dict[str, Any], region: str) -> list[object]:
    """What a call names as the instances whose tags it changed, each once. A refused call is recorded too, with its error:
    it changed nothing. Where ids and kinds stand differs between documents, so all of their places are read."""
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
        raise BadInput("data", "a change of tags that names no resource")
    return list({repr(instance): instance for instance in found}.values())


def _parsed(value: object) -> dict[str, Any]:
    """Parameters, which may come as the JSON text of an object."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    """ActionTrail writes one id as a text, several as a list or as the JSON text of one."""
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
        raise BadInput(field, "missing, or not an object")
    return value


def _text(event: dict[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise BadInput(field, "missing, or not a text of 1 to 128 printable characters")
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
    """The function's own region, which an event may leave out but not contradict."""
    if value is not None and value != region:
        raise BadInput(field, f"{_shown(value)} is not this function's region")
    return region


def _time(value: object) -> float | None:
    """An event's time only says how fresh it is: an unreadable one is no reason to lose the event."""
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except BadInput:
        return None


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else "what stands there"


def _dumped(value: dict[str, Any]) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise BadInput("messageBody", "nested too deeply") from None


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _whole(text: str) -> int:
    return int(text) if len(text) <= 20 else _refuse(text)
