"""The REST wire that older EventBridge clients use: `POST /openapi/putEvents` [src @alicloud/eventbridge 1.3.2].

Those clients sign with `acs:<key>:<signature>`, send a batch of CloudEvents, and read camel-case errors. Current
clients use RPC (`wire`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from link_peer_local.core.errors import ApiError, unknown_action
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Caller
from link_peer_local.core.json_text import loads
from link_peer_local.eventbridge.backend import EventBridge

PATH = "/openapi/putEvents"


def action(request: Request) -> str:
    """The operation's name; `Unknown` for any other path."""
    return "PutEvents" if (request.method, request.path) == ("POST", PATH) else "Unknown"


def handle(backend: EventBridge, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller. Each event names its bus in the extension `aliyuneventbusname`."""
    if action(request) == "Unknown":
        raise unknown_action()
    if not request.headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
        raise ApiError("InvalidContentType", 415, "The content type must be application/cloudevents-batch+json.")
    try:
        events = loads(request.body)
    except ValueError:
        events = None
    return _json(200, {"RequestId": _request_id(), **backend.put(caller.account, events)})


def error(refusal: ApiError) -> Response:
    """A refusal in the form these clients read: `code`, `message`, `requestId`."""
    document = {"code": refusal.code, "message": refusal.message, "requestId": _request_id()}
    return _json(refusal.status, document)


def _json(status: int, document: Mapping[str, object]) -> Response:
    return Response(status, {"Content-Type": "application/json;charset=utf-8"}, json.dumps(document).encode())


def _request_id() -> str:
    return str(uuid.uuid4()).upper()
