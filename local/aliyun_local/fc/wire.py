"""Function Compute on the wire: FC 3.0, and FC 2.0 where functions belong to a service.

Fields [src fc20230330 4.8.3, fc-open20210406 2.0.12, aliyun-fc2 2.5.2]; errors [doc
function-compute/latest/error-codes].
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from aliyun_local.fc import control, routes
from aliyun_local.fc.backend import Deployed, FcBackend, Invocation
from aliyun_local.fc.rendering import answer, number, page, render_function, render_task
from aliyun_local.fc.routes import Route, access, refused
from aliyun_local.fc.tasks import STATUSES, Task, new_request_id
from aliyun_local.fc.versions import LATEST

__all__ = ["PACKAGES", "access", "action", "download", "error", "handle", "refused"]

PACKAGES = "/packages/"
"""Where packages are downloaded from: in place of a bucket of OSS."""

_HOST = re.compile(r"(\d+)\.([a-z0-9-]+?)(?:-internal)?\.fc\.aliyuncs\.com")
MAX_TAIL = 4096  # "the last 4 KB of the log" [doc InvokeFunction]


def action(request: Request) -> str:
    """The operation's name, e.g. `InvokeFunction`; `Unknown` for any other path."""
    route = routes.parse(request)
    return route.action if route else "Unknown"


def error(refusal: ApiError) -> Response:
    """A refusal by the service itself: never 200, unlike an error of the function."""
    request_id = new_request_id()
    document = {"RequestId": request_id, "Code": refusal.code, "Message": refusal.message}
    # Clients of 2016-08-15 read these instead.
    document |= {"ErrorCode": refusal.code, "ErrorMessage": refusal.message}
    return Response(
        refusal.status,
        {"Content-Type": "application/json", "X-Fc-Request-Id": request_id, "X-Fc-Error-Type": "FcCommonError"},
        json.dumps(document).encode(),
    )


