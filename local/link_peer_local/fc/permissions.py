"""What RAM checks for a request to Function Compute, and how it is refused [doc FC "policies and sample policies"].

A resource is the path below the version: `functions/<name>`, `functions/<name>/aliases/<alias>`, and
`services/<service>/functions/<name>` on FC 2.0.
"""

from __future__ import annotations

from urllib.parse import parse_qs, unquote

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request
from link_peer_local.core.json_text import loads
from link_peer_local.core.policy import Access
from link_peer_local.fc import routes

_VERBS = ("invocations", "stop", "async-invoke-config", "provision-config", "code")
"""Last parts of paths that are no part of the resource."""

_NAMES = ("functionName", "aliasName", "triggerName", "serviceName")


def access(request: Request, region: str, account: str) -> Access | None:
    """What a caller of `account` asks for; None for a path that is no operation."""
    route = routes.parse(request)
    if route is None:
        return None
    _, *path = (unquote(part) for part in request.path.strip("/").split("/"))
    if path[-1] in _VERBS:
        path.pop()
    [qualifier] = parse_qs(request.query).get("qualifier", [""])[:1]
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


def refused(asked: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = asked.resources or ["*"]
    message = f"the caller is not authorized to perform '{asked.action}' on resource '{resource}'"
    return ApiError("AccessDenied", 403, message)


def _created(body: bytes) -> str:
    """The name in the body of a request that creates something; `*` without one."""
    try:
        given = loads(body)
    except ValueError:
        return "*"
    names = [given[name] for name in _NAMES if isinstance(given.get(name), str)] if isinstance(given, dict) else []
    return names[0] if names else "*"
