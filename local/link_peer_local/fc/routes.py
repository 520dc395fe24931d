"""Which operation of Function Compute a request is for.

Paths of 2023-03-30 (FC 3.0), and of 2021-04-06 and 2016-08-15 (FC 2.0, where functions belong to a service) [src
fc20230330 4.8.3, fc-open20210406 2.0.12, aliyun-fc2 2.5.2].
"""

from __future__ import annotations

from urllib.parse import unquote

from msgspec import Struct

from link_peer_local.core.http import Request

VERSIONS = ("2023-03-30", "2021-04-06", "2016-08-15")


_CONTROL = {
    ("POST", "versions", 0): "PublishFunctionVersion",
    ("GET", "versions", 0): "ListFunctionVersions",
    ("POST", "aliases", 0): "CreateAlias",
    ("GET", "aliases", 0): "ListAliases",
    ("GET", "aliases", 1): "GetAlias",
    ("PUT", "aliases", 1): "UpdateAlias",
    ("GET", "triggers", 0): "ListTriggers",
    ("GET", "triggers", 1): "GetTrigger",
    ("DELETE", "versions", 1): "DeleteFunctionVersion",
    ("DELETE", "aliases", 1): "DeleteAlias",
    ("POST", "triggers", 0): "CreateTrigger",
    ("PUT", "triggers", 1): "UpdateTrigger",
    ("DELETE", "triggers", 1): "DeleteTrigger",
    ("GET", "async-invoke-config", 0): "GetAsyncInvokeConfig",
    ("PUT", "async-invoke-config", 0): "PutAsyncInvokeConfig",
    ("DELETE", "async-invoke-config", 0): "DeleteAsyncInvokeConfig",
}
"""Operations of FC 3.0 on what a function has: by method, the word after its name, and how many parts follow."""


class Route(Struct, frozen=True):
    """The operation and what the path names; `v2` for FC 2.0."""

    action: str
    v2: bool
    service: str = ""
    function: str = ""
    task: str = ""
    qualifier: str = ""
    name: str = ""  # of an alias or a trigger, or the number of a version


def parse(request: Request) -> Route | None:
    """The route of a request; None for a path that is no operation."""
    version, *rest = (unquote(part) for part in request.path.strip("/").split("/"))
    service = qualifier = ""
    v2 = version in VERSIONS[1:]
    if v2:
        if len(rest) < 2 or rest[0] != "services":
            return None
        service, rest = rest[1], rest[2:]
        if version == "2016-08-15":
            service, _, qualifier = service.partition(".")  # `service.qualifier` [src @alicloud/fc2 2.6.6]
    if not rest or rest[0] != "functions" or "" in rest:
        return None
    method = request.method
    if len(rest) <= 2 or rest[2:] == ["invocations"]:
        return _function(method, rest[1:], v2, service, qualifier)
    if not v2 and (found := _control(method, *rest[1:])):
        return found
    return _records(method, rest[1], rest[2], rest[3:], v2, service)


def _function(method: str, path: list[str], v2: bool, service: str, qualifier: str) -> Route | None:
    match method, path:
        case "GET", []:
            return Route("ListFunctions", v2, service)
        case "GET", [function]:
            return Route("GetFunction", v2, service, function, qualifier=qualifier)
        case "POST", [function, "invocations"]:
            return Route("InvokeFunction", v2, service, function, qualifier=qualifier)
        case "POST", [] if not v2:
            return Route("CreateFunction", v2)
        case "PUT" | "DELETE", [function] if not v2:
            return Route("UpdateFunction" if method == "PUT" else "DeleteFunction", v2, function=function)
    return None


def _control(method: str, function: str, kind: str, *path: str) -> Route | None:
    """Versions, aliases, triggers and the configuration of asynchronous invocations."""
    name = path[0] if path else ""
    action = _CONTROL.get((method, kind, len(path)))
    return Route(action, False, function=function, name=name) if action else None


def _records(method: str, function: str, kind: str, path: list[str], v2: bool, service: str) -> Route | None:
    """The records of asynchronous invocations: FC 2.0 has its own names for them."""
    if kind != ("stateful-async-invocations" if v2 else "async-tasks"):
        return None
    match method, path, v2:
        case "GET", [], _:
            return Route("ListStatefulAsyncInvocations" if v2 else "ListAsyncTasks", v2, service, function)
        case "GET", [task], _:
            return Route("GetStatefulAsyncInvocation" if v2 else "GetAsyncTask", v2, service, function, task)
        case "PUT", [task], True:
            return Route("StopStatefulAsyncInvocation", v2, service, function, task)
        case "PUT", [task, "stop"], False:
            return Route("StopAsyncTask", v2, service, function, task)
    return None
