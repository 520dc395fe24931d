"""Parses platform events into hints: which instance or security group to look at, and why.

An event is a hint, never a fact: anyone who may put events on the bus can forge one, and it may arrive twice, late or
never. So only ids are taken from it, after a check of their syntax; everything else is read from the cloud. There are
three forms of event: EventBridge's `ecs:Instance:StateChange` and its like [doc ecs-events], CloudMonitor's older one
of the same [doc Instance event notification], and ActionTrail's record of a call that changed tags, or the groups or
addresses of an instance [doc actiontrail-events].
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party
from link_peer.domain.request import Cause, Hint
from link_peer.domain.tags import (
    TagKeys,
    is_account_uid,
    is_group_id,
    is_instance_id,
    is_interface_id,
    parse_instant,
    quoted,
)

MAX_BYTES = 1024 * 1024  # an event is at most 256 KB [doc limits]
MAX_BATCH_BYTES = 32 * 1024 * 1024  # a batch of queue messages is one synchronous call, at most 32 MB [doc limits]
MAX_NAMED = 100  # resources of one event; a call tags at most 50 [doc TagResources], and each costs calls of its own
MAX_TAGS, TAG_LENGTH = 20, 128  # tags that one call may set, and characters of a key or value [doc TagResources]
UNKNOWN = "unknown"
"""The actor where an element of a delivery does not say what it is."""

STATES = frozenset({"Created", "Pending", "Running", "Deleted"})
"""The states that can change links. Older documents call Pending what newer ones call Created."""

TAG_CALLS = frozenset({"TagResources", "UntagResources", "AddTags", "RemoveTags"})
"""The API calls, as ActionTrail names them, that change tags."""

MOVE_CALLS = frozenset(
    {
        "JoinSecurityGroup",
        "LeaveSecurityGroup",
        "ModifyInstanceAttribute",
        "ModifyInstanceVpcAttribute",
        "ModifyNetworkInterfaceAttribute",
    }
)
"""The API calls, as ActionTrail names them, that change the groups or the addresses of an instance."""

_REMOVALS = frozenset({"UntagResources", "RemoveTags"})
_TAG_KEY = re.compile(r"tag\.[0-9]{1,4}\.key|tagkey\.[0-9]{1,4}")
_TRAIL = re.compile(r"ecs:ActionTrail:(ApiCall|ConsoleOperation|AliyunServiceEvent)")
_RESOURCE_ID = re.compile(r"resourceids?(\.[0-9]{1,4})?")
_INSTANCE, _GROUP, _INTERFACE = "an instance id (i-…)", "a security group id (sg-…)", "a network interface id (eni-…)"
_IS_ID = {_INSTANCE: is_instance_id, _GROUP: is_group_id, _INTERFACE: is_interface_id}
_TAGGED = {"instance": _INSTANCE, "securitygroup": _GROUP}
_MOVED = {"instance": _INSTANCE, "networkinterface": _INTERFACE}
"""What the id of a resource must be, by the resource's type in lower case, of calls that change tags and of others. Of
other resources, neither changes a link."""
_TYPE_PREFIX = "acs::ecs::"
_CHANGES = {
    "Instance:StateChange": ("resourceId", _INSTANCE),
    "Instance:VSwitchChanged": ("instanceId", _INSTANCE),
    "NetworkInterface:PrivateIPAssigned": ("eniId", _INTERFACE),
    "NetworkInterface:PrivateIPUnassigned": ("eniId", _INTERFACE),
}
"""By the name of an event of ECS, the field of its content that says what changed [doc "vSwitch event notifications",
2025-11-18; "IP address event notifications", 2025-05-07]."""
_QUEUE_SUBJECT = re.compile(r"acs:mns:([a-z0-9-]{1,64}):([0-9]{15,20}):/?queues/([A-Za-z0-9-]{1,120})")
# "20190409T121826.922+0800"
_OLD_TIME = re.compile(
    r"([0-9]{4})([0-9]{2})([0-9]{2})T([0-9]{2})([0-9]{2})([0-9]{2})(\.[0-9]{1,9})?([+-][0-9]{2})([0-9]{2})"
)


class Envelope(msgspec.Struct, frozen=True):
    """One element of the queue's stream. `body` is the message. `event_id` is empty if the element has no valid id.

    `queue` is the name of the queue through which the message came; empty if the element does not prove it.
    """

    event_id: str
    body: str
    queue: str


def elements(event: bytes, limit: int = MAX_BYTES) -> list[object]:
    """The elements of a delivery, which is one JSON object or an array. They are not validated yet.

    Raises BadInput if the delivery is longer than `limit` bytes or is not JSON.
    """
    if len(event) > limit:
        raise BadInput("event", f"longer than {limit // 1024} KB")
    try:
        document = json.loads(event.decode("utf-8"), parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise BadInput("event", "nested too deeply") from None
    except ValueError:
        raise BadInput("event", "not JSON") from None
    if isinstance(document, dict):
        return [document]
    if isinstance(document, list):
        return document
    raise BadInput("event", "neither an object nor an array")


def decode(element: object, *, home: str, region: str, keys: TagKeys) -> list[Hint | BadInput]:
    """The hints of an event, one for each instance, group or network interface, and an error for each invalid id that
    it names.

    The list is empty if the event cannot change links, as one that changes other tags than those with these `keys`.
    Raises BadInput if the event is invalid, or is not for the account `home` and this region.
    """
    event = _mapping(element, "event")
    if "specversion" not in event and "product" in event:
        return _old_state_change(event, home, region)
    source = _text(event, "source")
    if source != "acs.ecs":
        raise BadInput("source", f"{quoted(source)} is not acs.ecs")
    kind = _text(event, "type")
    trail = _TRAIL.fullmatch(kind) is not None
    name = kind.removeprefix("ecs:")
    if not trail and name not in _CHANGES:
        return []
    data, actor = _mapping(event.get("data"), "data"), actor_of(event)
    event_id = _text(event, "id")
    _check_account(event.get("aliyunaccountid"), "aliyunaccountid", home)
    _check_region(event.get("aliyunregionid"), "aliyunregionid", region)
    when = _time(event.get("time"))
    if trail:
        when = when if when is not None else _time(data.get("eventTime"))
        resources = _changed(data, region, keys)
        moved, cause = data["eventName"] in MOVE_CALLS, _cause(actor, data, keys)
        return [
            Hint(event_id, Party(home, name), "moved" if moved else "tags", when, cause=cause)
            if isinstance(name, str) and _IS_ID[kind](name)
            else BadInput("data", f"{_quoted_value(name)} is not {kind}")
            for kind, name in resources
        ]
    # In the documentation, data is the content itself; existing receivers also read data.content.
    content = _mapping(data["content"], "data.content") if "content" in data else data
    return _content(name, content, Hint(event_id, Party(home, ""), "moved", when, cause=Cause(actor)))


def actor_of(element: object) -> str:
    """Who caused an event, as it says: the principal of ActionTrail's `userIdentity`, else the event's type. Other
    types are not repeated, since their writer chooses them."""
    event = element if isinstance(element, dict) else {}
    kind, data = _short(event.get("type") or event.get("name")), event.get("data")
    if not _TRAIL.fullmatch(kind):
        return kind if kind.removeprefix("ecs:") in _CHANGES else UNKNOWN
    return (principal(data.get("userIdentity")) if isinstance(data, dict) else "") or kind


def principal(identity: object) -> str:
    """The principal that a `userIdentity` of ActionTrail names, like an ARN: `acs:ram::<uid>:user/<name>`,
    `…:assumed-role/<role>/<session>`, `…:root`; without an account, `<type>:<name>`. Empty where it names nobody.

    ActionTrail writes a session as `<role>:<session>`, a service as `{"type": "system", "userName":
    "ecs.aliyuncs.com"}` [doc actiontrail-events]. The text may hold any characters: a record escapes them.
    """
    fields = identity if isinstance(identity, dict) else {}
    kind, account, name, number = (
        _short(fields.get(field)) for field in ("type", "accountId", "userName", "principalId")
    )
    name = name or number
    if not is_account_uid(account):
        return f"{kind}:{name}" if name else ""
    if kind == "root-account":
        return f"acs:ram::{account}:root"
    if kind == "assumed-role":
        name = name.replace(":", "/", 1)
    return f"acs:ram::{account}:{'user' if kind == 'ram-user' else kind}/{name}" if name else ""


def queue_message(element: object, *, home: str, region: str) -> Envelope:
    """The message in an element of the queue's stream: a CloudEvent, its data alone (RawData), or the body.

    Lenient on purpose: the message is validated later, and a missing id or type loses no request. But only the subject
    of a CloudEvent, `acs:mns:<region>:<home>:queues/<name>` (or `:/queues/`, as RAM spells it), proves the queue:
    EventBridge writes it, and a sender writes only the body (so the trigger must deliver whole CloudEvents). Raises
    BadInput if there is no body.
    """
    if isinstance(element, str):
        return Envelope("", element, "")
    event = _mapping(element, "event")
    wrapped = "specversion" in event or ("data" in event and "action" not in event)
    inner = event.get("data") if wrapped else event
    if isinstance(inner, str):
        return Envelope(queue_id(event), inner, "")
    inner = _mapping(inner, "data")
    if "messageBody" not in inner:
        return Envelope(queue_id(event), _dumped(inner), "")  # perhaps the request itself
    body = inner["messageBody"]
    text = body if isinstance(body, str) else _dumped(_mapping(body, "messageBody"))
    return Envelope(queue_id(event), text, _queue(event, home, region))


def _queue(event: dict[str, Any], home: str, region: str) -> str:
    subject = event.get("subject") if "specversion" in event else None
    match = _QUEUE_SUBJECT.fullmatch(subject) if isinstance(subject, str) else None
    return match[3] if match and (match[1], match[2]) == (region, home) else ""


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
    name = event.get("name")
    if event.get("product") != "ECS" or not isinstance(name, str) or name not in _CHANGES:
        return []
    when = _OLD_TIME.fullmatch(event["eventTime"]) if isinstance(event.get("eventTime"), str) else None
    event_id = _text(event, "id")
    _check_account(event.get("userId"), "userId", home)
    _check_region(event.get("regionId"), "regionId", region)
    time = _time("{}-{}-{}T{}:{}:{}{}{}:{}".format(*when.groups(""))) if when else None
    hint = Hint(event_id, Party(home, ""), "moved", time, cause=Cause(actor_of(event)))
    return _content(name, _mapping(event.get("content"), "content"), hint)


def _content(name: str, content: dict[str, Any], hint: Hint) -> list[Hint | BadInput]:
    """What the content of an event of ECS says, by the event's name. `hint` is what the rest of it says."""
    state = _text(content, "state") if name == "Instance:StateChange" else ""
    field, kind = _CHANGES[name]
    party = _text(content, field)
    if not _IS_ID[kind](party):
        raise BadInput(field, f"{quoted(party)} is not {kind}")
    hint = msgspec.structs.replace(hint, party=Party(hint.party.account, party))
    if not state:
        return [hint]
    return [msgspec.structs.replace(hint, kind="state", state=state)] if state in STATES else []


