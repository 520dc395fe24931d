"""The Tag service: tags of instances, groups and network interfaces, by their ARNs.

Unlike ECS's own actions it answers 200 with `FailedResources` for resources that it could not tag [doc 164375, 164376].
How ActionTrail reports its writes is unknown: LookupEvents shows them with the parameters as sent [inferred], and no
event is published for them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loaded
from aliyun_local.core.identity import Caller
from aliyun_local.ecs import events, tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.params import Params, invalid, missing
from aliyun_local.ecs.store import Store

_ARN = re.compile(
    r"arn:acs:ecs:(?P<region>[a-z0-9-]+|\*):(?P<account>\d+|\*):(?P<kind>instance|securitygroup|eni)/(?P<id>[\w-]+)"
)


class TagBackend:
    """The calls of the Tag service. `record(account, event)` tells ActionTrail of a write that was carried out."""

    def __init__(self, store: Store, record: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._store = store
        self._record = record

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Run one action: the answer without RequestId, or ApiError."""
        store = self._store
        with store.lock:
            call = Call(store, store.account(caller.account), action, Params(params), store.clock.now())
            if call.params.require("RegionId") != store.region:
                raise ApiError("InvalidRegionId.NotFound", 404)
            answer = ACTIONS[action](call)
        resource_ids = [arn.rpartition("/")[2] for arn in _arns(call)]
        request = str(uuid.uuid4()).upper()
        event = events.api_call(caller, store.region, action, params, resource_ids, call.now, request)
        self._record(caller.account, {**event, "data": {**event["data"], "serviceName": "Tag"}})
        return answer


def tag_resources(call: Call) -> dict[str, Any]:
    """Add the tags, a JSON object, to each resource that exists."""
    new_tags = _tags(call)
    if not new_tags:
        raise missing("Tags")
    tags.check(new_tags)
    failed = []
    for arn in _arns(call):
        try:
            kind, resource = _parse(call, arn)
            resource_call = Call(call.store, call.account, call.action, Params({"ResourceType": kind}), call.now)
            tags.write(resource_call, tags.tags_of(resource_call, [resource]), new_tags)
        except ApiError as refusal:
            failed.append({"ResourceARN": arn, "Result": {"Code": refusal.code, "Message": refusal.message}})
    return {"FailedResources": {"FailedResource": failed}}


def _arns(call: Call) -> list[str]:
    arns = call.params.listed("ResourceARN")
    if not arns:
        raise missing("ResourceARN")
    if len(arns) > 50:
        raise invalid("ResourceARN")
    return arns


def _parse(call: Call, arn: str) -> tuple[str, str]:
    """Type and id of a resource of the caller's."""
    match = _ARN.fullmatch(arn)
    if match is None:
        raise ApiError("InvalidParameter.ResourceARN", 400)
    if match["region"] not in ("*", call.store.region) or match["account"] not in ("*", call.account.uid):
        raise ApiError("InvalidResourceId.NotFound", 404)
    return match["kind"], match["id"]


def _tags(call: Call) -> dict[str, str]:
    text = call.params.get("Tags")
    value = loaded(text) if text else {}
    if not isinstance(value, dict) or len(value) > 10 or not all(isinstance(each, str) for each in value.values()):
        raise invalid("Tags")
    return value


ACTIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"TagResources": tag_resources}
