"""The control operations of FC 3.0 on a function: versions, aliases, triggers, configuration of asynchronous invocations.

Fields are those of the SDK's models [src fc20230330 4.8.3].
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from link_peer_deploy.manifest import Trigger

from link_peer_local.core.clock import utc
from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Response
from link_peer_local.core.identity import Caller
from link_peer_local.core.json_text import loads
from link_peer_local.fc.answers import answer, page
from link_peer_local.fc.backend import Deployed, FcBackend
from link_peer_local.fc.routes import Route
from link_peer_local.fc.versions import Alias, Published, Version

Query = Mapping[str, str]

ACTIONS = frozenset(
    {
        "PublishFunctionVersion",
        "ListFunctionVersions",
        "CreateAlias",
        "ListAliases",
        "GetAlias",
        "UpdateAlias",
        "ListTriggers",
        "GetTrigger",
        "GetAsyncInvokeConfig",
    }
)


def handle(backend: FcBackend, caller: Caller, route: Route, query: Query, body: bytes) -> Response:
    """Answer one of ACTIONS."""
    deployed = backend.function(caller.account, route.function)
    if "Trigger" in route.action:
        return _triggers(backend, caller.account, deployed, route, query)
    if route.action == "GetAsyncInvokeConfig":
        return _async_config(backend, caller.account, route, query)
    given = _given(body) if route.action in ("PublishFunctionVersion", "CreateAlias", "UpdateAlias") else {}
    with backend.published(caller.account, route.function) as (function, published, now):
        if route.action == "PublishFunctionVersion":
            return answer(_version(published.publish(function, given.get("description") or "", now)))
        if route.action == "ListFunctionVersions":
            return _versions(published, query)
        return _aliases(published, route, query, given, now)


def _given(body: bytes) -> dict[str, Any]:
    try:
        given = loads(body) if body else {}
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise ApiError("InvalidArgument", 400, "the body is not a JSON object")
    return given


def _versions(published: Published, query: Query) -> Response:
    """The newest first by default [src ListFunctionVersionsRequest.direction]."""
    direction = query.get("direction") or "BACKWARD"
    found = list(published.versions.values())
    if direction == "BACKWARD":
        found.reverse()
    elif direction != "FORWARD":
        raise ApiError("InvalidArgument", 400, f"direction '{direction}' is invalid (allowed: BACKWARD, FORWARD)")
    rows, token = page(found, query)
    return answer({"direction": direction, "versions": [_version(row) for row in rows], "nextToken": token})


def _aliases(published: Published, route: Route, query: Query, given: Mapping[str, Any], now: float) -> Response:
    match route.action:
        case "CreateAlias":
            made = published.create_alias(
                given.get("aliasName") or "",
                given.get("versionId") or "",
                given.get("description") or "",
                given.get("additionalVersionWeight") or {},
                now,
            )
            return answer(_alias(made))
        case "UpdateAlias":
            version, description, weights = (
                given.get(name) for name in ("versionId", "description", "additionalVersionWeight")
            )
            return answer(_alias(published.update_alias(route.name, version, description, weights, now)))
        case "GetAlias":
            return answer(_alias(published.alias(route.name)))
    found = [alias for name, alias in sorted(published.aliases.items()) if name.startswith(query.get("prefix") or "")]
    rows, token = page(found, query)
    return answer({"aliases": [_alias(row) for row in rows], "nextToken": token})


def _triggers(backend: FcBackend, account: str, deployed: Deployed, route: Route, query: Query) -> Response:
    def render(trigger: Trigger) -> dict[str, Any]:
        place = f"{account}/{deployed.function.name}/{trigger.name}"
        at = utc(deployed.created)
        return {
            "triggerName": trigger.name,
            "triggerId": str(uuid.uuid5(uuid.NAMESPACE_URL, place)),
            "triggerType": trigger.kind,
            "triggerConfig": json.dumps(trigger.config),
            "qualifier": trigger.qualifier,
            "targetArn": f"acs:fc:{backend.region}:{account}:functions/{deployed.function.name}",
            "createdTime": at,
            "lastModifiedTime": at,
        }

    triggers = {trigger.name: trigger for trigger in deployed.function.triggers}
    if route.action == "GetTrigger":
        if route.name not in triggers:
            message = f"trigger '{route.name}' does not exist in function '{deployed.function.name}'"
            raise ApiError("TriggerNotFound", 404, message)
        return answer(render(triggers[route.name]))
    found = [trigger for name, trigger in sorted(triggers.items()) if name.startswith(query.get("prefix") or "")]
    rows, token = page(found, query)
    return answer({"triggers": [render(row) for row in rows], "nextToken": token})


def _async_config(backend: FcBackend, account: str, route: Route, query: Query) -> Response:
    """What is deployed with a function holds for each of its versions."""
    qualifier = query.get("qualifier") or ""
    deployed = backend.function(account, route.function, qualifier)
    function, at = deployed.function, utc(deployed.created)
    if not function.async_task and function.on_failure is None:
        raise ApiError("AsyncConfigNotExists", 404, f"async config of function '{function.name}' does not exist")
    arn = f"acs:fc:{backend.region}:{account}:functions/{function.name}"
    return answer(
        {
            "functionArn": f"{arn}/{qualifier}" if qualifier else arn,
            "asyncTask": function.async_task,
            "maxAsyncRetryAttempts": function.max_retries,
            "maxAsyncEventAgeInSeconds": function.max_age,
            "destinationConfig": {"onFailure": {"destination": function.on_failure}} if function.on_failure else {},
            "createdTime": at,
            "lastModifiedTime": at,
        }
    )


def _version(version: Version) -> dict[str, Any]:
    at = utc(version.created)
    return {"versionId": version.id, "description": version.description, "createdTime": at, "lastModifiedTime": at}


def _alias(alias: Alias) -> dict[str, Any]:
    return {
        "aliasName": alias.name,
        "versionId": alias.version,
        "description": alias.description,
        "additionalVersionWeight": dict(alias.weights),
        "createdTime": utc(alias.created),
        "lastModifiedTime": utc(alias.modified),
    }
