"""SLS on the wire: REST paths, `x-log-*` headers, compressed bodies, JSON errors."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from link_peer_local.core.errors import ApiError
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Caller
from link_peer_local.core.json_text import loads
from link_peer_local.sls import codec
from link_peer_local.sls.address import project_and_region
from link_peer_local.sls.backend import Logstore, Page, Project, SlsBackend, shard_ranges
from link_peer_local.sls.routes import route

_MOST_LISTED = 500
_LOGSTORE_DEFAULTS: dict[str, Any] = {
    "enable_tracking": False,
    "autoSplit": False,
    "maxSplitShard": 64,
    "appendMeta": False,
    "telemetryType": "",
    "mode": "standard",
}


def action(request: Request) -> str:
    """The operation's name, e.g. `PutLogs`; `Unknown` for a path that is none."""
    return route(request)[0]


def handle(backend: SlsBackend, caller: Caller, request: Request) -> Response:
    """Answer one request of a verified caller."""
    try:
        return _Call(backend, caller, request).answer()
    except ApiError as problem:
        return error(problem)


def error(problem: ApiError) -> Response:
    """A refusal as SLS writes it: `{"errorCode", "errorMessage"}`."""
    return _json({"errorCode": problem.code, "errorMessage": problem.message}, status=problem.status)


def _headers() -> dict[str, str]:
    return {"Server": "nginx", "x-log-requestid": secrets.token_hex(12).upper()}


def _empty() -> Response:
    # No Content-Type: the Node client runs JSON.parse("") on an empty body that claims JSON.
    return Response(200, _headers())


def _json(value: Any, status: int = 200, **headers: str) -> Response:
    extra = {f"x-log-{name.replace('_', '-')}": text for name, text in headers.items()}
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, {**_headers(), "Content-Type": "application/json", **extra}, body)


