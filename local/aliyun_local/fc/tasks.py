"""Asynchronous invocations: a queue, retries, task records, and a destination for calls that finally failed.

Sources: [doc functioncompute/fc/error-handling-1-2, result-callback, task-deduplication], [src fc20230330 AsyncTask].
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import uuid
from collections.abc import Callable

from msgspec import Struct, field

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.knobs import Knobs
from aliyun_local.fc.runtime import Result
from aliyun_local.fc.values import Function

log = logging.getLogger(__name__)

Run = Callable[["Task"], Result]
Deliver = Callable[[str, str, str], object]  # account, destination ARN, message body

MAX_PAYLOAD = 128 * 1024
_TASK_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", re.ASCII)
WAITING = ("Enqueued", "Retrying")
_LATER_STATUSES = ("Dequeued", "Running", "Succeeded", "Failed", "Stopped", "Stopping", "Expired", "Invalid")
STATUSES = (*WAITING, *_LATER_STATUSES)  # [doc ListAsyncTasks]


class Task(Struct):
    """One asynchronous invocation; times in epoch seconds."""

    id: str
    account: str
    function: Function
    payload: bytes
    request_id: str
    enqueued: float
    due: float
    status: str = "Enqueued"
    started: float | None = None
    ended: float | None = None
    retries: int = 0
    error: str = ""
    answer: str = ""
    destination_status: str = ""
    qualifier: str = "LATEST"
    version: str = "LATEST"
    events: list[tuple[float, str, str]] = field(default_factory=list)

    def enter(self, status: str, now: float, detail: str = "") -> None:
        """Change the status and record the change."""
        self.status = status
        self.events.append((now, status, detail))


class Tasks:
    """The asynchronous invocations of every function.

    Until `start`, nothing runs by itself: `step` runs one call in the caller's thread, `drain` all of them.
    The interval before a retry after a function error is undocumented, so the `knobs` have it.
    """

    def __init__(self, clock: Clock, run: Run, stop: Callable[[str], None]) -> None:
        self._clock = clock
        self._run = run
        self._stop = stop
        self._changed = threading.Condition(threading.RLock())
        self._tasks: dict[tuple[str, str, str], Task] = {}
        self._waiting: list[Task] = []
        self._running = 0
        self._threads: list[threading.Thread] = []
        self._closed = False
        self.knobs = Knobs()
        self.deliver: Deliver | None = None

    def submit(
        self,
        account: str,
        function: Function,
        payload: bytes,
        request_id: str,
        task_id: str | None,
        qualifier: str = "LATEST",
        version: str = "LATEST",
    ) -> Task:
        """Accept a call of a version through a qualifier; 409 for a task id that this function has seen before."""
        if len(payload) > MAX_PAYLOAD:
            raise ApiError("EntityTooLarge", 400, f"payload size exceeds maximum allowed size ({MAX_PAYLOAD} bytes)")
        if task_id is not None and not _TASK_ID.fullmatch(task_id):
            raise ApiError("InvalidArgument", 400, f"the async task id '{task_id}' is invalid")
        now = self._clock.now()
        task = Task(task_id or request_id, account, function, payload, request_id, now, now)
        task.qualifier, task.version = qualifier, version
        key = (account, function.name, task.id)
        with self._changed:
            if key in self._tasks:
                raise ApiError(
                    "StatefulAsyncInvocationAlreadyExists",
                    409,
                    f"async task '{task.id}' already exists",
                )
            self._tasks[key] = task
            task.enter("Enqueued", now)
            self._waiting.append(task)
            self._changed.notify_all()
        return task

    def get(self, account: str, function: Function, task_id: str) -> Task:
        """One record; only calls under `asyncTask` have records that can be read."""
        with self._changed:
            task = self._tasks.get((account, function.name, task_id))
        if task is None or not task.function.async_task:
            raise ApiError("StatefulAsyncInvocationNotFound", 404, f"async task '{task_id}' does not exist")
        return task

    def of(self, account: str, function: Function) -> list[Task]:
        """The records of a function, oldest first."""
        with self._changed:
            tasks = [task for key, task in self._tasks.items() if key[:2] == (account, function.name)]
        return [task for task in tasks if task.function.async_task]

    def cancel(self, task: Task) -> None:
        """Stop a task: a waiting one never runs, a running one is killed."""
        with self._changed:
            if task.status in WAITING:
                self._waiting.remove(task)
                self._finish(task, "Stopped")
                return
            if task.status != "Running":
                raise ApiError("InvalidArgument", 400, f"async task '{task.id}' is {task.status} and cannot be stopped")
            task.enter("Stopping", self._clock.now())
        self._stop(task.request_id)

    def step(self) -> bool:
        """Run the call that is due first in this thread. False if none is due."""
        with self._changed:
            now = self._clock.now()
            due = [task for task in self._waiting if task.due <= now]
            if not due:
                return False
            task = min(due, key=lambda item: item.due)
            self._waiting.remove(task)
            self._running += 1
            if now - task.enqueued > task.function.max_age:
                expired = Result(b"", "Expired")
            else:
                expired = None
                task.started = task.started or now
                task.enter("Running", now)
        try:
            result = expired or self._run(task)
            if self._settle(task, result):
                self._notify_destination(task, result)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
        return True

    def idle(self) -> bool:
        """Whether no call is waiting or running."""
        with self._changed:
            return not self._waiting and not self._running

    def drain(self, timeout: float = 600.0) -> None:
        """Return when no call, retries included, is waiting or running; TimeoutError after `timeout` seconds."""
        deadline = self._clock.now() + timeout
        while True:
            with self._changed:
                if not self._waiting and not self._running:
                    return
                if self._clock.now() >= deadline:
                    raise TimeoutError(f"{len(self._waiting)} asynchronous calls are waiting, {self._running} running")
                if self._threads:
                    self._changed.wait(0.05)
                    continue
                pause = min((task.due for task in self._waiting), default=0.0) - self._clock.now()
            if not self.step():
                self._clock.sleep(min(max(pause, 0.01), deadline - self._clock.now()))

    def start(self, threads: int = 4) -> None:
        """Run calls in threads from now on."""
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(1.0)

    def _work(self) -> None:
        while not self._closed:
            if not self.step():
                with self._changed:
                    pause = min((task.due for task in self._waiting), default=0.0) - self._clock.now()
                    if not self._closed and (not self._waiting or pause > 0):
                        self._changed.wait(pause if self._waiting else None)

    def _settle(self, task: Task, result: Result) -> bool:
        """Record how a run ended and plan a retry if there is one left; True if the call finally failed."""
        with self._changed:
            now = self._clock.now()
            if task.status == "Stopping":
                self._finish(task, "Stopped")
                return False
            if not result.error_type:
                task.answer = result.body.decode(errors="replace")
                self._finish(task, "Succeeded")
                return False
            task.error = result.body.decode(errors="replace")
            if result.error_type == "Expired":
                self._finish(task, "Expired")
                return True
            if task.retries < task.function.max_retries:
                task.due = now + self.knobs.retry_seconds * self.knobs.retry_factor**task.retries
                task.retries += 1
                task.enter("Retrying", now, task.error)
                self._waiting.append(task)
                return False
            self._finish(task, "Failed", task.error)
            return True

    def _finish(self, task: Task, status: str, detail: str = "") -> None:
        task.ended = self._clock.now()
        task.enter(status, task.ended, detail)

    def _notify_destination(self, task: Task, result: Result) -> None:
        """Send the failed call to `onFailure`. Fields and nested JSON text as in the sample of [doc
        result-callback]."""
        if task.function.on_failure is None or self.deliver is None:
            return
        message = {
            "timestamp": round(self._clock.now() * 1000),
            "requestContext": {
                "requestId": task.request_id,
                "functionArn": f"acs:fc:::functions/{task.function.name}",
                "condition": result.error_type,
                "approximateInvokeCount": task.retries + 1,
            },
            "requestPayload": task.payload.decode(errors="replace"),
            "responseContext": {"statusCode": 200, "functionError": result.error_type},
            "responsePayload": task.error,
        }
        # The encoding of the message body is undocumented; base64 is what the queue's own clients expect.
        body = base64.b64encode(json.dumps(message).encode()).decode()
        try:
            self.deliver(task.account, task.function.on_failure, body)
            task.destination_status = "Succeeded"
        except ApiError as refusal:
            log.warning("%s: could not deliver the failed call: %s", task.function.name, refusal)
            task.destination_status = "Failed"


def new_request_id() -> str:
    """A new request id in the platform's format: `1-<8 hex>-<8 hex>-<12 hex>`."""
    text = uuid.uuid4().hex
    return f"1-{text[:8]}-{text[8:16]}-{text[16:28]}"
