"""Which operation of Function Compute a request is for, what RAM checks for it, and how it is refused.

Paths of 2023-03-30 (FC 3.0), and of 2021-04-06 and 2016-08-15 (FC 2.0, where functions belong to a service) [src
fc20230330 4.8.3, fc-open20210406 2.0.12, @alicloud/fc2 2.6.6].

A resource of RAM is the path below the version: `functions/<name>`, `functions/<name>/aliases/<alias>`, and
`services/<service>/functions/<name>` on FC 2.0 [doc FC "policies and sample policies"].
"""

from __future__ import annotations

from urllib.parse import unquote

from msgspec import Struct

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, loaded
from aliyun_local.core.policy import Access

V3 = ("2023-03-30",)
V2 = ("2021-04-06", "2016-08-15")
ALL = (*V3, *V2)


_TABLE = (
    ("POST", "functions", "CreateFunction", V3),
    ("GET", "functions", "ListFunctions", ALL),
    ("GET", "functions/<function>", "GetFunction", ALL),
    ("GET", "functions/<function>/code", "GetFunctionCode", ALL),
    ("PUT", "functions/<function>", "UpdateFunction", V3),
    ("DELETE", "functions/<function>", "DeleteFunction", V3),
    ("POST", "functions/<function>/invocations", "InvokeFunction", ALL),
    ("POST", "functions/<function>/versions", "PublishFunctionVersion", V3),
    ("GET", "functions/<function>/versions", "ListFunctionVersions", V3),
    ("DELETE", "functions/<function>/versions/<name>", "DeleteFunctionVersion", V3),
    ("POST", "functions/<function>/aliases", "CreateAlias", V3),
    ("GET", "functions/<function>/aliases", "ListAliases", V3),
    ("GET", "functions/<function>/aliases/<name>", "GetAlias", V3),
    ("PUT", "functions/<function>/aliases/<name>", "UpdateAlias", V3),
    ("DELETE", "functions/<function>/aliases/<name>", "DeleteAlias", V3),
    ("POST", "functions/<function>/triggers", "CreateTrigger", V3),
    ("GET", "functions/<function>/triggers", "ListTriggers", V3),
    ("GET", "functions/<function>/triggers/<name>", "GetTrigger", V3),
    ("PUT", "functions/<function>/triggers/<name>", "UpdateTrigger", V3),
    ("DELETE", "functions/<function>/triggers/<name>", "DeleteTrigger", V3),
    ("GET", "functions/<function>/async-invoke-config", "GetAsyncInvokeConfig", V3),
    ("PUT", "functions/<function>/async-invoke-config", "PutAsyncInvokeConfig", V3),
    ("DELETE", "functions/<function>/async-invoke-config", "DeleteAsyncInvokeConfig", V3),
    ("GET", "functions/<function>/async-tasks", "ListAsyncTasks", V3),
    ("GET", "functions/<function>/async-tasks/<task>", "GetAsyncTask", V3),
    ("PUT", "functions/<function>/async-tasks/<task>/stop", "StopAsyncTask", V3),
    ("GET", "functions/<function>/stateful-async-invocations", "ListStatefulAsyncInvocations", V2),
    ("GET", "functions/<function>/stateful-async-invocations/<task>", "GetStatefulAsyncInvocation", V2),
    ("PUT", "functions/<function>/stateful-async-invocations/<task>", "StopStatefulAsyncInvocation", V2),
)
"""Method, path below the version (of FC 2.0: below the service), operation, and the versions that have it."""

ACTIONS = frozenset(action for _, _, action, _ in _TABLE)
"""The operations that are offered."""


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
    version, *segments = request.path.strip("/").split("/")
    service = qualifier = ""
    if version in V2:
        if len(segments) < 2 or segments[0] != "services":
            return None
        service, segments = unquote(segments[1]), segments[2:]
        if version == "2016-08-15":
            service, _, qualifier = service.partition(".")  # `service.qualifier` [src @alicloud/fc2 2.6.6]
    for method, path, action, versions in _TABLE:
        parts = path.split("/")
        if method != request.method or version not in versions or len(parts) != len(segments):
            continue
        variables = {
            part.strip("<>"): unquote(segment) for part, segment in zip(parts, segments, strict=True) if part[0] == "<"
        }
        if (
            all(part[0] == "<" or part == segment for part, segment in zip(parts, segments, strict=True))
            and "" not in segments
        ):
            return Route(action, version in V2, service, qualifier=qualifier, **variables)
    return None


_VERBS = ("invocations", "stop", "async-invoke-config", "provision-config", "code")
"""Last parts of paths that are no part of the resource."""

_NAMES = ("functionName", "aliasName", "triggerName", "serviceName")


def access(request: Request, region: str, account: str) -> Access | None:
    """What a caller of `account` asks for; None for a path that is no operation."""
    route = parse(request)
    if route is None:
        return None
    _, *path = (unquote(part) for part in request.path.strip("/").split("/"))
    if path[-1] in _VERBS:
        path.pop()
    qualifier = request.params.get("qualifier", "")
    if route.action.startswith("List"):
        path.append("*")
    elif route.action.startswith("Create"):
        path.append(_created(request.body))
    elif qualifier and route.v2:
        path[1] = f"{path[1]}.{qualifier}"
    elif qualifier:
        path.append(qualifier)
    action = route.action.replace("AsyncInvokeConfig", "FunctionAsyncInvokeConfig")
    return Access(f"fc:{action}", [f"acs:fc:{region}:{account}:{'/'.join(path)}"])


def refused(denied: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = denied.resources or ["*"]
    message = f"the caller is not authorized to perform '{denied.action}' on resource '{resource}'"
    return ApiError("AccessDenied", 403, message)


def _created(body: bytes) -> str:
    """The name in the body of a request that creates something; `*` without one."""
    document = loaded(body)
    names = (
        [document[name] for name in _NAMES if isinstance(document.get(name), str)] if isinstance(document, dict) else []
    )
    return names[0] if names else "*"
