"""The one shape in which a request reaches the local cloud, over HTTP or in-process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it arrived.

    `path` and `query` are the raw, still percent-encoded target (signatures are computed over the raw bytes);
    header names are lower case; `body` is as sent, still compressed.
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


@dataclass(slots=True)
class Response:
    """One HTTP answer; `headers` keep the platform's spelling."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class ConnectionDropped(Exception):
    """A fault: the connection is reset and the client gets no answer (the change may have been made)."""


class NoAnswer(Exception):
    """A fault: the server stays silent until the client gives up (the change may have been made)."""
