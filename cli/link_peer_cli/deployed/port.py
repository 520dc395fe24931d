"""What the commands need of Function Compute, the same for both of its generations, and what their clients share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import msgspec
from link_peer.alicloud.sdk import client_config
from link_peer.runtime.settings import Settings

WITH_TASKS = ("auto_link", "sweep")
"""The handlers of which the platform keeps tasks. The queue's stream invokes cross_account synchronously."""

WAITING = ("Enqueued", "Dequeued", "Running", "Retrying")
"""Task states that are not final [doc task states]."""


class Task(msgspec.Struct, frozen=True):
    """One asynchronous invocation. The platform keeps it for seven days."""

    id: str
    function: str
    status: str
    error: str
    payload: str
    started: int  # epoch milliseconds
    qualifier: str = ""  # the version or alias that was invoked


class Functions(Protocol):
    """The deployed functions. Raises the errors of link_peer.domain.errors."""

    def invoke(self, function: str, event: bytes, qualifier: str = "") -> str:
        """Have a version or alias of a function invoked (default: the one that its triggers invoke). Return the
        invocation's id. The platform retries failures itself."""
        ...

    def tasks(self, function: str) -> list[Task]:
        """Return the function's asynchronous invocations, with their payloads."""
        ...


PAGE = 100  # [src ListAsyncTasksRequest: at most 100; doc ListRules]
ASYNC = {"x_fc_invocation_type": "Async"}
"""For the SDK's model of headers."""


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


def request_id(headers: Mapping[str, str]) -> str:
    """The id of an invocation, from the headers of the response."""
    return next((value for name, value in headers.items() if name.lower() == "x-fc-request-id"), "")


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
