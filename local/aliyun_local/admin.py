"""The local cloud's own interface, which the real platform has nothing like: faults to inject, and what it holds.

Its paths are unsigned: `GET health|state|faults|knobs`, `POST faults|knobs`. Requests must use a loopback host name,
and changes must be JSON, so that no web page can make a browser call them.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import ValidationError, convert
from msgspec.structs import asdict

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.faults import Fault, Faults
from aliyun_local.core.http import Request, Response, loads
from aliyun_local.core.identity import Identity
from aliyun_local.core.knobs import Knobs, readings

PREFIX = "/_local/"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


class AdminBackend:
    """Reads a cloud's state, and changes its faults and knobs. Refusals are ApiErrors whose message says what is
    wrong."""

    def __init__(self, clock: Clock, faults: Faults, identity: Identity, region: str, knobs: Knobs) -> None:
        self._clock = clock
        self._faults = faults
        self._identity = identity
        self._region = region
        self._knobs = knobs

    def health(self) -> dict[str, Any]:
        """That the cloud runs, and its time."""
        return {"ok": True, "time": utc(self._clock.now())}

    def state(self) -> dict[str, Any]:
        """An overview for a person: accounts, roles, and the number of calls by action."""
        calls: dict[str, int] = {}
        for call in list(self._faults.calls):
            name = f"{call.service}:{call.action}"
            calls[name] = calls.get(name, 0) + 1
        return {
            "time": utc(self._clock.now()),
            "region": self._region,
            "accounts": [{"id": account.uid, "name": account.name} for account in self._identity.accounts.values()],
            "roles": sorted(self._identity.roles),
            "calls": dict(sorted(calls.items())),
        }

    def faults(self) -> dict[str, Any]:
        """The pending faults."""
        return {"waiting": [asdict(fault) for fault in self._faults.waiting()]}

    def change_faults(self, body: dict[str, Any]) -> dict[str, Any]:
        """Add one fault (`{fields of Fault}`) or remove all (`{"clear": true}`); answers with the pending ones."""
        if body == {"clear": True}:
            self._faults.clear()
        else:
            try:
                self._faults.add(convert(body, Fault))
            except (ValidationError, ValueError) as problem:
                raise _invalid(str(problem)) from None
        return self.faults()

    def knobs(self) -> dict[str, Any]:
        """The readings in force, and all that each knob can be set to."""
        return {"knobs": asdict(self._knobs), "readings": readings()}

    def change_knobs(self, body: dict[str, Any]) -> dict[str, Any]:
        """Set some knobs: `{name: reading}`."""
        try:
            self._knobs.change(body)
        except ValueError as problem:
            raise _invalid(str(problem)) from None
        return self.knobs()


def _invalid(problem: str) -> ApiError:
    return ApiError("Invalid", 400, problem)


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
    changes = {"faults": backend.change_faults, "knobs": backend.change_knobs}
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