def _changed(data: dict[str, Any], region: str, keys: TagKeys) -> list[tuple[str, object]]:
    """What a call tagged, as (what the id must be, id): unchecked and without duplicates; or the instances and
    interfaces whose groups or addresses it changed.

    ActionTrail also records a refused call, with its errorCode: that one changed nothing. The documentation disagrees
    on which fields hold the ids and the resource type, so all of them are read.
    """
    call = _text(data, "eventName")
    if call not in TAG_CALLS | MOVE_CALLS or data.get("errorCode"):
        return []
    _check_region(data.get("acsRegion"), "data.acsRegion", region)
    resources: list[tuple[str, list[object]]] = []  # resource types and ids
    referenced = data.get("referencedResources")
    if isinstance(referenced, dict):
        resources += [(str(type_), _list(ids)) for type_, ids in referenced.items()]
    if isinstance(data.get("resourceType"), str):
        names = data.get("resourceName")
        resources.append((data["resourceType"], [*names.split(";")] if isinstance(names, str) else []))
    parameters = _parameters(data)
    if call in MOVE_CALLS:
        resources += [(type_, _list(parameters[f"{type_}id"])) for type_ in _MOVED if f"{type_}id" in parameters]
    elif isinstance(parameters.get("resourcetype"), str):
        ids = [_list(value) for key, value in parameters.items() if _RESOURCE_ID.fullmatch(key)]
        resources.append((parameters["resourcetype"], [name for names in ids for name in names]))
    kinds = _MOVED if call in MOVE_CALLS else _TAGGED
    typed = [(type_.lower().removeprefix(_TYPE_PREFIX), ids) for type_, ids in resources]
    ours = [(kinds[type_], ids) for type_, ids in typed if type_ in kinds]
    distinct = {(kind, repr(name)): (kind, name) for kind, ids in ours for name in ids}
    if not distinct and (ours or not resources):
        raise BadInput("data", "the call names no resource")
    if len(distinct) > MAX_NAMED:
        raise BadInput("data", f"the call names more than {MAX_NAMED} resources")
    if call in MOVE_CALLS:
        return list(distinct.values()) if _moves(call, parameters) else []
    changing = [kind for kind in _TAGGED.values() if _changes_links(call, parameters, keys, of_group=kind == _GROUP)]
    return [resource for resource in distinct.values() if resource[0] in changing]


