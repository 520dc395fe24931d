"""An SLS request as it arrived: project, operation, parameters, body."""

from __future__ import annotations

import re
from typing import Any

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request, loaded
from link_peer_local.sls import codec
from link_peer_local.sls.routes import project_and_region, route


class Incoming:
    """A request whose target was parsed: `project` ("" without one), `region` (None on loopback), the operation's
    `name`, and `path`, the names in its path. An operation whose parameters are in the body replaces `query`."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.project, self.region = project_and_region(request)
        self.name, self.path = route(request)
        self.query = request.params

    def body(self, content_type: str) -> bytes:
        """The decompressed body; ApiError when its Content-Type is another."""
        headers = self.request.headers
        sent = headers.get("content-type", "")
        if self.request.body and not sent:
            raise ApiError("MissingContentType", 400)
        if sent.partition(";")[0].strip() != content_type:
            raise ApiError("InvalidContentType", 415, f"Content-Type {sent} is unsupported.")
        return codec.decompress(
            self.request.body, headers.get("x-log-compresstype", ""), headers.get("x-log-bodyrawsize")
        )

    def json_body(self) -> dict[str, Any]:
        """The body as a JSON object."""
        return self.json_object(self.body("application/json"))

    @staticmethod
    def json_object(text: bytes) -> dict[str, Any]:
        """A text as a JSON object."""
        value = loaded(text)
        if not isinstance(value, dict):
            raise ApiError("PostBodyInvalid", 400)
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole-number parameter; ApiError when it is invalid, or absent without a default."""
        text = self.query.get(name)
        if not text and default is not None:  # the Node client sends `offset=` for omitted parameters
            return default
        if text is None or not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
            raise ApiError("ParameterInvalid", 400, f"parameter {name} is invalid")
        return int(text)

    def moment(self, name: str) -> float:
        """An epoch time in seconds, with the nanoseconds of `<name>Ns`."""
        return self.integer(name) + self.integer(f"{name}Ns", 0) / 1e9


def as_text(value: Any) -> str:
    """A JSON value in its query-string form."""
    return str(value).lower() if isinstance(value, bool) else str(value)
