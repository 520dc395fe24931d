"""Which operation of SLS a request is for, by method, path and `?type=`; what RAM checks for it, and how SLS refuses
it.

[doc SLS "RAM resources", "actions"; error "denied by sts or ram"]. Things that are created are named in the body; here
their resource ends in `*`, so only a statement for all of them allows it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request
from aliyun_local.core.policy import Access

_GROUPS = r"/logstores/(?P<logstore>[^/]+)/consumergroups"

# Method, path, value of ?type= (None when absent), operation.
_ROUTES: list[tuple[str, re.Pattern[str], str | None, str]] = [
    (method, re.compile(path), kind, name)
    for method, path, kind, name in (
        ("POST", r"/", None, "CreateProject"),
        ("GET", r"/", None, "GetProject"),
        ("PUT", r"/", None, "UpdateProject"),
        ("DELETE", r"/", None, "DeleteProject"),
        ("POST", r"/logstores", None, "CreateLogStore"),
        ("GET", r"/logstores", None, "ListLogStores"),
        ("POST", r"/logstores/(?P<logstore>[^/]+)/shards/lb", None, "PutLogs"),
        ("POST", r"/logstores/(?P<logstore>[^/]+)/logs", None, "GetLogs"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)", "log", "GetLogs"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)", None, "GetLogStore"),
        ("PUT", r"/logstores/(?P<logstore>[^/]+)", None, "UpdateLogStore"),
        ("DELETE", r"/logstores/(?P<logstore>[^/]+)", None, "DeleteLogStore"),
        ("POST", r"/logstores/(?P<logstore>[^/]+)/index", None, "CreateIndex"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)/index", None, "GetIndex"),
        ("PUT", r"/logstores/(?P<logstore>[^/]+)/index", None, "UpdateIndex"),
        ("DELETE", r"/logstores/(?P<logstore>[^/]+)/index", None, "DeleteIndex"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)/shards", None, "ListShards"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)/shards/(?P<shard>[0-9]{1,9})", "cursor", "GetCursor"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)/shards/(?P<shard>[0-9]{1,9})", "cursor_time", "GetCursorTime"),
        ("GET", r"/logstores/(?P<logstore>[^/]+)/shards/(?P<shard>[0-9]{1,9})", "log", "PullLogs"),
        ("POST", _GROUPS, None, "CreateConsumerGroup"),
        ("GET", _GROUPS, None, "ListConsumerGroup"),
        ("PUT", rf"{_GROUPS}/(?P<group>[^/]+)", None, "UpdateConsumerGroup"),
        ("DELETE", rf"{_GROUPS}/(?P<group>[^/]+)", None, "DeleteConsumerGroup"),
        ("POST", rf"{_GROUPS}/(?P<group>[^/]+)", "heartbeat", "ConsumerGroupHeartBeat"),
        ("POST", rf"{_GROUPS}/(?P<group>[^/]+)", "checkpoint", "ConsumerGroupUpdateCheckPoint"),
        ("GET", rf"{_GROUPS}/(?P<group>[^/]+)", None, "GetCheckPoint"),
        ("POST", r"/dashboards", None, "CreateDashboard"),
        ("GET", r"/dashboards", None, "ListDashboard"),
        ("GET", r"/dashboards/(?P<name>[^/]+)", None, "GetDashboard"),
        ("PUT", r"/dashboards/(?P<name>[^/]+)", None, "UpdateDashboard"),
        ("DELETE", r"/dashboards/(?P<name>[^/]+)", None, "DeleteDashboard"),
        ("POST", r"/jobs", None, "CreateAlert"),
        ("GET", r"/jobs", None, "ListAlerts"),
        ("GET", r"/jobs/(?P<name>[^/]+)", None, "GetAlert"),
        ("PUT", r"/jobs/(?P<name>[^/]+)", None, "UpdateAlert"),
        ("DELETE", r"/jobs/(?P<name>[^/]+)", None, "DeleteAlert"),
        ("POST", r"/savedsearches", None, "CreateSavedSearch"),
        ("GET", r"/savedsearches", None, "ListSavedSearch"),
        ("GET", r"/savedsearches/(?P<name>[^/]+)", None, "GetSavedSearch"),
        ("PUT", r"/savedsearches/(?P<name>[^/]+)", None, "UpdateSavedSearch"),
        ("DELETE", r"/savedsearches/(?P<name>[^/]+)", None, "DeleteSavedSearch"),
        ("POST", r"/resources/(?P<table>[^/]+)/records", None, "CreateResourceRecord"),
        ("GET", r"/resources/(?P<table>[^/]+)/records", None, "ListResourceRecords"),
        ("DELETE", r"/resources/(?P<table>[^/]+)/records", None, "DeleteResourceRecord"),
        ("GET", r"/resources/(?P<table>[^/]+)/records/(?P<name>[^/]+)", None, "GetResourceRecord"),
        ("PUT", r"/resources/(?P<table>[^/]+)/records/(?P<name>[^/]+)", None, "UpdateResourceRecord"),
    )
]

OPERATIONS = frozenset({"ListProject", *(name for *_, name in _ROUTES)})
"""The operations that are offered."""


def route(request: Request) -> tuple[str, dict[str, str]]:
    """The operation's name (`Unknown` for any other path) and the names in its path."""
    kind = request.params.get("type") or None
    for method, pattern, route_kind, name in _ROUTES:
        match = pattern.fullmatch(request.path or "/")
        if match and method == request.method and route_kind == kind:
            if name == "GetProject" and not project_and_region(request)[0]:
                name = "ListProject"
            return name, {key: unquote(value) for key, value in match.groupdict().items()}
    return "Unknown", {}


