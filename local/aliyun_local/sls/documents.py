"""Dashboards, alert rules and saved searches of a project, and the records of an account's alert centre.

They are stored and returned as they were sent. Nothing draws, evaluates or notifies.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loaded

Document = dict[str, Any]


class Documents(Mapping[str, Document]):
    """The documents of one kind in one project: a mapping by name, and the operations, which raise ApiError."""

    def __init__(
        self, key: str, check: Callable[[Document], None], missing: tuple[str, str], exists: tuple[str, str]
    ) -> None:
        """`key` is the field that holds the name; `missing` and `exists` are code and message, `{0}` being the name."""
        self._key = key
        self._check = check
        self._missing = missing
        self._exists = exists
        self._lock = threading.Lock()
        self._documents: dict[str, Document] = {}

    def __getitem__(self, name: str) -> Document:
        return self._documents[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._documents))

    def __len__(self) -> int:
        return len(self._documents)

    def read(self, name: str) -> Document:
        """One document, or the service's refusal."""
        if name not in self._documents:
            raise _refusal(self._missing, 404, name)
        return self._documents[name]

    def create(self, document: Document) -> None:
        """Store a new document under the name it carries."""
        self._check(document)
        name = str(required(document, self._key, str))
        with self._lock:
            if name in self._documents:
                raise _refusal(self._exists, 400, name)
            self._documents[name] = document

    def update(self, name: str, document: Document) -> None:
        """Replace an existing document; it keeps its name."""
        self._check(document)
        with self._lock:
            self.read(name)
            self._documents[name] = {**document, self._key: name}

    def delete(self, name: str) -> None:
        """Remove a document."""
        with self._lock:
            self.read(name)
            del self._documents[name]


def dashboards() -> Documents:
    """An empty store of dashboards [messages: src the Java SDK's tests]."""
    missing = ("DashboardNotExist", "specified dashboard does not exist")
    exists = ("ParameterInvalid", "specified dashboard already exists")
    return Documents("dashboardName", _check_dashboard, missing, exists)


def alerts() -> Documents:
    """An empty store of alert rules."""
    missing = ("JobNotExist", "The job {0} does not exist")
    exists = ("JobAlreadyExist", "The job {0} already exists")
    return Documents("name", _check_alert, missing, exists)


def saved_searches() -> Documents:
    """An empty store of saved searches [messages: src the Java SDK's tests]."""
    missing = ("SavedSearchNotExist", "specified savedsearch does not exist")
    exists = ("ParameterInvalid", "specified savedsearch already exists")
    return Documents("savedsearchName", _check_search, missing, exists)


def records() -> Documents:
    """An empty table of records [code of a missing one: src the Python SDK's tests; of an existing one: assumed]."""
    missing = ("ResourceRecordNotExist", "resource record {0} does not exist")
    exists = ("ResourceRecordAlreadyExist", "resource record {0} already exist")
    return Documents("id", _check_record, missing, exists)


def required(document: Mapping[str, Any], name: str, kind: type) -> Any:
    """A field of the document; ApiError when it has another type or is an empty string."""
    value = document.get(name)
    if not isinstance(value, kind) or (kind is str and not value):
        raise ApiError("ParameterInvalid", 400, f"{name} is invalid")
    return value


def _check_dashboard(document: Document) -> None:
    required(document, "charts", list)


def _check_search(document: Document) -> None:
    """The fields that a saved search needs [doc CreateSavedSearch]."""
    if not 3 <= len(required(document, "savedsearchName", str)) <= 63:
        raise ApiError("ParameterInvalid", 400, "savedsearchName is invalid")
    for name in ("searchQuery", "logstore", "displayName"):
        required(document, name, str)


def _check_record(document: Document) -> None:
    """A record's value is JSON in a string [doc "Data structure of alert resource data"]."""
    if not isinstance(loaded(required(document, "value", str)), dict):
        raise ApiError("ParameterInvalid", 400, "value is invalid")


def _check_alert(document: Document) -> None:
    """The fields that every alert rule needs [doc "Data structure of an alert rule"]."""
    if document.get("type") != "Alert":
        raise ApiError("ParameterInvalid", 400, "type is invalid: jobs other than alerts are not offered here")
    required(document, "displayName", str)
    required(required(document, "schedule", dict), "type", str)
    rule = required(document, "configuration", dict)
    for name in ("queryList", "severityConfigurations"):
        if not required(rule, name, list):
            raise ApiError("ParameterInvalid", 400, f"{name} is empty")
    for name in ("version", "type"):
        required(rule, name, str)
    required(rule, "groupConfiguration", dict)
    required(document, "name", str)


def _refusal(refusal: tuple[str, str], status: int, name: str) -> ApiError:
    code, message = refusal
    return ApiError(code, status, message.format(name))
