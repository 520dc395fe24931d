"""The control operations of FC 3.0: functions, versions, aliases, triggers, configuration of asynchronous invocations.

Fields are those of the SDK's models [src fc20230330 4.8.3].
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response
from aliyun_local.core.identity import Caller
from aliyun_local.fc import definition
from aliyun_local.fc.backend import FcBackend
from aliyun_local.fc.rendering import answer, no_content, page, render_function
from aliyun_local.fc.routes import Route
from aliyun_local.fc.state import AsyncConfig, FunctionState, Placed
from aliyun_local.fc.versions import LATEST, Alias, Published, Version

Query = Mapping[str, str]

_FUNCTIONS = frozenset({"CreateFunction", "UpdateFunction", "DeleteFunction"})
_VERSIONS = frozenset({"PublishFunctionVersion", "ListFunctionVersions", "DeleteFunctionVersion"})
_ALIASES = frozenset({"CreateAlias", "ListAliases", "GetAlias", "UpdateAlias", "DeleteAlias"})
_TRIGGERS = frozenset({"CreateTrigger", "ListTriggers", "GetTrigger", "UpdateTrigger", "DeleteTrigger"})
_ASYNC = frozenset({"GetAsyncInvokeConfig", "PutAsyncInvokeConfig", "DeleteAsyncInvokeConfig"})
ACTIONS = _FUNCTIONS | _VERSIONS | _ALIASES | _TRIGGERS | _ASYNC


def handle(backend: FcBackend, caller: Caller, route: Route, query: Query, body: bytes) -> Response:
    """Answer one of ACTIONS."""
    fields = definition.request_fields(body) if route.action.startswith(("Create", "Update", "Put", "Publish")) else {}
    if route.action in _FUNCTIONS:
        return _functions(backend, caller, route, fields)
    with backend.locked(caller.account, route.function) as entry:
        if route.action in _TRIGGERS:
            return _triggers(backend, caller.account, entry, route, query, fields)
        if route.action in _ASYNC:
            return _async_config(backend, caller.account, entry, route, query, fields)
        if route.action in _VERSIONS:
            return _versions(entry, route, query, fields, backend.now())
        return _aliases(entry.published, route, query, fields, backend.now())


def _functions(backend: FcBackend, caller: Caller, route: Route, fields: Mapping[str, Any]) -> Response:
    account = caller.account
    if route.action == "DeleteFunction":
        backend.delete(account, route.function)
        return no_content()
    if route.action == "CreateFunction":
        function = definition.function(fields)
        if backend.exists(account, function.name):
            raise ApiError("FunctionAlreadyExists", 409, f"function '{function.name}' already exists")
    else:
        with backend.locked(account, route.function) as entry:
            function = definition.function(fields, entry.function)
    backend.connections.check(caller, function)
    backend.put(account, function)
    return answer(render_function(backend, account, backend.function(account, function.name), v2=False))


def _versions(entry: FunctionState, route: Route, query: Query, fields: Mapping[str, Any], now: float) -> Response:
    match route.action:
        case "PublishFunctionVersion":
            version = entry.published.publish(entry.function, definition.description(fields), now)
            return answer(_version(version))
        case "DeleteFunctionVersion":
            entry.published.delete_version(route.name)
            entry.async_configs.pop(route.name, None)
            return no_content()
    return _list_versions(entry.published, query)


def _list_versions(published: Published, query: Query) -> Response:
    """The newest first by default [src ListFunctionVersionsRequest.direction]."""
    direction = query.get("direction") or "BACKWARD"
    versions = list(published.versions.values())
    if direction == "BACKWARD":
        versions.reverse()
    elif direction != "FORWARD":
        raise ApiError("InvalidArgument", 400, f"direction '{direction}' is invalid (allowed: BACKWARD, FORWARD)")
    rows, token = page(versions, query)
    return answer({"direction": direction, "versions": [_version(row) for row in rows], "nextToken": token})


def _aliases(published: Published, route: Route, query: Query, fields: Mapping[str, Any], now: float) -> Response:
    match route.action:
        case "CreateAlias":
            created_alias = published.create_alias(
                fields.get("aliasName") or "",
                fields.get("versionId") or "",
                fields.get("description") or "",
                fields.get("additionalVersionWeight") or {},
                now,
            )
            return answer(_alias(created_alias))
        case "UpdateAlias":
            version, description, weights = (
                fields.get(name) for name in ("versionId", "description", "additionalVersionWeight")
            )
            return answer(_alias(published.update_alias(route.name, version, description, weights, now)))
        case "DeleteAlias":
            published.delete_alias(route.name)
            return no_content()
        case "GetAlias":
            return answer(_alias(published.alias(route.name)))
    aliases = [alias for name, alias in sorted(published.aliases.items()) if name.startswith(query.get("prefix") or "")]
    rows, token = page(aliases, query)
    return answer({"aliases": [_alias(row) for row in rows], "nextToken": token})


def _triggers(
    backend: FcBackend, account: str, entry: FunctionState, route: Route, query: Query, fields: Mapping[str, Any]
) -> Response:
    render = partial(_trigger, f"acs:fc:{backend.region}:{account}:functions/{route.function}")
    if route.action == "ListTriggers":
        prefix = query.get("prefix") or ""
        triggers = [placed for name, placed in sorted(entry.triggers.items()) if name.startswith(prefix)]
        rows, token = page(triggers, query)
        return answer({"triggers": [render(row) for row in rows], "nextToken": token})
    if route.action in ("CreateTrigger", "UpdateTrigger"):
        return answer(render(_put_trigger(backend, account, entry, route, fields)))
    placed = entry.trigger(route.name)
    if route.action == "DeleteTrigger":
        backend.delete_trigger(account, route.function, route.name)
        return no_content()
    return answer(render(placed))


def _put_trigger(
    backend: FcBackend, account: str, entry: FunctionState, route: Route, fields: Mapping[str, Any]
) -> Placed:
    old = entry.trigger(route.name).trigger if route.action == "UpdateTrigger" else None
    trigger = definition.trigger(fields, old)
    if old is None and trigger.name in entry.triggers:
        message = f"trigger '{trigger.name}' already exists in function '{route.function}'"
        raise ApiError("TriggerAlreadyExists", 409, message)
    try:
        return backend.put_trigger(account, route.function, trigger)
    except (KeyError, TypeError, ValueError) as problem:
        raise definition.invalid(f"triggerConfig: {problem!r} is missing or wrong") from None


def _trigger(function: str, placed: Placed) -> dict[str, Any]:
    trigger = placed.trigger
    return {
        "triggerName": trigger.name,
        "triggerId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{function}/{trigger.name}")),
        "triggerType": trigger.kind,
        "triggerConfig": json.dumps(trigger.config),
        "qualifier": trigger.qualifier,
        "description": trigger.description,
        "targetArn": function,
        "createdTime": utc(placed.created),
        "lastModifiedTime": utc(placed.modified),
    }


def _async_config(
    backend: FcBackend, account: str, entry: FunctionState, route: Route, query: Query, fields: Mapping[str, Any]
) -> Response:
    """Each version or alias has settings of its own."""
    qualifier = query.get("qualifier") or LATEST
    backend.function(account, route.function, qualifier)
    if route.action == "PutAsyncInvokeConfig":
        entry.async_configs[qualifier] = definition.async_config(
            fields, backend.now(), with_account=backend.tasks.knobs.destination_account == "required"
        )
    config = entry.async_configs.get(qualifier)
    if config is None:
        raise ApiError("AsyncConfigNotExists", 404, f"async config of function '{route.function}' does not exist")
    if route.action == "DeleteAsyncInvokeConfig":
        del entry.async_configs[qualifier]
        return no_content()
    arn = f"acs:fc:{backend.region}:{account}:functions/{route.function}"
    return answer(_settings(config, arn if qualifier == LATEST else f"{arn}/{qualifier}"))


def _settings(config: AsyncConfig, arn: str) -> dict[str, Any]:
    return {
        "functionArn": arn,
        "asyncTask": config.async_task,
        "maxAsyncRetryAttempts": config.max_retries,
        "maxAsyncEventAgeInSeconds": config.max_age,
        "destinationConfig": {"onFailure": {"destination": config.on_failure}} if config.on_failure else {},
        "createdTime": utc(config.modified),
        "lastModifiedTime": utc(config.modified),
    }


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