class _Call:
    """One request on its way through: what was asked for, by whom, of which project."""

    def __init__(self, backend: SlsBackend, caller: Caller, request: Request) -> None:
        self.backend = backend
        self.account = caller.account
        self.request = request
        self.project, self.region = project_and_region(request)
        self.name, self.path = route(request)
        self.query = dict(parse_qsl(request.query, keep_blank_values=True))

    def answer(self) -> Response:
        if self.region not in (None, self.backend.region):
            raise ApiError("ProjectNotExist", 404, f"The Project does not exist : {self.project}")
        version = self.request.headers.get("x-log-apiversion")
        if version is None:
            raise ApiError("MissingAPIVersion", 400, "x-log-apiversion does not exist in http header.")
        if version != "0.6.0":
            raise ApiError("InvalidAPIVersion", 400, f"x-log-apiversion {version} is unsupported.")
        digest = self.request.headers.get("content-md5")
        # SLS signs the upper-case hex digest, not base64 as HTTP has it.
        if digest and digest != hashlib.md5(self.request.body).hexdigest().upper():  # noqa: S324 - their hash
            raise ApiError("PostBodyInvalid", 400, "Content-MD5 does not match the body.")
        method: Callable[[], Response] | None = getattr(self, f"_{self.name}", None)
        if method is None:
            raise ApiError("ParameterInvalid", 400, f"no such resource: {self.request.method} {self.request.path}")
        return method()

    # What was sent

    @property
    def store(self) -> tuple[str, str, str]:
        return self.account, self.project, self.path["logstore"]

    def body(self, content_type: str) -> bytes:
        """The plain body, if it is of the type that the operation takes."""
        headers = self.request.headers
        sent = headers.get("content-type", "")
        if self.request.body and not sent:
            raise ApiError(
                "MissingContentType", 400, "Content-Type does not exist in http header when body is not empty."
            )
        if sent.partition(";")[0].strip() != content_type:
            raise ApiError("InvalidContentType", 415, f"Content-Type {sent} is unsupported.")
        return codec.decompress(
            self.request.body, headers.get("x-log-compresstype", ""), headers.get("x-log-bodyrawsize")
        )

    def json_body(self) -> dict[str, Any]:
        try:
            value = loads(self.body("application/json"))
        except ValueError as problem:
            raise ApiError("PostBodyInvalid", 400, "The request body is not valid JSON object.") from problem
        if not isinstance(value, dict):
            raise ApiError("PostBodyInvalid", 400, "The request body is not valid JSON object.")
        return value

    # Projects

    def _CreateProject(self) -> Response:  # noqa: N802 - named as the operation is
        body = self.json_body()
        name = str(body.get("projectName", ""))
        if self.project not in ("", name):
            raise ApiError("ParameterInvalid", 400, f"project name {name} is not that of the host, {self.project}")
        self.backend.create_project(self.account, name, str(body.get("description", "")))
        return _empty()

    def _GetProject(self) -> Response:  # noqa: N802
        return _json(self._shown(self.backend.project(self.account, self.project)))

    def _UpdateProject(self) -> Response:  # noqa: N802
        self.backend.update_project(self.account, self.project, str(self.json_body().get("description", "")))
        return _empty()

    def _DeleteProject(self) -> Response:  # noqa: N802
        self.backend.delete_project(self.account, self.project)
        return _empty()

    def _ListProject(self) -> Response:  # noqa: N802
        part = self.query.get("projectName", "")
        return self._listing(
            "projects", [self._shown(p) for p in self.backend.projects(self.account) if part in p.name]
        )

    def _shown(self, project: Project) -> dict[str, Any]:
        return {
            "projectName": project.name,
            "description": project.description,
            "status": "Normal",
            "owner": project.owner,
            "region": self.backend.region,
            "createTime": str(int(project.created)),
            "lastModifyTime": str(int(project.modified)),
        }

    def _listing(self, name: str, items: list[Any]) -> Response:
        offset, size = self._integer("offset", 0), self._integer("size", _MOST_LISTED)
        if offset < 0 or not 0 <= size <= _MOST_LISTED:
            raise ApiError("ParameterInvalid", 400, f"offset {offset} or size {size} is invalid")
        page = items[offset : offset + size]
        return _json({"count": len(page), "total": len(items), name: page})

    # Logstores

    def _CreateLogStore(self) -> Response:  # noqa: N802
        body = self.json_body()
        name, ttl, shards = body.pop("logstoreName", ""), body.pop("ttl", None), body.pop("shardCount", None)
        self.backend.create_logstore(self.account, self.project, str(name), ttl, shards, **body)
        return _empty()

    def _ListLogStores(self) -> Response:  # noqa: N802
        part = self.query.get("logstoreName", "")
        names = sorted(n for n in self.backend.project(self.account, self.project).logstores if part in n)
        return self._listing("logstores", names)

    def _GetLogStore(self) -> Response:  # noqa: N802
        store: Logstore = self.backend.logstore(*self.store)
        facts = {
            "logstoreName": store.name,
            "shardCount": len(store.shards),
            "createTime": store.created,
            "lastModifyTime": store.modified,
        }
        return _json({**_LOGSTORE_DEFAULTS, **store.settings, **facts})

    def _UpdateLogStore(self) -> Response:  # noqa: N802
        body = self.json_body()
        body.pop("logstoreName", None)
        body.pop("shardCount", None)  # shards change by split and merge only
        self.backend.update_logstore(*self.store, **body)
        return _empty()

    def _DeleteLogStore(self) -> Response:  # noqa: N802
        self.backend.delete_logstore(*self.store)
        return _empty()

    # Indexes

    def _CreateIndex(self) -> Response:  # noqa: N802
        self.backend.create_index(*self.store, self.json_body())
        return _empty()

    def _UpdateIndex(self) -> Response:  # noqa: N802
        self.backend.update_index(*self.store, self.json_body())
        return _empty()

    def _GetIndex(self) -> Response:  # noqa: N802
        store = self.backend.logstore(*self.store)
        facts = {"ttl": store.settings["ttl"], "index_mode": "v2", "lastModifyTime": store.modified}
        return _json({**facts, **self.backend.index(*self.store).document})

    def _DeleteIndex(self) -> Response:  # noqa: N802
        self.backend.delete_index(*self.store)
        return _empty()

    # Dashboards and alert rules

    def _CreateDashboard(self) -> Response:  # noqa: N802
        self.backend.create_dashboard(self.account, self.project, self.json_body())
        return _empty()

    def _ListDashboard(self) -> Response:  # noqa: N802
        names = sorted(self.backend.project(self.account, self.project).dashboards)
        return self._listing("dashboards", names)

    def _GetDashboard(self) -> Response:  # noqa: N802
        return _json(self.backend.dashboard(self.account, self.project, self.path["name"]))

    def _UpdateDashboard(self) -> Response:  # noqa: N802
        self.backend.update_dashboard(self.account, self.project, self.path["name"], self.json_body())
        return _empty()

    def _DeleteDashboard(self) -> Response:  # noqa: N802
        self.backend.delete_dashboard(self.account, self.project, self.path["name"])
        return _empty()

    def _CreateAlert(self) -> Response:  # noqa: N802
        self.backend.create_alert(self.account, self.project, self.json_body())
        return _empty()

    def _ListAlerts(self) -> Response:  # noqa: N802
        if self.query.get("jobType", "Alert") != "Alert":
            return self._listing("results", [])
        alerts = self.backend.project(self.account, self.project).alerts
        return self._listing("results", [alerts[name] for name in sorted(alerts)])

    def _GetAlert(self) -> Response:  # noqa: N802
        return _json(self.backend.alert(self.account, self.project, self.path["name"]))

    def _UpdateAlert(self) -> Response:  # noqa: N802
        name = self.path["name"]
        if action := self.query.get("action"):
            if action not in ("enable", "disable"):
                raise ApiError("ParameterInvalid", 400, f"action {action} is invalid")
            state = f"{action}d".capitalize()
            document = {**self.backend.alert(self.account, self.project, name), "state": state, "status": state}
        else:
            document = self.json_body()
        self.backend.update_alert(self.account, self.project, name, document)
        return _empty()

    def _DeleteAlert(self) -> Response:  # noqa: N802
        self.backend.delete_alert(self.account, self.project, self.path["name"])
        return _empty()

    # Writing

    def _PutLogs(self) -> Response:  # noqa: N802
        group = codec.decode(self.body("application/x-protobuf"))
        route = self.query.get("key") if self.request.path.endswith("/route") else None
        self.backend.put(*self.store, group, route)
        return _empty()

    def _PutWebtracking(self) -> Response:  # noqa: N802
        if not self.backend.logstore(*self.store).settings.get("enable_tracking"):
            raise ApiError("Unauthorized", 401, "web tracking is not enabled for this logstore")
        group = codec.from_tracking(self.json_body(), int(self.backend.now()))
        self.backend.put(*self.store, group)
        return _empty()

    # Searching

    def _GetLogs(self) -> Response:  # noqa: N802
        posted = self.request.method == "POST"
        if posted:
            self.query = {key: _text(value) for key, value in self.json_body().items()}
        reverse = self.query.get("reverse", "false").lower()
        if reverse not in ("true", "false"):
            raise ApiError("InvalidReverse", 400, "Reverse value is invalid")
        query = self.query.get("query", "")
        page = self.backend.search(
            *self.store,
            self._moment("from"),
            self._moment("to"),
            query,
            topic=self.query.get("topic", ""),
            offset=self._integer("offset", 0),
            line=self._integer("line", 100),
            reverse=reverse == "true",
        )
        if posted:
            return self._search_answer(page, query)
        return _json(
            page.logs,
            progress="Complete",
            count=str(len(page.logs)),
            processed_rows=str(page.processed),
            elapsed_millisecond="1",
            has_sql=_text(bool(page.sql)),
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
        response = _json({"meta": meta, "data": page.logs})
        return self._compressed(response)

    def _compressed(self, response: Response) -> Response:
        response.headers["x-log-bodyrawsize"] = str(len(response.body))
        response.body, coding = codec.compress(response.body, self.request.headers.get("accept-encoding", ""))
        if coding:
            response.headers["x-log-compresstype"] = coding
        return response

    def _GetHistograms(self) -> Response:  # noqa: N802
        start, end = self._integer("from"), self._integer("to")
        bars = self.backend.histogram(*self.store, start, end, self.query.get("query", ""), self.query.get("topic", ""))
        answer = [{"from": left, "to": right, "count": n, "progress": "Complete"} for left, right, n in bars]
        return _json(answer, progress="Complete", count=str(sum(n for _, _, n in bars)))

    # Reading shards

    def _ListShards(self) -> Response:  # noqa: N802
        store = self.backend.logstore(*self.store)
        return _json(
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
        return _json({"cursor": cursor})

    def _GetCursorTime(self) -> Response:  # noqa: N802
        moment = self.backend.cursor_time(*self.store, int(self.path["shard"]), self.query.get("cursor", ""))
        return _json({"cursor_time": moment})

    def _PullLogs(self) -> Response:  # noqa: N802
        if "query" in self.query:
            raise ApiError("ParameterInvalid", 400, "a query in PullLogs is not offered by the local cloud")
        groups, following = self.backend.pull(
            *self.store,
            int(self.path["shard"]),
            self.query.get("cursor", ""),
            self._integer("count", 1000),
            self.query.get("end_cursor"),
        )
        headers = {**_headers(), "x-log-cursor": following, "x-log-count": str(len(groups))}
        headers["Content-Type"] = "application/x-protobuf"
        return self._compressed(Response(200, headers, codec.encode(groups)))

    # Parameters

    def _integer(self, name: str, default: int | None = None) -> int:
        text = self.query.get(name)
        if not text and default is not None:  # the Node client sends `offset=` for what its caller left out
            return default
        if text is None or not re.fullmatch(r"-?\d{1,18}", text, re.ASCII):
            raise ApiError("ParameterInvalid", 400, f"parameter {name} is invalid")
        return int(text)

    def _moment(self, name: str) -> float:
        return self._integer(name) + self._integer(f"{name}Ns", 0) / 1e9


def _text(value: Any) -> str:
    """A JSON value as its query-string form."""
    return str(value).lower() if isinstance(value, bool) else str(value)
