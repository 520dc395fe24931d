"""Deployed functions through one small port, for both generations of Function Compute.

FC 3.0 (API 2023-03-30) knows functions by their name; FC 2.0 (API 2021-04-06) keeps them in a service.
"""

from __future__ import annotations

import base64
from typing import Any, Protocol

import msgspec

from shared.sdk import call, client_config
from shared.settings import Settings

WAITING = ("Enqueued", "Dequeued", "Running", "Retrying")
PAGE = 100  # [src ListAsyncTasksRequest: at most 100]


class Answer(msgspec.Struct, frozen=True):
    """What a call gave. A function that failed answers 200 all the same: `error` then names the kind of failure."""

    body: bytes
    error: str = ""
    log: str = ""
    request_id: str = ""


class Task(msgspec.Struct, frozen=True):
    """One asynchronous call, as the platform keeps it. Times are in epoch milliseconds."""

    id: str
    function: str
    status: str
    error: str
    payload: str
    started: int


class Functions(Protocol):
    """Raises the errors of shared.errors."""

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer: ...

    def tasks(self, function: str, status: str = "") -> list[Task]: ...


class Fc3:
    """FC 3.0, through alibabacloud-fc20230330."""

    def __init__(self, settings: Settings) -> None:
        from alibabacloud_fc20230330 import models
        from alibabacloud_fc20230330.client import Client

        self._models: Any = models
        self._client: Any = Client(config(settings))
        self._runtime = runtime()

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        headers = self._models.InvokeFunctionHeaders(
            x_fc_invocation_type="Sync" if wait else "Async", x_fc_log_type="Tail" if wait else None
        )
        request = self._models.InvokeFunctionRequest(body=event)
        response = call(lambda: self._client.invoke_function_with_options(function, request, headers, self._runtime))
        return answer(response.headers, response.body.read() if response.body else b"")

    def tasks(self, function: str, status: str = "") -> list[Task]:
        found: list[Task] = []
        token: str | None = None
        while True:
            request = self._models.ListAsyncTasksRequest(
                include_payload=True, limit=PAGE, next_token=token, status=status or None
            )
            body = call(lambda request=request: self._client.list_async_tasks(function, request)).body  # type: ignore[misc]
            found += [task(function, item, item.task_id) for item in body.tasks or []]
            token = body.next_token
            if not token:
                return found


def config(settings: Settings) -> Any:
    """Both clients' configuration; the region's endpoint is <uid>.<region>.fc.aliyuncs.com [doc endpoints]."""
    made = client_config(settings, "fc", settings.credentials)
    if not made.endpoint:
        made.endpoint = f"{settings.account}.{settings.region}.fc.aliyuncs.com"
    return made


def runtime() -> Any:
    """A call lasts as long as the function may run."""
    from darabonba.runtime import RuntimeOptions

    return RuntimeOptions(read_timeout=600_000)


def answer(headers: dict[str, str], body: bytes) -> Answer:
    headers = {name.lower(): value for name, value in headers.items()}
    log = base64.b64decode(headers.get("x-fc-log-result", "")).decode("utf-8", "replace")
    return Answer(body, headers.get("x-fc-error-type", ""), log, headers.get("x-fc-request-id", ""))


def task(function: str, item: Any, task_id: str) -> Task:
    return Task(
        task_id,
        function,
        item.status or "",
        item.task_error_message or "",
        item.task_payload or "",
        int(item.started_time or 0),
    )
