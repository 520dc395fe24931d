"""What RAM checks for an SLS request, and how SLS refuses it [doc SLS "RAM resources", "actions"; error "denied by sts or ram"].

Things that are created are named in the body; here their resource ends in `*`, so only a statement for all of them
allows it.
"""

from __future__ import annotations

from urllib.parse import unquote

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request
from link_peer_local.core.policy import Access
from link_peer_local.sls.address import project_and_region
from link_peer_local.sls.routes import route

_ACTIONS = {  # operations whose action has another name
    "PutLogs": "PostLogStoreLogs",
    "PutWebtracking": "PostLogStoreLogs",
    "GetLogs": "GetLogStoreLogs",
    "GetHistograms": "GetLogStoreHistogram",
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
    kind, _, rest = request.path.strip("/").partition("/")
    below = f"/{_KINDS.get(kind, kind)}/{unquote(rest.partition('/')[0]) or '*'}" if kind else ""
    if "/consumergroups" in request.path:
        below += f"/consumergroup/{names.get('group', '*')}"
    action = f"log:{_ACTIONS.get(operation, operation)}"
    return Access(action, [f"acs:log:{region}:{account}:project/{project}{below}"])


def refused(asked: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = asked.resources or ["*"]
    return ApiError("Unauthorized", 401, f"denied by sts or ram, action: {asked.action}, resource: {resource}")
