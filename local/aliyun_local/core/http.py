"""Requests and responses in the form that both entrances, HTTP and in-process, share, and the JSON that clients
send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct, field


class Request(Struct, frozen=True):
    """One HTTP request as it arrived.

    `path` and `query` are the raw, still percent-encoded target, because signatures are computed over the raw bytes.
    Header names are lower case; `body` is as sent, still compressed.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def host(self) -> str:
        """The Host header without scheme or port, e.g. `proj.cn-qingdao.log.aliyuncs.com`."""
        host = self.headers.get("host", "")
        host = host.split("://", 1)[-1]
        return host.rsplit(":", 1)[0] if ":" in host else host

    @property
    def params(self) -> dict[str, str]:
        """The parameters of the query; of several with one name the last."""
        return dict(pairs(self.query))


class Response(Struct):
    """One HTTP response; `headers` keep the platform's spelling."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class ConnectionDropped(Exception):
    """Injected fault: the connection is reset and the client gets no response. The change may have been made."""


class NoAnswer(Exception):
    """Injected fault: the server stays silent until the client times out. The change may have been made."""


@lru_cache(maxsize=256)
def pairs(query: str) -> tuple[tuple[str, str], ...]:
    """The names and values of a query, which those who verify, parse and answer a request each ask for."""
    return tuple(parse_qsl(query, keep_blank_values=True))


MAX_DEPTH = 100
"""Levels of lists and objects: far more than the APIs accept, far fewer than Python's encoder can write."""


def loads(text: str | bytes) -> Any:
    """Parse JSON text.

    ValueError for invalid JSON, for nesting deeper than MAX_DEPTH, and for values that cannot be sent back as UTF-8
    JSON: a lone surrogate, NaN, an infinite number.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level, depth = [value], 0
    while level := [inner for outer in level for inner in _within(outer)]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def loaded(text: str | bytes) -> Any:
    """What `loads` reads; None for what it refuses."""
    try:
        return loads(text)
    except ValueError:
        return None


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