def _changes_links(call: str, parameters: dict[str, Any], keys: TagKeys, *, of_group: bool) -> bool:
    """Whether a call that names its tag keys names any that links of a group, or of an instance, depend on."""
    changed_tags = _named_tags(parameters)
    return not changed_tags or any(
        (of_group and key in keys.sets) or keys.links_depend_on(key, removed=call in _REMOVALS) for key in changed_tags
    )


def _cause(actor: str, data: dict[str, Any], keys: TagKeys) -> Cause:
    """Who made a call that ActionTrail reports, and which tags of groups it names."""
    call, parameters = data["eventName"], _parameters(data)
    if call not in TAG_CALLS:
        return Cause(actor)
    tags: dict[str, str | None] = {}
    for key, value in _named_tags(parameters).items():
        if key in keys.sets or keys.links_depend_on(key, removed=call in _REMOVALS):
            tags[key[:TAG_LENGTH]] = None if call in _REMOVALS else _short(value, TAG_LENGTH)
    return Cause(actor, call, _short(data.get("requestId"), TAG_LENGTH), tuple(tags.items())[:MAX_TAGS])


def _named_tags(parameters: dict[str, Any]) -> dict[str, object]:
    """The keys of tags that a call names, with their values: as numbered parameters, or as lists."""
    pairs: list[tuple[object, object]] = [
        (key, parameters.get(f"{name.removesuffix('key')}value"))
        for name, key in parameters.items()
        if _TAG_KEY.fullmatch(name)
    ]
    for entry in [*_list(parameters.get("tagkey")), *_list(parameters.get("tag"))]:
        tag = {str(name).lower(): value for name, value in entry.items()} if isinstance(entry, dict) else {"key": entry}
        pairs.append((tag.get("key"), tag.get("value")))
    return {key: value for key, value in pairs if isinstance(key, str)}