def handle(backend: FcBackend, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller."""
    route = routes.parse(request)
    if route is None:
        raise ApiError("PathNotSupported", 400, f"'{request.method}' against '{request.path}' is not supported")
    _check_place(backend, caller, request)
    _check_digest(request)
    if route.v2 and route.service != backend.service:
        raise ApiError("ServiceNotFound", 404, f"service '{route.service}' does not exist")
    query = request.params
    if route.action == "ListFunctions":
        functions = [
            item for item in backend.functions(caller.account) if item.function.name.startswith(_prefix(query))
        ]
        rows, token = page(functions, query)
        rendered = [render_function(backend, caller.account, item, route.v2) for item in rows]
        return answer({"functions": rendered, "nextToken": token})
    if route.action in control.ACTIONS:
        return control.handle(backend, caller, route, query, request.body)
    qualifier = query.get("qualifier") or route.qualifier
    if route.action == "ListAsyncTasks":
        qualifier = ""  # here it says which records are wanted
    try:
        deployed = backend.function(caller.account, route.function, qualifier)
    except ApiError as refusal:
        if route.v2 and refusal.code == "FunctionNotFound":
            refusal = ApiError(refusal.code, 404, f"{refusal.message} in service '{route.service}'")
        raise refusal
    if route.action in ("GetFunction", "GetFunctionCode"):
        return _get_function(backend, caller, route, request, deployed)
    if route.action == "InvokeFunction":
        return _invoke(backend, caller, route, request, qualifier)
    return _records(backend, caller, route, query, deployed)


def _get_function(backend: FcBackend, caller: Caller, route: Route, request: Request, deployed: Deployed) -> Response:
    if route.action == "GetFunction":
        return answer(render_function(backend, caller.account, deployed, route.v2))
    package = backend.package(deployed.function)
    place = backend.endpoint() or f"http://{request.host}"  # the SDK's Host has no port
    return answer({"checksum": package.digest, "url": f"{place}{PACKAGES}{package.token}"})


def download(backend: FcBackend, request: Request) -> Response:
    """The package of a signed address, which needs no other signature [doc GetFunctionCode]."""
    packed = backend.packages.get(request.path.removeprefix(PACKAGES))
    return Response(200, {}, packed) if packed else Response(403, {}, b"<Code>AccessDenied</Code>")


def _check_place(backend: FcBackend, caller: Caller, request: Request) -> None:
    place = _HOST.fullmatch(request.host)
    if place and place[1] != caller.account:
        raise ApiError("AccessDenied", 403, f"the caller is not of account '{place[1]}'")
    if place and place[2] != backend.region:
        raise ApiError("InvalidArgument", 400, f"region '{place[2]}' is not this one")


def _check_digest(request: Request) -> None:
    """Content-MD5 in hex, or base64 of either form: clients differ."""
    digest = hashlib.md5(request.body, usedforsecurity=False)
    forms = [base64.b64encode(form).decode() for form in (digest.hexdigest().encode(), digest.digest())]
    if request.headers.get("content-md5", forms[0]) not in (digest.hexdigest(), *forms):
        raise ApiError("InvalidArgument", 400, "the Content-MD5 does not match the body")


def _invoke(backend: FcBackend, caller: Caller, route: Route, request: Request, qualifier: str) -> Response:
    kind = request.headers.get("x-fc-invocation-type", "Sync")
    log_type = request.headers.get("x-fc-log-type", "None")
    if kind not in ("Sync", "Async"):
        raise ApiError("InvalidArgument", 400, f"invocation type '{kind}' is invalid (allowed values: Sync, Async)")
    if log_type not in ("None", "Tail"):
        raise ApiError("InvalidArgument", 400, f"log type '{log_type}' is invalid (allowed values: None, Tail)")
    if kind == "Async":
        header = "X-Fc-Stateful-Async-Invocation-Id" if route.v2 else "X-Fc-Async-Task-Id"
        task_id = request.headers.get(header.lower())
        accepted = backend.invoke_async(caller.account, route.function, request.body, task_id, qualifier)
        task = accepted.task.id if accepted.task else ""
        return Response(202, {"X-Fc-Request-Id": accepted.request_id, header: task})
    invocation = backend.invoke(caller.account, route.function, request.body, qualifier)
    return Response(200, _headers(invocation, log_type), invocation.result.body if invocation.result else b"")


def _headers(invocation: Invocation, log_type: str) -> dict[str, str]:
    headers = {
        "Content-Type": "application/octet-stream",
        "X-Fc-Request-Id": invocation.request_id,
        "X-Fc-Invocation-Duration": str(round(invocation.seconds * 1000)),
    }
    if invocation.result and invocation.result.error_type:
        headers["X-Fc-Error-Type"] = invocation.result.error_type
    if invocation.result and log_type == "Tail":
        headers["X-Fc-Log-Result"] = base64.b64encode(
            invocation.result.log.encode(errors="replace")[-MAX_TAIL:]
        ).decode()
    return headers


def _records(
    backend: FcBackend, caller: Caller, route: Route, query: Mapping[str, str], deployed: Deployed
) -> Response:
    function = deployed.function
    payload = query.get("includePayload", "").lower() == "true"
    if route.task:
        task = backend.tasks.get(caller.account, function, route.task)
        if route.action.startswith("Stop"):
            backend.tasks.cancel(task)
            return Response(204, {"X-Fc-Request-Id": new_request_id()})
        return answer(render_task(task, backend, route.v2, payload=True))
    _one_of(query, "status", STATUSES)
    tasks = [task for task in backend.tasks.of(caller.account, function) if _matches(task, query, route.v2)]
    tasks.sort(key=lambda task: task.started or task.enqueued)
    if _one_of(query, "sortOrderByTime", ("asc", "desc")) == "desc":
        tasks.reverse()
    page_tasks, token = page(tasks, query)
    rows = [render_task(task, backend, route.v2, payload) for task in page_tasks]
    return answer({"invocations" if route.v2 else "tasks": rows, "nextToken": token})


def _prefix(query: Mapping[str, str]) -> str:
    return query.get("invocationIdPrefix") or query.get("prefix") or ""


def _matches(task: Task, query: Mapping[str, str], v2: bool) -> bool:
    started = (task.started or task.enqueued) * 1000
    return (
        task.id.startswith(_prefix(query))
        and (query.get("status") or task.status) == task.status
        and (v2 or (query.get("qualifier") or LATEST) == task.qualifier)
        and number(query, "startedTimeBegin", 0) <= started <= number(query, "startedTimeEnd", 1 << 62)
    )


def _one_of(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    text = query.get(name, "")
    if text and text not in allowed:
        raise ApiError("InvalidArgument", 400, f"{name} '{text}' is invalid (allowed values: {', '.join(allowed)})")
    return text
