"""The event stream from an MNS queue to a function: batches of CloudEvents, retries, dead letters.

EventBridge receives messages, pushes each batch as an array, and deletes them once the function returns without an
error [doc FC RunOptions; deletion and the handling of function errors are inferred].
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import threading
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.clock import Clock, utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.knobs import Knobs
from aliyun_local.eventbridge.pattern import Pattern
from aliyun_local.mns.backend import MnsBackend
from aliyun_local.mns.state import Message

log = logging.getLogger(__name__)

Invoke = Callable[[bytes], str]  # the batch -> the error type, empty on success
MAX_VISIBILITY = 43200  # [doc SMQ limits]
_MAX_RECEIVE = 16
_GRACE = 60

# [doc eventbridge/user-guide/retry-and-dead-letter]: 3 times after 10-20 s; 176 times, 1 s doubling up to 512 s
STRATEGIES: dict[str, list[float]] = {
    "BACKOFF_RETRY": [15.0] * 3,
    "EXPONENTIAL_DECAY_RETRY": [float(min(2**n, 512)) for n in range(176)],
}


class Settings(Struct, frozen=True):
    """The settings of one MNS trigger. Seconds; `delays` are the pauses before each retry."""

    name: str
    queue: str
    decode: bool
    pattern: Pattern
    batch: int
    window: float
    tasks: int
    delays: list[float]
    tolerant: bool
    dead_letters: str | None

    @classmethod
    def of(cls, name: str, config: Mapping[str, Any]) -> Settings:
        """Read a triggerConfig; ValueError for one that the platform would refuse."""
        options = config["runOptions"]
        source = config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
        schema = config["eventSinkConfig"]["deliveryOption"]["eventSchema"]
        if options["mode"] != "event-streaming" or schema != "CloudEvents" or config["asyncInvocationType"]:
            raise ValueError(f"{name}: only synchronous event-streaming of CloudEvents is offered here")
        window = options.get("batchWindow") or {}
        count, seconds = window.get("CountBasedWindow", 1), window.get("TimeBasedWindow", 0)
        if not 1 <= count <= 10_000 or not 0 <= seconds <= 15:
            raise ValueError(f"{name}: batchWindow must be 1 to 10000 messages and 0 to 15 seconds")
        return cls(
            name=name,
            queue=source["QueueName"],
            decode=source.get("IsBase64Decode", True),
            pattern=Pattern(config["eventRuleFilterPattern"]),
            batch=count,
            window=seconds,
            tasks=options.get("maximumTasks", 1),
            delays=STRATEGIES[(options.get("retryStrategy") or {}).get("PushRetryStrategy", "BACKOFF_RETRY")],
            tolerant=options.get("errorsTolerance", "NONE") == "ALL",
            dead_letters=(options.get("deadLetterQueue") or {}).get("Arn"),
        )


class _Batch(Struct):
    """Messages received together; `handles` and `events` are in the same order."""

    due: float
    handles: list[str] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0


class QueueStream:
    """Delivers the messages of one queue to one function, in `settings.tasks` tasks of one batch each.

    It receives only while `allowed`: the account has the service-linked roles. `step` and `drain` work in the caller's
    thread; after `start` threads do it. Attempts end after `max_retries` (None: the strategy's own number).
    """

    def __init__(
        self,
        clock: Clock,
        mns: MnsBackend,
        account: str,
        region: str,
        settings: Settings,
        invoke: Invoke,
        timeout: int,
        allowed: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._mns = mns
        self._account = account
        self._region = region
        self._invoke = invoke
        self._hidden = timeout + _GRACE
        self._allowed = allowed
        self.settings = settings
        self.knobs = Knobs()
        self.max_retries: int | None = 5
        self.blocked = False
        self._batches: list[_Batch | None] = [None] * settings.tasks
        self._busy = [False] * settings.tasks
        self._wake = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def step(self) -> bool:
        """Let each task do what is due. False if there was nothing to do."""
        worked = [self._step(index) for index in range(len(self._batches))]
        return any(worked)

    def idle(self, within: float = math.inf) -> bool:
        """Whether no message can be received, now or after a delay of less than `within` seconds, and no batch is in
        progress."""
        if not self._allowed():
            return True
        try:
            depth = self._mns.depth(self._account, self.settings.queue)
            waiting = depth.active + depth.delayed
            due = self._mns.next_visible_at(self._account, self.settings.queue)
            waiting = waiting if due is not None and due < self._clock.now() + within else 0
        except ApiError:
            waiting = 0
        return not waiting and not any(self._busy) and not any(self._batches)

    def drain(self, timeout: float = 600.0, within: float = math.inf) -> None:
        """Work until idle or blocked, or wait for the threads to; TimeoutError after `timeout` seconds."""
        deadline = self._clock.now() + timeout
        while not self.idle(within) and not self.blocked:
            if self._clock.now() >= deadline:
                raise TimeoutError(f"stream {self.settings.name}: a batch is still in progress")
            if self._threads:
                self._clock.sleep(0.02)
            elif not self.step():
                self._clock.sleep(self._until_due())

    def _until_due(self) -> float:
        """Seconds until a task has something to do: its batch is tried again, or a message can be received."""
        due = [batch.due for batch in self._batches if batch]
        if None in self._batches:  # a free task
            due.append(self._mns.next_visible_at(self._account, self.settings.queue) or 0.0)
        return max(min(due) - self._clock.now(), 0.0)

    def start(self) -> None:
        """Deliver in threads from now on."""
        self._threads = [
            threading.Thread(target=self._work, args=(index,), daemon=True) for index in range(len(self._batches))
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look for messages at once."""
        with self._wake:
            self._wake.notify_all()

    def close(self) -> None:
        """Stop the threads."""
        self._closed = True
        self.wake()
        for thread in self._threads:
            thread.join(1.0)

    def _work(self, index: int) -> None:
        while not self._closed:
            self._busy[index] = True
            try:
                worked = self._step(index)
            finally:
                self._busy[index] = False
            if not worked:
                with self._wake:
                    batch = self._batches[index]
                    pause = batch.due - self._clock.now() if batch else 1.0
                    if not self._closed:
                        self._wake.wait(min(max(pause, 0.01), 1.0))

    def _step(self, index: int) -> bool:
        if self.blocked:
            return False
        batch = self._batches[index]
        if batch is None or (batch.failures == 0 and len(batch.events) < self.settings.batch):
            batch = self._batches[index] = self._fill(batch)
        if batch is None:
            return False
        full = len(batch.events) >= self.settings.batch
        if batch.due > self._clock.now() and not (full and batch.failures == 0):
            return False
        if self._push(batch):
            self._batches[index] = None
        return True

    def _fill(self, batch: _Batch | None) -> _Batch | None:
        """Receive messages until the batch is full or the queue is empty."""
        room = self.settings.batch - (len(batch.events) if batch else 0)
        while room:
            messages = self._receive(min(room, _MAX_RECEIVE))
            if not messages:
                break
            batch = batch or _Batch(self._clock.now() + self.settings.window)
            for message in messages:
                event = self._event(message)
                if not self.settings.pattern.matches(event):
                    self._delete(message.receipt_handle)
                    continue
                batch.handles.append(message.receipt_handle)
                batch.events.append(event)
            room = self.settings.batch - len(batch.events)
        return batch if batch and batch.events else None

    def _receive(self, count: int) -> list[Message]:
        if not self._allowed():
            return []
        try:
            return self._mns.receive(self._account, self.settings.queue, count, self._hidden)
        except ApiError as refusal:
            log.debug("stream %s: %s", self.settings.name, refusal)
            return []

    def _event(self, message: Message) -> dict[str, Any]:
        """The CloudEvent of a message; it has no DequeueCount and no sender [src FC's Python sample for MNS]."""
        now = utc(self._clock.now())
        return {
            "id": uuid.uuid4().hex,
            "source": f"MNS-Function-{self.settings.name}",
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "datacontenttype": "application/json; charset=utf-8",
            "subject": f"acs:mns:{self._region}:{self._account}:{self.knobs.queue_subject}{self.settings.queue}",
            "time": now,
            "aliyunaccountid": self._account,
            "aliyunpublishtime": now,
            "aliyunoriginalaccountid": self._account,
            "aliyuneventbusname": f"MNS-Function-{self.settings.name}",
            "aliyunregionid": self._region,
            "aliyunpublishaddr": "127.0.0.1",
            "data": {
                "requestId": uuid.uuid4().hex.upper()[:24],
                "messageId": message.id,
                "messageBody": _decoded(message.body) if self.settings.decode else message.body,
            },
        }

    def _push(self, batch: _Batch) -> bool:
        """Make one attempt; True when the batch is finished, delivered or not."""
        try:
            error = self._invoke(json.dumps(batch.events).encode())
        except ApiError as refusal:
            error = refusal.code
        if not error:
            for handle in batch.handles:
                self._delete(handle)
            return True
        delays = self.settings.delays[: self.max_retries]
        if batch.failures < len(delays):
            pause = delays[batch.failures]
            batch.failures += 1
            batch.due = self._clock.now() + pause
            batch.handles = [self._hide(handle, pause) for handle in batch.handles]
            return False
        if not self.settings.tolerant:
            self.blocked = True  # errorsTolerance NONE: nothing is delivered until a person acts
            return False
        for handle, event in zip(batch.handles, batch.events, strict=True):
            self._move_to_dead_letters(event)
            self._delete(handle)
        return True

    def _move_to_dead_letters(self, event: dict[str, Any]) -> None:
        """Send the whole event to the dead-letter queue. Without one it is discarded, as on the platform."""
        if self.settings.dead_letters is None:
            log.warning("stream %s: discarded an event, for lack of a dead-letter queue", self.settings.name)
            return
        body = base64.b64encode(json.dumps(event).encode()).decode()
        try:
            self._mns.send(self._account, queue_of(self.settings.dead_letters), body)
        except ApiError as refusal:
            log.warning("stream %s: lost an event: %s", self.settings.name, refusal)

    def _hide(self, handle: str, pause: float) -> str:
        """Keep a message invisible to the other tasks until its next attempt is over."""
        seconds = min(int(pause) + self._hidden, MAX_VISIBILITY)
        try:
            return self._mns.change_visibility(self._account, self.settings.queue, handle, seconds).receipt_handle
        except ApiError:
            return handle  # it became visible meanwhile and will be delivered twice

    def _delete(self, handle: str) -> None:
        try:
            self._mns.delete(self._account, self.settings.queue, handle)
        except ApiError as refusal:
            log.debug("stream %s: %s", self.settings.name, refusal)


def queue_of(arn: str) -> str:
    """The queue name in `acs:mns:<region>:[<account>]:/queues/<queue>[/messages]`; ValueError for other text."""
    resource = arn.split(":", 4)
    path = resource[4].split("/") if len(resource) == 5 else []
    if resource[:2] != ["acs", "mns"] or path[:2] != ["", "queues"] or path[3:] not in ([], ["messages"]):
        raise ValueError(f"{arn}: is not the ARN of an MNS queue")
    return path[2]


def _decoded(body: str) -> str:
    """A base64 body decoded; anything else unchanged."""
    try:
        return base64.b64decode(body, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return body
