"""The local cloud's own paths, unsigned: `GET health|state|faults|knobs`, `POST faults|knobs|clock`.

Requests must use a loopback host name, and changes must be JSON, so that no web page can make a browser call them.
"""

from __future__ import annotations

import json
from typing import Any

from link_peer_local.admin.backend import AdminBackend
from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request, Response, loads

PREFIX = "/_local/"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


def handle(backend: AdminBackend, request: Request) -> Response:
    """Answer one request in JSON; refusals are `{"error": what is wrong}`."""
    try:
        return _json(200, _answer(backend, request))
    except ApiError as refusal:
        return error(refusal)


def error(refusal: ApiError) -> Response:
    """A refusal as `{"error": message}`."""
    return _json(refusal.status, {"error": refusal.message})


def _answer(backend: AdminBackend, request: Request) -> dict[str, Any]:
    if request.host not in _LOOPBACK:
        raise ApiError("Forbidden", 403, "only by a loopback name")
    reads = {"health": backend.health, "state": backend.state, "faults": backend.faults, "knobs": backend.knobs}
    changes = {"faults": backend.change_faults, "knobs": backend.change_knobs, "clock": backend.advance}
    name = request.path.removeprefix(PREFIX)
    if request.method == "GET" and name in reads:
        return reads[name]()
    if request.method == "POST" and name in changes:
        return changes[name](_body(request))
    raise ApiError("NotFound", 404, f"no such path: {request.method} {request.path}")


def _body(request: Request) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise ApiError("UnsupportedMediaType", 415, "Content-Type must be application/json")
    try:
        body = loads(request.body)
    except ValueError as problem:
        raise ApiError("Invalid", 400, f"invalid JSON: {problem}") from None
    if not isinstance(body, dict):
        raise ApiError("Invalid", 400, "the body must be a JSON object")
    return body


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(status, {"Content-Type": "application/json"}, json.dumps(body, ensure_ascii=False).encode())
