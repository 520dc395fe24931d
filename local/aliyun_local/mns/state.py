"""Queues and messages of MNS as values, and their limits."""

from __future__ import annotations

import hashlib

from msgspec import Struct, field

BATCH = 16  # messages per call [doc limits]
BATCH_BYTES = 65536  # of all bodies of one batch together [doc BatchSendMessage]
MAX_VISIBILITY = 43200
MAX_WAIT = 30

# Attribute: its name on the wire, minimum, maximum [doc CreateQueue].
LIMITS: dict[str, tuple[str, int, int]] = {
    "visibility_timeout": ("VisibilityTimeout", 1, MAX_VISIBILITY),
    "maximum_message_size": ("MaximumMessageSize", 1024, 65536),
    "message_retention_period": ("MessageRetentionPeriod", 60, 604800),
    "delay_seconds": ("DelaySeconds", 0, 604800),
    "polling_wait_seconds": ("PollingWaitSeconds", 0, MAX_WAIT),
    "max_receive_count": ("MaxReceiveCount", 1, 1000),
}


class QueueAttributes(Struct, frozen=True):
    """The settable attributes of a queue; seconds and bytes. `dead_letter_queue` enables the dead-letter policy."""

    visibility_timeout: int = 30
    maximum_message_size: int = 65536
    message_retention_period: int = 345600
    delay_seconds: int = 0
    polling_wait_seconds: int = 0
    logging_enabled: bool = False
    dead_letter_queue: str | None = None
    max_receive_count: int = 16


class Message(Struct, eq=False):
    """A message with its current receipt handle; times in milliseconds since the epoch. A peeked one has no handle."""

    id: str
    body: str
    priority: int
    order: int
    enqueue_time: int
    next_visible_time: int
    first_dequeue_time: int = 0
    dequeue_count: int = 0
    receipt_handle: str = ""


class Depth(Struct, frozen=True):
    """How many messages a queue holds: receivable, received but invisible, and delayed."""

    active: int
    inactive: int
    delayed: int


class Queue(Struct):
    """A queue with its messages; `created` and `modified` in epoch seconds."""

    name: str
    attributes: QueueAttributes
    created: int
    modified: int
    entries: list[Message] = field(default_factory=list)


def body_md5(body: str) -> str:
    """MD5 of the body as stored, in upper-case hex, as MNS shows it."""
    return hashlib.md5(body.encode()).hexdigest().upper()  # noqa: S324 - their hash
