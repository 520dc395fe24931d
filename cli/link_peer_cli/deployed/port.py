"""What the commands need of Function Compute, the same for both of its generations."""

from __future__ import annotations

from typing import Protocol

import msgspec

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