def _parameters(data: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a call, by their names in lower case."""
    return {str(key).lower(): value for key, value in _parsed(data.get("requestParameters")).items()}


def _moves(call: str, parameters: dict[str, Any]) -> bool:
    """Whether a call changes groups or addresses. Two of them may change other attributes alone, such as a name; one
    whose parameters are not shown may change any."""
    either = call in ("ModifyInstanceAttribute", "ModifyNetworkInterfaceAttribute")
    return not (either and parameters) or any(name.startswith("securitygroupid") for name in parameters)


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


def _short(value: object, limit: int = 256) -> str:
    """Text of an event that a record repeats; empty if it is none."""
    return value[:limit] if isinstance(value, str) else ""


def _mapping(value: object, field: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadInput(field, "missing or not an object")
    return value


def _text(event: dict[str, Any], field: str) -> str:
    value = event.get(field)
    if not isinstance(value, str) or not 1 <= len(value) <= 128 or not value.isprintable():
        raise BadInput(field, "missing or not a string of 1 to 128 printable characters")
    return value


def _check_account(value: object, field: str, home: str) -> None:
    """An event may omit its account, but may not name another."""
    if value is None:
        return
    if not isinstance(value, str) or not is_account_uid(value):
        raise BadInput(field, "not an account uid")
    if value != home:
        raise BadInput(field, f"{value} is not this function's account")


def _check_region(value: object, field: str, region: str) -> None:
    """An event may omit its region, but may not name another."""
    if value is not None and value != region:
        raise BadInput(field, f"{_quoted_value(value)} is not this function's region")


def _time(value: object) -> float | None:
    """Epoch seconds, or None if invalid: the time only tells how old the event is, so it is no reason to reject it."""
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except BadInput:
        return None


def _quoted_value(value: object) -> str:
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
