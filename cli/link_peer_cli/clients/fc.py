"""Deployed functions through one small port, for both generations of Function Compute.

FC 3.0 (API 2023-03-30) knows functions by their name; FC 2.0 (API 2021-04-06) keeps them in a service.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any, Protocol

import msgspec
from link_peer.alicloud.sdk import call, client_config
from link_peer.runtime.settings import Settings

# As s.yaml names them. cross_account is called by the queue's stream, which keeps no tasks.
AUTO_LINK, SWEEP = "link-peer-auto-link", "link-peer-sweep"
WITH_TASKS = (AUTO_LINK, SWEEP)

WAITING = ("Enqueued", "Dequeued", "Running", "Retrying")
LOST = ("Failed", "Expired", "Invalid")  # [doc task states]: ended without having done their work
PAGE = 100  # [src ListAsyncTasksRequest: at most 100]
READ_TIMEOUT_MS = 610_000  # a call lasts as long as the function may run, at most ten minutes here


class Answer(msgspec.Struct, frozen=True):
    """What a call gave. A function that failed answers 200 all the same: `error` then names the kind of failure."""

    body: bytes
    error: str = ""
    log: str = ""
    request_id: str = ""


class Task(msgspec.Struct, frozen=True):
    """One asynchronous call, as the platform keeps it for seven days. `started` is in epoch milliseconds."""

    id: str
    function: str
    status: str
    error: str
    payload: str
    started: int


class Functions(Protocol):
    """Raises the errors of link_peer.domain.errors."""

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        """Calls a function; without `wait` the platform only takes the event, and retries by itself."""
        ...

    def tasks(self, function: str) -> list[Task]:
        """The function's asynchronous calls, with their payloads."""
        ...


class Fc3:
    """FC 3.0, through alibabacloud-fc20230330."""

    def __init__(self, settings: Settings, account: str) -> None:
        from alibabacloud_fc20230330 import models
        from alibabacloud_fc20230330.client import Client
        from darabonba.runtime import RuntimeOptions

        self._models: Any = models
        self._client: Any = Client(_config(settings, account))
        self._runtime: Any = RuntimeOptions(read_timeout=READ_TIMEOUT_MS)

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        headers = self._models.InvokeFunctionHeaders(**_kind(wait))
        request = self._models.InvokeFunctionRequest(body=event)
        response = call(lambda: self._client.invoke_function_with_options(function, request, headers, self._runtime))
        return _answer(response.headers, response.body.read() if response.body else b"")

    def tasks(self, function: str) -> list[Task]:
        def page(token: str | None) -> Any:
            request = self._models.ListAsyncTasksRequest(include_payload=True, limit=PAGE, next_token=token)
            return call(lambda: self._client.list_async_tasks(function, request)).body

        return [
            _task(function, item, item.task_id, item.task_error_message, item.task_payload)
            for body in _pages(page)
            for item in body.tasks or []
        ]


class Fc2:
    """FC 2.0, through alibabacloud-fc-open20210406."""

    def __init__(self, settings: Settings, account: str, service: str) -> None:
        from alibabacloud_fc_open20210406 import models
        from alibabacloud_fc_open20210406.client import Client
        from alibabacloud_tea_util.models import RuntimeOptions

        self._models: Any = models
        self._client: Any = Client(_config(settings, account))
        self._runtime: Any = RuntimeOptions(read_timeout=READ_TIMEOUT_MS)
        self._service = service

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        headers = self._models.InvokeFunctionHeaders(**_kind(wait))
        request = self._models.InvokeFunctionRequest(body=event)
        response = call(
            lambda: self._client.invoke_function_with_options(self._service, function, request, headers, self._runtime)
        )
        return _answer(response.headers, response.body or b"")

    def tasks(self, function: str) -> list[Task]:
        def page(token: str | None) -> Any:
            request = self._models.ListStatefulAsyncInvocationsRequest(
                include_payload=True, limit=PAGE, next_token=token
            )
            return call(lambda: self._client.list_stateful_async_invocations(self._service, function, request)).body

        return [
            _task(function, item, item.invocation_id, item.invocation_error_message, item.invocation_payload)
            for body in _pages(page)
            for item in body.invocations or []
        ]


def functions(settings: Settings, account: str, service: str = "") -> Functions:
    """FC 2.0 where a service is named, else FC 3.0."""
    return Fc2(settings, account, service) if service else Fc3(settings, account)


def _config(settings: Settings, account: str) -> Any:
    """The endpoint carries the account's uid [doc endpoints]."""
    made = client_config(settings, "fc", settings.credentials)
    if not made.endpoint:
        made.endpoint = f"{account}.{settings.region}.fc.aliyuncs.com"
    return made


def _kind(wait: bool) -> dict[str, str]:
    return {"x_fc_invocation_type": "Sync", "x_fc_log_type": "Tail"} if wait else {"x_fc_invocation_type": "Async"}


def _answer(headers: dict[str, str], body: bytes) -> Answer:
    headers = {name.lower(): value for name, value in headers.items()}
    log = base64.b64decode(headers.get("x-fc-log-result", "")).decode("utf-8", "replace")
    return Answer(body, headers.get("x-fc-error-type", ""), log, headers.get("x-fc-request-id", ""))


def _pages(page: Any) -> Iterable[Any]:
    token: str | None = None
    while True:
        body = page(token)
        yield body
        token = body.next_token
        if not token:
            return


def _task(function: str, item: Any, task_id: str, error: str | None, payload: str | None) -> Task:
    return Task(task_id, function, item.status or "", error or "", payload or "", int(item.started_time or 0))
