"""Queues of MNS (now SMQ): visibility, receipt handles, delay, retention, dead letters.

send → [delayed] → active → receive → inactive → delete
                     ↑____ timeout expires ___|     MaxReceiveCount reached → dead-letter queue, active there
"""

from __future__ import annotations

import itertools
import re
import secrets
import threading
from collections.abc import Callable

from msgspec.structs import replace

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.knobs import Knobs
from aliyun_local.mns.endpoints import Endpoints
from aliyun_local.mns.state import (
    BATCH,
    BATCH_BYTES,
    LIMITS,
    MAX_VISIBILITY,
    MAX_WAIT,
    Depth,
    Message,
    Queue,
    QueueAttributes,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_NAME_LENGTH = 120
MAX_QUEUES = 1000
"""Of an account in a region, by default [doc SMQ limits]. The code of the refusal is assumed."""


class MnsBackend:
    """The queues of every account of one region.

    `on_send(account, queue)` is called, outside the lock, after a message was sent that can be received at once;
    `next_visible_at` says when a later one can.
    """

    def __init__(self, clock: Clock, region: str, knobs: Knobs | None = None) -> None:
        self._clock = clock
        self.region = region
        self.knobs = knobs or Knobs()
        self.endpoints = Endpoints()
        self.on_send: Callable[[str, str], None] | None = None
        self._queues: dict[tuple[str, str], Queue] = {}
        self._order = itertools.count()
        self._changed = threading.Condition(threading.RLock())

    def _now(self) -> int:
        return int(self._clock.now() * 1000)

    # Queues

    def create_queue(self, account: str, name: str, attributes: QueueAttributes | None = None) -> bool:
        """Create a queue; False if it exists with the same attributes, QueueAlreadyExist (409) if with others."""
        attributes = attributes or QueueAttributes()
        if not 1 <= len(name) <= _NAME_LENGTH:
            raise ApiError("QueueNameLengthError", 400, f"Queue name length should between 1 and {_NAME_LENGTH}.")
        if not _NAME.fullmatch(name):
            raise ApiError("InvalidQueueName", 400)
        with self._changed:
            self._check(account, name, attributes)
            existing = self._queues.get((account, name))
            if existing is not None:
                if existing.attributes != attributes:
                    raise ApiError("QueueAlreadyExist", 409)
                return False
            if len(self.queues(account)) >= MAX_QUEUES:
                raise ApiError("QueueNumExceededLimit", 403, f"The number of queues exceeds the limit {MAX_QUEUES}.")
            now = int(self._clock.now())
            self._queues[account, name] = Queue(name, attributes, now, now)
            return True

    def set_attributes(self, account: str, name: str, attributes: QueueAttributes) -> None:
        """Replace a queue's attributes."""
        with self._changed:
            queue = self.queue(account, name)
            self._check(account, name, attributes)
            queue.attributes, queue.modified = attributes, int(self._clock.now())

    def delete_queue(self, account: str, name: str) -> None:
        """Delete a queue and its messages."""
        with self._changed:
            self.queue(account, name)
            del self._queues[account, name]
            self._changed.notify_all()

    def queue(self, account: str, name: str) -> Queue:
        """One queue; ApiError QueueNotExist."""
        with self._changed:
            queue = self._queues.get((account, name))
            if queue is None:
                raise ApiError("QueueNotExist", 404)
            return queue

    def queues(self, account: str, prefix: str = "") -> list[Queue]:
        """The account's queues, sorted by name."""
        with self._changed:
            mine = [queue for (owner, _), queue in self._queues.items() if owner == account]
            return sorted((queue for queue in mine if queue.name.startswith(prefix)), key=lambda queue: queue.name)

    def _check(self, account: str, name: str, attributes: QueueAttributes) -> None:
        for attribute, (spelling, low, high) in LIMITS.items():
            _between(spelling, getattr(attributes, attribute), low, high)
        target = attributes.dead_letter_queue
        if target == name:  # [doc "Dead-letter queue"]
            raise ApiError("InvalidArgument", 400, "A queue can't be its own dead-letter queue.")
        if target is not None:
            self.queue(account, target)

    def depth(self, account: str, name: str) -> Depth:
        """How many messages the queue holds."""
        with self._changed:
            self._move_to_dead_letters(account)
            now, entries = self._now(), self._unexpired(self.queue(account, name))
            waiting = [entry for entry in entries if entry.next_visible_time > now]
            delayed = sum(1 for entry in waiting if not entry.receipt_handle)
            return Depth(len(entries) - len(waiting), len(waiting) - delayed, delayed)

    def next_visible_at(self, account: str, name: str) -> float | None:
        """When the next message can be received, in epoch seconds (maybe past); None for an empty queue."""
        with self._changed:
            entries = self._unexpired(self.queue(account, name))
            return min((entry.next_visible_time for entry in entries), default=0) / 1000 if entries else None

    # Messages

    def send(self, account: str, name: str, body: str, delay: int | None = None, priority: int = 8) -> str:
        """Send one message and return its id."""
        return self.send_all(account, name, [(body, delay, priority)])[0]

    def send_all(self, account: str, name: str, messages: list[tuple[str, int | None, int]]) -> list[str]:
        """Send up to 16 messages: body, delay in seconds (None: the queue's), priority 1-16. Returns their ids."""
        _between("The number of messages", len(messages), 1, BATCH)
        with self._changed:
            queue = self.queue(account, name)
            sizes = [len(body.encode()) for body, _, _ in messages]
            for size, (_, delay, priority) in zip(sizes, messages, strict=True):
                _between("MessageBody", size, 1, queue.attributes.maximum_message_size, "bytes")
                _between("Priority", priority, 1, 16)
                if delay is not None:
                    _between(*LIMITS["delay_seconds"][:1], delay, *LIMITS["delay_seconds"][1:])
            _between("The total size of messages", sum(sizes), 1, BATCH_BYTES, "bytes")
            now, ids, at_once = self._now(), [], False
            for body, delay, priority in messages:
                seconds = queue.attributes.delay_seconds if delay is None else delay
                identity = secrets.token_hex(16).upper()
                due = now + seconds * 1000
                queue.entries.append(Message(identity, body, priority, next(self._order), now, due))
                ids.append(identity)
                at_once = at_once or not seconds
            self._changed.notify_all()
        if at_once and self.on_send is not None:
            self.on_send(account, name)
        return ids

    def receive(
        self, account: str, name: str, max_n: int = 1, visibility: int | None = None, wait: int = 0
    ) -> list[Message]:
        """Receive up to `max_n` messages, which stay invisible for `visibility` seconds (None: the queue's timeout).

        Waits up to `wait` seconds for the first one, where time passes by itself; on a virtual clock it never waits.
        """
        _between("numOfMessages", max_n, 1, BATCH)
        _between("waitseconds", wait, 0, MAX_WAIT)
        with self._changed:
            deadline = self._clock.now() + wait
            while True:
                now = self._clock.now()
                messages = self._take(account, name, max_n, visibility)
                if messages or now >= deadline or not self._clock.is_real:
                    return messages
                # A message that becomes visible in another queue may move to this one as a dead letter.
                due = [entry.next_visible_time / 1000 for queue in self.queues(account) for entry in queue.entries]
                until = min([deadline, *(moment for moment in due if moment > now)])
                self._changed.wait(max(until - now, 0.001))

    def _take(self, account: str, name: str, max_n: int, visibility: int | None) -> list[Message]:
        queue, now = self.queue(account, name), self._now()
        seconds = queue.attributes.visibility_timeout if visibility is None else visibility
        _between("VisibilityTimeout", seconds, 1, MAX_VISIBILITY)
        self._move_to_dead_letters(account)
        messages = []
        for entry in self._visible(queue, now)[:max_n]:
            entry.dequeue_count += 1
            entry.first_dequeue_time = entry.first_dequeue_time or now
            self._hide(entry, now + seconds * 1000)
            messages.append(replace(entry))
        return messages

    def _move_to_dead_letters(self, account: str) -> None:
        """Move messages received too often to their dead-letter queues; retention continues [doc "Dead-letter
        queue"]."""
        now = self._now()
        for queue in self.queues(account):
            target = self._queues.get((account, queue.attributes.dead_letter_queue or ""))
            if target is None:
                continue
            for entry in self._visible(queue, now):
                if entry.dequeue_count >= queue.attributes.max_receive_count:
                    queue.entries.remove(entry)
                    entry.dequeue_count, entry.first_dequeue_time, entry.receipt_handle = 0, 0, ""
                    target.entries.append(entry)
                    self._changed.notify_all()

    def _visible(self, queue: Queue, now: int) -> list[Message]:
        """The messages that can be received now, by priority (1 first), then by arrival."""
        visible = [entry for entry in self._unexpired(queue) if entry.next_visible_time <= now]
        return sorted(visible, key=lambda entry: (entry.priority, entry.order))

    def _unexpired(self, queue: Queue) -> list[Message]:
        """The messages within their retention period; deletes the others."""
        oldest = self._now() - queue.attributes.message_retention_period * 1000
        queue.entries[:] = [entry for entry in queue.entries if entry.enqueue_time > oldest]
        return queue.entries

    @staticmethod
    def _hide(entry: Message, until: int) -> None:
        entry.next_visible_time = until
        entry.receipt_handle = f"{entry.priority}-{secrets.token_hex(16)}"

    def peek(self, account: str, name: str, max_n: int = 1) -> list[Message]:
        """Return up to `max_n` receivable messages without receiving them."""
        _between("numOfMessages", max_n, 1, BATCH)
        with self._changed:
            self._move_to_dead_letters(account)
            return [
                replace(entry, receipt_handle="")
                for entry in self._visible(self.queue(account, name), self._now())[:max_n]
            ]

    def delete(self, account: str, name: str, receipt_handle: str) -> None:
        """Delete a received message."""
        with self._changed:
            queue = self.queue(account, name)
            queue.entries.remove(self._message(queue, receipt_handle))

    def change_visibility(self, account: str, name: str, receipt_handle: str, seconds: int) -> Message:
        """Keep a received message invisible for `seconds` from now; the new handle replaces the old one."""
        with self._changed:
            queue, now = self.queue(account, name), self._now()
            _between("VisibilityTimeout", seconds, 1, MAX_VISIBILITY)
            entry = self._message(queue, receipt_handle)
            self._hide(entry, now + seconds * 1000)
            self._changed.notify_all()
            return replace(entry)

    def _message(self, queue: Queue, receipt_handle: str) -> Message:
        """The message of a handle; a handle is valid until its NextVisibleTime [doc ReceiveMessage]."""
        if not re.fullmatch(r"\d{1,2}-[0-9a-f]{32}", receipt_handle):
            raise ApiError("ReceiptHandleError", 400)
        for entry in self._unexpired(queue):
            if entry.receipt_handle == receipt_handle and entry.next_visible_time > self._now():
                return entry
        raise ApiError("MessageNotExist", 404)


def _between(name: str, value: int, low: int, high: int, unit: str = "seconds") -> None:
    if not low <= value <= high:
        message = f"The value of {name} should between {low} and {high} {unit}."
        raise ApiError("InvalidArgument", 400, message)