_ENDPOINT = ".log.aliyuncs.com"
_NETWORKS = re.compile(r"-(intranet|internal|share|vpc)$")  # other endpoints of the same region
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def project_and_region(request: Request) -> tuple[str, str | None]:
    """The project ("" without one) and the region (None on loopback) of a request.

    `<project>.<region>.log.aliyuncs.com`, `<project>.localhost`, or `<project>.127.0.0.1` as the Python SDK sends it.
    """
    host = request.host
    if host.endswith(_ENDPOINT):
        project, _, region = host.removesuffix(_ENDPOINT).rpartition(".")
        return project, _NETWORKS.sub("", region)
    if "." not in host or _ADDRESS.fullmatch(host):
        return "", None
    return host.partition(".")[0], None


_ACTIONS = {  # operations whose action has another name
    "PutLogs": "PostLogStoreLogs",
    "GetLogs": "GetLogStoreLogs",
    "GetCursor": "GetCursorOrData",
    "GetCursorTime": "GetCursorOrData",
    "PullLogs": "GetCursorOrData",
    "CreateAlert": "CreateJob",
    "GetAlert": "GetJob",
    "ListAlerts": "ListJobs",
    "GetCheckPoint": "GetConsumerGroupCheckPoint",
    "UpdateAlert": "UpdateJob",
    "DeleteAlert": "DeleteJob",
}
_KINDS = {"logstores": "logstore", "dashboards": "dashboard", "jobs": "job", "savedsearches": "savedsearch"}


def access(request: Request, region: str, account: str) -> Access:
    """What a caller of `account` asks for."""
    operation, names = route(request)
    if "table" in names:
        record = names.get("name", "*")
        return Access(f"log:{operation}", [f"acs:log::{account}:resource/{names['table']}/record/{record}"])
    project = project_and_region(request)[0] or "*"
    kind, _, subpath = request.path.strip("/").partition("/")
    below = f"/{_KINDS.get(kind, kind)}/{unquote(subpath.partition('/')[0]) or '*'}" if kind else ""
    if "/consumergroups" in request.path:
        below += f"/consumergroup/{names.get('group', '*')}"
    action = f"log:{_ACTIONS.get(operation, operation)}"
    return Access(action, [f"acs:log:{region}:{account}:project/{project}{below}"])


def refused(denied: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = denied.resources or ["*"]
    return ApiError("Unauthorized", 401, f"denied by sts or ram, action: {denied.action}, resource: {resource}")
