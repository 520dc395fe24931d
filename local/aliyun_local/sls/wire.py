"""SLS on the wire: REST paths, `x-log-*` headers, compressed bodies, JSON errors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from aliyun_local.sls import codec
from aliyun_local.sls.backend import SlsBackend
from aliyun_local.sls.codec import as_json, empty, headers
from aliyun_local.sls.consuming import Consuming
from aliyun_local.sls.routes import access, refused, route
from aliyun_local.sls.state import Page, shard_ranges

__all__ = ["access", "action", "error", "handle", "refused"]

MAIN_REGION = "cn-heyuan"
"""Where the records of an account's alert centre are kept [doc terraform alicloud_log_resource_record]."""


def action(request: Request) -> str:
    """The operation's name, e.g. `PutLogs`; `Unknown` for any other path."""
    return route(request)[0]


def handle(backend: SlsBackend, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller."""
    return _Call(backend, caller, request).answer()


def error(problem: ApiError) -> Response:
    """A refusal in the format of SLS: `{"errorCode", "errorMessage"}`."""
    return as_json({"errorCode": problem.code, "errorMessage": problem.message}, status=problem.status)


def _as_text(value: Any) -> str:
    """A JSON value in its query-string form."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Call(Consuming):
    """One request: checks what every operation needs, then runs the operation's method."""

    def answer(self) -> Response:
        if self.region not in (None, MAIN_REGION if "table" in self.path else self.backend.region):
            raise ApiError("ProjectNotExist", 404, f"The Project does not exist : {self.project}")
        version = self.request.headers.get("x-log-apiversion")
        if version is None:
            raise ApiError("MissingAPIVersion", 400)
        if version != "0.6.0":
            raise ApiError("InvalidAPIVersion", 400, f"x-log-apiversion {version} is unsupported.")
        digest = self.request.headers.get("content-md5")
        # SLS uses the upper-case hex digest, where HTTP specifies base64.
        if digest and digest != hashlib.md5(self.request.body).hexdigest().upper():  # noqa: S324 - their hash
            raise ApiError("PostBodyInvalid", 400, "Content-MD5 does not match the body.")
        method: Callable[[], Response | None] | None = getattr(self, f"_{self.name}", None)
        if method is None:
            raise ApiError("ParameterInvalid", 400, f"no such resource: {self.request.method} {self.request.path}")
        return method() or empty()

    # Writing

    def _PutLogs(self) -> None:  # noqa: N802
        self.backend.put(*self.store, codec.decode(self.body("application/x-protobuf")))

    # Searching

    def _GetLogs(self) -> Response:  # noqa: N802
        posted = self.request.method == "POST"
        if posted:
            self.query = {key: _as_text(value) for key, value in self.json_body().items()}
        reverse = self.query.get("reverse", "false").lower()
        if reverse not in ("true", "false"):
            raise ApiError("InvalidReverse", 400)
        query = self.query.get("query", "")
        page = self.backend.search(
            *self.store,
            self.moment("from"),
            self.moment("to"),
            query,
            topic=self.query.get("topic", ""),
            offset=self.integer("offset", 0),
            line=self.integer("line", 100),
            reverse=reverse == "true",
        )
        if posted:
            return self._search_answer(page, query)
        return as_json(
            page.logs,
            progress="Complete",
            count=str(len(page.logs)),
            processed_rows=str(page.processed),
            elapsed_millisecond="1",
            has_sql=_as_text(bool(page.sql)),
            where_query=query if query.isascii() and query.isprintable() else "",
            query_info="{}",
        )

    def _search_answer(self, page: Page, query: str) -> Response:
        meta = {
            "progress": "Complete",
            "count": len(page.logs),
            "processedRows": page.processed,
            "elapsedMillisecond": 1,
            "hasSQL": bool(page.sql),
            "whereQuery": query,
            "aggQuery": page.sql,
            "cpuSec": 0.0,
            "cpuCores": 0,
            "isAccurate": True,
            "mode": 0,
        }
        response = as_json({"meta": meta, "data": page.logs})
        return self._compressed(response)

    def _compressed(self, response: Response) -> Response:
        response.headers["x-log-bodyrawsize"] = str(len(response.body))
        response.body, coding = codec.compress(response.body, self.request.headers.get("accept-encoding", ""))
        if coding:
            response.headers["x-log-compresstype"] = coding
        return response

    # Reading shards

    def _ListShards(self) -> Response:  # noqa: N802
        store = self.backend.logstore(*self.store)
        return as_json(
            [
                {
                    "shardID": number,
                    "status": "readwrite",
                    "inclusiveBeginKey": begin,
                    "exclusiveEndKey": end,
                    "createTime": store.created,
                }
                for number, (begin, end) in enumerate(shard_ranges(len(store.shards)))
            ]
        )

    def _GetCursor(self) -> Response:  # noqa: N802
        cursor = self.backend.cursor(*self.store, int(self.path["shard"]), self.query.get("from", ""))
        return as_json({"cursor": cursor})

    def _GetCursorTime(self) -> Response:  # noqa: N802
        moment = self.backend.cursor_time(*self.store, int(self.path["shard"]), self.query.get("cursor", ""))
        return as_json({"cursor_time": moment})

    def _PullLogs(self) -> Response:  # noqa: N802
        if "query" in self.query:
            raise ApiError("ParameterInvalid", 400, "a query in PullLogs is not offered by the local cloud")
        groups, following = self.backend.pull(
            *self.store,
            int(self.path["shard"]),
            self.query.get("cursor", ""),
            self.integer("count", 1000),
            self.query.get("end_cursor"),
        )
        sent = {**headers(), "x-log-cursor": following, "x-log-count": str(len(groups))}
        sent["Content-Type"] = "application/x-protobuf"
        return self._compressed(Response(200, sent, codec.encode(groups)))
