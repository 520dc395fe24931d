"""What the commands need of Function Compute, the same for both of its generations, and what their clients share."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
from link_peer.alicloud.sdk import client_config
from link_peer.runtime.settings import Settings

WITH_TASKS = ("auto_link", "sweep")
"""The handlers of which the platform keeps tasks. The queue's stream invokes cross_account synchronously."""

WAITING = ("Enqueued", "Dequeued", "Running", "Retrying")
"""Task states that are not final [doc task states]."""


class InvocationAnswer(msgspec.Struct, frozen=True):
    """The response to an invocation. A function that raised also answers 200; `error` then names the kind of error."""

    body: bytes
    error: str = ""
    log: str = ""
    request_id: str = ""


class Task(msgspec.Struct, frozen=True):
    """One asynchronous invocation. The platform keeps it for seven days. `started` is in epoch milliseconds; `qualifier` is the
    version or alias that was invoked."""

    id: str
    function: str
    status: str
    error: str
    payload: str
    started: int
    qualifier: str = ""


class Functions(Protocol):
    """The deployed functions. Raises the errors of link_peer.domain.errors."""

    def invoke(self, function: str, event: bytes, *, wait: bool = True, qualifier: str = "") -> InvocationAnswer:
        """Invoke a version or alias of a function (default: the one that its triggers invoke). Without `wait`, the platform accepts the event and retries failures itself."""
        ...

    def tasks(self, function: str) -> list[Task]:
        """Return the function's asynchronous invocations, with their payloads."""
        ...


PAGE = 100  # [src ListAsyncTasksRequest: at most 100; doc ListRules]
READ_TIMEOUT_MS = 610_000  # a synchronous invocation takes as long as the function runs: here at most ten minutes


def config(settings: Settings, account: str) -> Any:
    """Return the SDK's configuration. The endpoint contains the account's uid [doc endpoints]."""
    sdk_config = client_config(settings, "fc", settings.credentials)
    if not sdk_config.endpoint:
        sdk_config.endpoint = f"{account}.{settings.region}.fc.aliyuncs.com"
    return sdk_config


def fc3(settings: Settings, account: str) -> tuple[Any, Any]:
    """The client of FC 3.0 in an account, and the SDK's models."""
    from alibabacloud_fc20230330 import models  # an SDK: when it is asked, since help needs none
    from alibabacloud_fc20230330.client import Client

    return Client(config(settings, account)), models


def invocation_headers(wait: bool) -> dict[str, str]:
    """Return the arguments of the SDK's header model for a synchronous or an asynchronous invocation."""
    return {"x_fc_invocation_type": "Sync", "x_fc_log_type": "Tail"} if wait else {"x_fc_invocation_type": "Async"}


def answer(headers: Mapping[str, str], body: bytes) -> InvocationAnswer:
    """Read an invocation's response."""
    headers = {name.lower(): value for name, value in headers.items()}
    log = base64.b64decode(headers.get("x-fc-log-result", "")).decode("utf-8", "replace")
    return InvocationAnswer(body, headers.get("x-fc-error-type", ""), log, headers.get("x-fc-request-id", ""))


def pages(page: Callable[[str | None], Any]) -> Iterator[Any]:
    """Yield the pages of a listing; `page` reads the one with a token (None for the first)."""
    token: str | None = None
    while True:
        body = page(token)
        yield body
        token = body.next_token
        if not token:
            return


def task(function: str, item: Any, task_id: str, error: str | None, payload: str | None) -> Task:
    """Return a Task from the fields that both generations name alike (`item`) and those that they do not."""
    started, qualifier = int(item.started_time or 0), item.qualifier or ""
    return Task(task_id, function, item.status or "", error or "", payload or "", started, qualifier)
