"""EventBridge on the wire: the REST form that older clients use, and what RAM checks for a call in either form.

`POST /openapi/putEvents` [src @alicloud/eventbridge 1.3.2]: those clients sign with `acs:<key>:<signature>`, send a
batch of CloudEvents, and read camel-case errors. Current clients use RPC. For RAM, a rule is
`eventbus/<bus>/rule/<name>` [doc CreateRule, "policies"].
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response, loaded
from aliyun_local.core.identity import Caller
from aliyun_local.core.policy import Access
from aliyun_local.eventbridge import linked_roles
from aliyun_local.eventbridge.backend import EventBridge

PATH = "/openapi/putEvents"


def action(request: Request) -> str:
    """The operation's name; `Unknown` for any other path."""
    return "PutEvents" if (request.method, request.path) == ("POST", PATH) else "Unknown"


def handle(backend: EventBridge, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller. Each event names its bus in the extension `aliyuneventbusname`."""
    if action(request) == "Unknown":
        raise ApiError("InvalidAction.NotFound", 404)
    if not request.headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
        raise ApiError("InvalidContentType", 415, "The content type must be application/cloudevents-batch+json.")
    return _json(200, {"RequestId": _request_id(), **backend.put(caller.account, loaded(request.body))})


def error(refusal: ApiError) -> Response:
    """A refusal in the form these clients read: `code`, `message`, `requestId`."""
    document = {"code": refusal.code, "message": refusal.message, "requestId": _request_id()}
    return _json(refusal.status, document)


def _json(status: int, document: Mapping[str, object]) -> Response:
    return Response(status, {"Content-Type": "application/json;charset=utf-8"}, json.dumps(document).encode())


def _request_id() -> str:
    return str(uuid.uuid4()).upper()


def access(request: Request, region: str, account: str) -> Access:
    """What a caller of `account` asks for with PutEvents in its REST form."""
    del request
    return called("PutEvents", {"EventBusName": "default"}, region, account)


def called(action: str, params: Mapping[str, str], region: str, account: str) -> Access:
    """What a caller of `account` asks for with an RPC call."""
    if action == "CreateServiceLinkedRoleForProduct":
        service = linked_roles.SERVICES.get(params.get("ProductName", ""), "")
        return Access("ram:CreateServiceLinkedRole", context={"ram:ServiceName": [service]})
    if action in linked_roles.ACTIONS:
        return Access(f"eventbridge:{action}")
    if "EventStreaming" in action:
        resource = f"eventstreaming/{params.get('EventStreamingName') or '*'}"
    else:
        resource = f"eventbus/{params.get('EventBusName') or '*'}"
        if "Rule" in action or "Target" in action:
            resource += f"/rule/{params.get('RuleName') or '*'}"
    return Access(f"eventbridge:{action}", [f"acs:eventbridge:{region}:{account}:{resource}"])


def refused(denied: Access) -> ApiError:
    """The refusal of what RAM does not allow."""
    [resource] = denied.resources or ["*"]
    message = f"You are not authorized to do this action. Action: {denied.action}, resource: {resource}"
    return ApiError("NoPermission", 403, message)
