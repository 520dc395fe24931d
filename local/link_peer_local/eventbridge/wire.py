"""EventBridge for its older clients: `POST /openapi/putEvents` with a batch of CloudEvents [src @alicloud/eventbridge 1.3.2].

Today's clients speak RPC (`local.rpc`); these sign with `acs:<key>:<signature>` and read camel-case errors.
"""

from __future__ import annotations

import json
import uuid

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Caller
from link_peer_local.core.json_text import loads
from link_peer_local.eventbridge.backend import EventBridge

PATH = "/openapi/putEvents"


def action(request: Request) -> str:
    """The operation's name; `Unknown` for a path that is none."""
    return "PutEvents" if (request.method, request.path) == ("POST", PATH) else "Unknown"


def handle(backend: EventBridge, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller. Each event names its bus as the extension `aliyuneventbusname`."""
    if action(request) == "Unknown":
        raise ApiError("InvalidAction.NotFound", 404, "Specified api is not found, please check your url and method.")
    if not request.headers.get("content-type", "").startswith("application/cloudevents-batch+json"):
        raise ApiError("InvalidContentType", 415, "The content type must be application/cloudevents-batch+json.")
    try:
        events = loads(request.body)
    except ValueError:
        events = None
    return _json(200, {"RequestId": _request_id(), **backend.put(caller.account, events)})


def error(refusal: ApiError) -> Response:
    """A refusal as these clients read it."""
    document = {"code": refusal.code, "message": refusal.message, "requestId": _request_id()}
    return _json(refusal.status, document)


def _json(status: int, document: dict[str, object]) -> Response:
    return Response(status, {"Content-Type": "application/json;charset=utf-8"}, json.dumps(document).encode())


def _request_id() -> str:
    return str(uuid.uuid4()).upper()
