"""Requests and responses in the form that both entrances, HTTP and in-process, share."""

from __future__ import annotations

from collections.abc import Mapping

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


class Response(Struct):
    """One HTTP response; `headers` keep the platform's spelling."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class ConnectionDropped(Exception):
    """Injected fault: the connection is reset and the client gets no response. The change may have been made."""


class NoAnswer(Exception):
    """Injected fault: the server stays silent until the client times out. The change may have been made."""
