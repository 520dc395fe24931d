"""Tags of instances, groups and network interfaces: writing them, reading them, filtering by them.

AddTags, RemoveTags and DescribeTags are the older actions, which still exist beside the others [SDK 7.11.8]. The former
two take one resource per call; their ActionTrail events carry their own names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.history import History, Ordered
from aliyun_local.ecs.paging import numbered, tokens
from aliyun_local.ecs.state import Group, Instance, Interface

Filter = list[tuple[str, str | None]]
Tagged = Group | Instance | Interface
Row = tuple[Any, str, str, str]  # position and id of a resource, key and value of one of its tags


def as_answer(tags: Mapping[str, str]) -> dict[str, Any]:
    """Tags in the form of Describe answers."""
    return {"Tag": [{"TagKey": key, "TagValue": value} for key, value in tags.items()]}


def unless_empty(tags: Mapping[str, str]) -> dict[str, Any]:
    """The key `Tags` of an instance, which an untagged one does not have [capture, of Alibaba's own]."""
    return {"Tags": as_answer(tags)} if tags else {}


def check(tags: Mapping[str, str]) -> None:
    """Check syntax: keys of 1-128 characters, not `aliyun…` or `acs:…`; values up to 128; no URL [doc SDK 7.11.8]."""
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or key.startswith(("aliyun", "acs:")) or "http://" in key or "https://" in key:
            raise ApiError("InvalidTagKey.Malformed", 400)
        if len(value) > 128 or "http://" in value or "https://" in value:
            raise ApiError("InvalidTagValue.Malformed", 400)


def from_request(call: Call) -> dict[str, str]:
    """The checked `Tag.N.Key` and `Tag.N.Value` of a call that writes tags."""
    records = call.params.records("Tag")
    if len(records) > 20:
        raise ApiError("NumberExceed.Tags", 400)
    tags = {record.get("Key", ""): record.get("Value", "") for record in records}
    if len(tags) < len(records):
        raise ApiError("Duplicate.TagKey", 400)
    check(tags)
    return tags


def filters(call: Call) -> Filter:
    """The `Tag.N` filter of a Describe call; a key alone matches any value. Lower-case field names work too [doc]."""
    conditions: Filter = []
    for record in call.params.records("Tag"):
        key = record.get("Key") or record.get("key")
        if not key:
            raise ApiError("InvalidTag.Mismatch", 400)
        conditions.append((key, record.get("Value", record.get("value"))))
    if len(conditions) > 20:
        raise ApiError("InvalidTagCount", 400)
    return conditions


def match(conditions: Filter, tags: Mapping[str, str]) -> bool:
    """Whether the tags meet every condition."""
    return all(key in tags and value in (None, tags[key]) for key, value in conditions)


def check_matches(call: Call, conditions: Filter, read: Callable[[None], Iterable[object]]) -> None:
    """A tag filter fails beyond 1,000 matches [doc]; the error code is [inferred]."""
    most = call.store.quotas.tag_filter_matches
    if conditions and sum(1 for _ in islice(read(None), most + 1)) > most:
        raise ApiError("InvalidTagCount", 400)


def resources(call: Call, kind: str) -> Ordered[Any]:
    """The caller's resources of a type (instance, securitygroup, eni), some of which may not `exist`."""
    if not kind:
        raise ApiError("MissingParameter.ResourceType", 404)
    account = call.account
    kinds: dict[str, Ordered[Any]] = {
        "instance": account.instances,
        "securitygroup": account.groups,
        "eni": account.interfaces,
    }
    if kind in kinds:
        return kinds[kind]
    raise ApiError("InvalidResourceType.NotFound", 404)


def exists(call: Call, resource: Tagged | None) -> bool:
    """Whether there is such a resource; an instance that was released does not exist."""
    return resource is not None and (not isinstance(resource, Instance) or resource.states.at(call.now) is not None)


def tags_of(call: Call, ids: list[str]) -> list[History[dict[str, str]]]:
    """The tags of these resources; ApiError unless all of them exist."""
    by_id = resources(call, call.params.get("ResourceType").lower())
    if not ids:
        raise ApiError("MissingParameter.ResourceIds", 404)
    if not all(exists(call, by_id.get(resource)) for resource in ids):
        raise ApiError("InvalidResourceId.NotFound", 404)
    return [by_id[resource].tags for resource in dict.fromkeys(ids)]


def _ids(call: Call) -> list[str]:
    ids = call.params.listed("ResourceId")
    if len(ids) > 50:
        raise ApiError("NumberExceed.ResourceIds", 400)
    return ids


def tag_resources(call: Call) -> dict[str, Any]:
    """Tag all of the resources or none."""
    write(call, tags_of(call, _ids(call)), from_request(call))
    return {}


def write(call: Call, resources: list[History[dict[str, str]]], new: Mapping[str, str]) -> None:
    """Add tags to resources, or overwrite their values; ApiError without tags or beyond the quota."""
    if not new:
        raise ApiError("MissingParameter.Tags", 404)
    if any(len({**tags.at(call.now), **new}) > call.store.quotas.tags_per_resource for tags in resources):
        raise ApiError("OperationDenied.QuotaExceed", 400)
    for tags in resources:
        tags.change(call.now, lambda old: {**old, **new})


def untag_resources(call: Call) -> dict[str, Any]:
    """Remove tags; missing keys are no error, and `All` applies only without keys [doc]."""
    tagged = tags_of(call, _ids(call))
    keys = call.params.listed("TagKey")
    if len(keys) > 20:
        raise ApiError("NumberExceed.Tags", 400)
    every = not keys and call.params.flag("All")
    if not keys and not every:
        raise ApiError("MissingParameter.Tags", 404)
    for tags in tagged:
        tags.change(call.now, lambda old: {} if every else {key: old[key] for key in old if key not in keys})
    return {}


def list_tag_resources(call: Call) -> dict[str, Any]:
    """List every tag of the resources that match: by id, or by having all of the given tags [doc]. One is required.

    Unlike the tag filters of Describe calls, this reads any number of resources, 50 rows a page.
    """
    kind = call.params.get("ResourceType").lower()
    by_id, ids, conditions = resources(call, kind), _ids(call), filters(call)
    if not ids and not conditions:
        raise ApiError("MissingParameter.Tags", 404)
    snapshot_time = call.now - call.store.read_lag.tags

    def read(last: list[Any] | None) -> Iterator[Row]:
        selected_resources = sorted((by_id[each] for each in set(ids) if each in by_id), key=by_id.position)
        for resource in selected_resources if ids else by_id.ascending(last[0] if last else None):
            tags = resource.tags.at(snapshot_time)
            if exists(call, resource) and match(conditions, tags):
                yield from ((by_id.position(resource), resource.id, key, tags[key]) for key in sorted(tags))

    chosen, token = tokens(call, read, lambda row: [row[0], row[2]], default=50, least=50, most=50)
    rows = [
        {"ResourceType": kind, "ResourceId": name, "TagKey": key, "TagValue": value} for _, name, key, value in chosen
    ]
    return {"NextToken": token, "TagResources": {"TagResource": rows}}


def add_tags(call: Call) -> dict[str, Any]:
    """Add tags to one resource, or overwrite their values."""
    write(call, tags_of(call, [call.params.require("ResourceId")]), from_request(call))
    return {}


def remove_tags(call: Call) -> dict[str, Any]:
    """Remove tags from one resource. A tag that is given with a value is removed only if it has that value
    [inferred]."""
    (tagged,) = tags_of(call, [call.params.require("ResourceId")])
    removed = filters(call)
    if not removed:
        raise ApiError("MissingParameter.Tags", 404)
    tagged.change(call.now, lambda old: {key: value for key, value in old.items() if not _among(removed, key, value)})
    return {}


def _among(removed: Filter, key: str, value: str) -> bool:
    return any(key == name and removed_value in (None, value) for name, removed_value in removed)


def describe_tags(call: Call) -> dict[str, Any]:
    """The distinct tags of all resources that match, with the number of resources of each type."""
    params = call.params
    kinds = [params.get("ResourceType").lower()] if params.get("ResourceType") else ["instance", "securitygroup", "eni"]
    conditions, snapshot_time = filters(call), call.now - call.store.read_lag.tags
    counts: dict[tuple[str, str], Counter[str]] = {}
    for kind in kinds:
        for resource in resources(call, kind).values():
            if not exists(call, resource):
                continue
            if params.get("ResourceId") in ("", resource.id) and match(conditions, resource.tags.at(snapshot_time)):
                for key, value in resource.tags.at(snapshot_time).items():
                    counts.setdefault((key, value), Counter())[kind.capitalize()] += 1
    rows = [
        {"TagKey": key, "TagValue": value, "ResourceTypeCount": dict(count)}
        for (key, value), count in sorted(counts.items())
    ]
    chosen, paging = numbered(params, rows, most=100, default=50)
    return {"Tags": {"Tag": list(chosen)}, **paging}
