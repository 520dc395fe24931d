"""An SLS request as it arrived, and the operations on what a project consists of: the project, its logstores, indexes,
dashboards and alert rules."""

from __future__ import annotations

import re
import uuid
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response, loaded
from aliyun_local.core.identity import Caller
from aliyun_local.core.real_api import not_offered
from aliyun_local.sls import codec
from aliyun_local.sls.backend import SlsBackend
from aliyun_local.sls.codec import as_json
from aliyun_local.sls.documents import Documents
from aliyun_local.sls.routes import project_and_region, route
from aliyun_local.sls.state import Logstore, Project

_MOST_LISTED = 500
_LOGSTORE_DEFAULTS: dict[str, Any] = {
    "enable_tracking": False,
    "autoSplit": False,
    "maxSplitShard": 64,
    "appendMeta": False,
    "telemetryType": "",
    "mode": "standard",
}


class Settings:
    """A request of a verified caller. Each operation is a method named `_<Operation>`, which returns None where 200 is
    the answer.

    `project` is "" without one, `region` None on loopback, `name` that of the operation, and `path` has the names in
    the path. An operation whose parameters are in the body replaces `query`.
    """

    def __init__(self, backend: SlsBackend, caller: Caller, request: Request) -> None:
        self.backend = backend
        self.account = caller.account
        self.request = request
        self.project, self.region = project_and_region(request)
        self.name, self.path = route(request)
        self.query = request.params

    @property
    def store(self) -> tuple[str, str, str]:
        """Account, project and logstore of the request."""
        return self.account, self.project, self.path["logstore"]

    def body(self, content_type: str) -> bytes:
        """The decompressed body; ApiError when its Content-Type is another."""
        headers = self.request.headers
        sent = headers.get("content-type", "")
        if self.request.body and not sent:
            raise ApiError("MissingContentType", 400)
        if sent.partition(";")[0].strip() != content_type:
            raise ApiError("InvalidContentType", 400, f"Content-Type {sent} is unsupported.")
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

    # Projects

    def _CreateProject(self) -> None:  # noqa: N802 - named as the operation is
        body = self.json_body()
        name = str(body.get("projectName", ""))
        if self.project not in ("", name):
            raise ApiError("ParameterInvalid", 400, f"project name {name} is not that of the host, {self.project}")
        self.backend.create_project(self.account, name, str(body.get("description", "")))

    def _GetProject(self) -> Response:  # noqa: N802
        return as_json(self._body(self.backend.project(self.account, self.project)))

    def _UpdateProject(self) -> None:  # noqa: N802
        self.backend.update_project(self.account, self.project, str(self.json_body().get("description", "")))

    def _DeleteProject(self) -> None:  # noqa: N802
        self.backend.delete_project(self.account, self.project)

    def _ListProject(self) -> Response:  # noqa: N802
        part = self.query.get("projectName", "")
        return self._listing("projects", [self._body(p) for p in self.backend.projects(self.account) if part in p.name])

    def _body(self, project: Project) -> dict[str, Any]:
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
        offset, size = self.integer("offset", 0), self.integer("size", _MOST_LISTED)
        if offset < 0 or not 0 <= size <= _MOST_LISTED:
            raise ApiError("ParameterInvalid", 400, f"offset {offset} or size {size} is invalid")
        page = items[offset : offset + size]
        return as_json({"count": len(page), "total": len(items), name: page})

    # Logstores

    def _CreateLogStore(self) -> None:  # noqa: N802
        body = self.json_body()
        name, ttl, shards = body.pop("logstoreName", ""), body.pop("ttl", None), body.pop("shardCount", None)
        self.backend.create_logstore(self.account, self.project, str(name), ttl, shards, **body)

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
        return as_json({**_LOGSTORE_DEFAULTS, **store.settings, **facts})

    def _UpdateLogStore(self) -> None:  # noqa: N802
        body = self.json_body()
        body.pop("logstoreName", None)
        body.pop("shardCount", None)  # shards change by split and merge only
        self.backend.update_logstore(*self.store, **body)

    def _DeleteLogStore(self) -> None:  # noqa: N802
        self.backend.delete_logstore(*self.store)

    # Indexes

    def _CreateIndex(self) -> None:  # noqa: N802
        self.backend.create_index(*self.store, self.json_body())

    def _UpdateIndex(self) -> None:  # noqa: N802
        self.backend.update_index(*self.store, self.json_body())

    def _GetIndex(self) -> Response:  # noqa: N802
        store = self.backend.logstore(*self.store)
        facts = {"ttl": store.settings["ttl"], "index_mode": "v2", "lastModifyTime": store.modified}
        return as_json({**facts, **self.backend.index(*self.store).document})

    def _DeleteIndex(self) -> None:  # noqa: N802
        self.backend.delete_index(*self.store)

    # Dashboards, alert rules and saved searches

    @property
    def _documents(self) -> Documents:
        project = self.backend.project(self.account, self.project)
        kinds = {"Dashboard": project.dashboards, "SavedSearch": project.searches}
        return next((documents for kind, documents in kinds.items() if self.name.endswith(kind)), project.alerts)

    def _create_document(self) -> None:
        self._documents.create(self.json_body())

    def _get_document(self) -> Response:
        return as_json(self._documents.read(self.path["name"]))

    def _update_document(self) -> None:
        self._documents.update(self.path["name"], self.json_body())

    def _delete_document(self) -> None:
        self._documents.delete(self.path["name"])

    _CreateDashboard = _CreateAlert = _CreateSavedSearch = _create_document
    _GetDashboard = _GetAlert = _GetSavedSearch = _get_document
    _UpdateDashboard = _UpdateSavedSearch = _update_document
    _DeleteDashboard = _DeleteAlert = _DeleteSavedSearch = _delete_document

    def _ListDashboard(self) -> Response:  # noqa: N802
        return self._listing("dashboards", list(self._documents))

    def _ListSavedSearch(self) -> Response:  # noqa: N802
        return self._listing("savedsearches", list(self._documents))

    def _ListAlerts(self) -> Response:  # noqa: N802
        if self.query.get("jobType", "Alert") != "Alert":
            return self._listing("results", [])
        return self._listing("results", list(self._documents.values()))

    def _UpdateAlert(self) -> None:  # noqa: N802
        if self.query.get("action"):
            raise not_offered("sls", "action of UpdateAlert")
        self._update_document()

    # Records of the alert centre

    @property
    def _records(self) -> Documents:
        return self.backend.records(self.account, self.path["table"])

    def _record(self) -> dict[str, Any]:
        """The record in the body. The official Python client names no Content-Type [src create_resource_record]."""
        record = self.json_object(self.request.body)
        record.setdefault("id", self.path.get("name") or uuid.uuid4().hex)
        return record

    def _CreateResourceRecord(self) -> Response:  # noqa: N802
        record = self._record()
        self._records.create(record)
        return as_json({"id": record["id"]})

    def _GetResourceRecord(self) -> Response:  # noqa: N802
        return as_json(self._records.read(self.path["name"]))

    def _ListResourceRecords(self) -> Response:  # noqa: N802
        return self._listing("items", list(self._records.values()))

    def _UpdateResourceRecord(self) -> None:  # noqa: N802
        self._records.update(self.path["name"], self._record())

    def _DeleteResourceRecord(self) -> None:  # noqa: N802
        for name in self.query.get("ids", "").split(","):
            self._records.delete(name)
