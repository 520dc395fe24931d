"""Responses of SLS: their common headers, JSON and empty bodies."""

from __future__ import annotations

import json
import secrets
from typing import Any

from link_peer_local.core.http import Response


def headers() -> dict[str, str]:
    """The headers of every response, with a new request id."""
    return {"Server": "nginx", "x-log-requestid": secrets.token_hex(12).upper()}


def empty() -> Response:
    """200 without a body, and without Content-Type: the Node client would run JSON.parse("") on empty JSON."""
    return Response(200, headers())


def as_json(value: Any, status: int = 200, **more: str) -> Response:
    """A value as JSON; `more` become x-log-* headers."""
    extra = {f"x-log-{name.replace('_', '-')}": text for name, text in more.items()}
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, {**headers(), "Content-Type": "application/json", **extra}, body)
