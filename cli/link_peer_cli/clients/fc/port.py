"""What the commands need of Function Compute, the same for both of its generations."""

from __future__ import annotations

from typing import Protocol

import msgspec

# The names in s.yaml. The queue's stream invokes cross_account synchronously, so the platform keeps no tasks of it.
AUTO_LINK, SWEEP = "link-peer-auto-link", "link-peer-sweep"
WITH_TASKS = (AUTO_LINK, SWEEP)

WAITING = ("Enqueued", "Dequeued", "Running", "Retrying")
"""Task states that are not final [doc task states]."""


class Answer(msgspec.Struct, frozen=True):
    """The response to an invocation. A function that raised also answers 200; `error` then names the kind of error."""

    body: bytes
    error: str = ""
    log: str = ""
    request_id: str = ""


class Task(msgspec.Struct, frozen=True):
    """One asynchronous invocation. The platform keeps it for seven days. `started` is in epoch milliseconds."""

    id: str
    function: str
    status: str
    error: str
    payload: str
    started: int


class Functions(Protocol):
    """The deployed functions. Raises the errors of link_peer.domain.errors."""

    def invoke(self, function: str, event: bytes, *, wait: bool = True) -> Answer:
        """Invoke a function. Without `wait`, the platform accepts the event and retries failures itself."""
        ...

    def tasks(self, function: str) -> list[Task]:
        """Return the function's asynchronous invocations, with their payloads."""
        ...
