"""The local cloud's own paths, unsigned: faults, clock, state, health. There is nothing like it on the real platform.

They answer only when asked for by a loopback name, and changes only to JSON: no web page can be made to call them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_type_hints

from link_peer_local.core.clock import VirtualClock, utc
from link_peer_local.core.faults import Fault
from link_peer_local.core.http import Request, Response
from link_peer_local.core.json_text import loads

if TYPE_CHECKING:
    from link_peer_local.cloud import LocalCloud

PREFIX = "/_local/"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
_MOST_SECONDS = 10 * 366 * 86_400


class _AdminError(Exception):
    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def handle(cloud: LocalCloud, request: Request) -> Response:
    """`GET health|state|faults`, `POST faults {fields of Fault}` or `{"clear": true}`, `POST clock {"advance": 60}`."""
    try:
        if request.host not in _LOOPBACK:
            raise _AdminError(403, "only by a loopback name")
        status, body = 200, _answer(cloud, request)
    except _AdminError as refusal:
        status, body = refusal.status, {"error": str(refusal)}
    return Response(status, {"Content-Type": "application/json"}, json.dumps(body, ensure_ascii=False).encode())


def _answer(cloud: LocalCloud, request: Request) -> dict[str, Any]:
    match request.method, request.path.removeprefix(PREFIX):
        case "GET", "health":
            return {"ok": True, "time": utc(cloud.clock.now())}
        case "GET", "state":
            return _state(cloud)
        case "GET", "faults":
            return {"waiting": [asdict(fault) for fault in cloud.faults.waiting()]}
        case "POST", "faults":
            return _faults(cloud, _json(request))
        case "POST", "clock":
            return _clock(cloud, _json(request))
    raise _AdminError(404, f"no such path: {request.method} {request.path}")


def _json(request: Request) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise _AdminError(415, "Content-Type must be application/json")
    try:
        body = loads(request.body)
    except ValueError as problem:
        raise _AdminError(400, f"not JSON: {problem}") from None
    if not isinstance(body, dict):
        raise _AdminError(400, "not an object")
    return body


def _faults(cloud: LocalCloud, body: dict[str, Any]) -> dict[str, Any]:
    if body == {"clear": True}:
        cloud.faults.clear()
    else:
        try:
            cloud.faults.add(_fault(body))
        except (TypeError, ValueError) as problem:
            raise _AdminError(400, str(problem)) from None
    return {"waiting": [asdict(fault) for fault in cloud.faults.waiting()]}


def _fault(body: dict[str, Any]) -> Fault:
    """TypeError or ValueError for what would fail only once a call meets it."""
    fault = Fault(**body)
    for name, kind in get_type_hints(Fault).items():
        if not isinstance(getattr(fault, name), int | float if kind is float else kind):
            raise TypeError(f"{name}: not {body[name]!r}")
    if not 400 <= (fault.status or 400) <= 599:
        raise ValueError("status: 400 to 599")
    if not 0 <= fault.seconds <= _MOST_SECONDS:
        raise ValueError("seconds: not negative, at most ten years")
    return fault


def _clock(cloud: LocalCloud, body: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(cloud.clock, VirtualClock):
        raise _AdminError(409, "this cloud runs by the machine's clock")
    seconds = body.get("advance")
    if not isinstance(seconds, int | float) or not 0 <= seconds <= _MOST_SECONDS:
        raise _AdminError(400, "advance: seconds, not negative, at most ten years")
    cloud.clock.advance(seconds)
    return {"time": utc(cloud.clock.now())}


def _state(cloud: LocalCloud) -> dict[str, Any]:
    """What a person wants to see at a glance: who is there, what waits, what was called."""
    calls: dict[str, int] = {}
    for call in list(cloud.faults.calls):
        name = f"{call.service}:{call.action}"
        calls[name] = calls.get(name, 0) + 1
    return {
        "time": utc(cloud.clock.now()),
        "region": cloud.region,
        "accounts": [{"id": account.uid, "name": account.name} for account in cloud.identity.accounts.values()],
        "roles": sorted(cloud.identity.roles),
        "calls": dict(sorted(calls.items())),
    }
