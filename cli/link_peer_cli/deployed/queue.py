"""The request queues, as a person uses them."""

from __future__ import annotations

import base64
import contextlib

import msgspec
from link_peer.alicloud.mns import Backlog, MnsQueue, attributes, backlog, refusal
from link_peer.domain.errors import CloudError, LinkPeerError
from link_peer.domain.request import Message
from link_peer.runtime.settings import Settings

from link_peer_cli.ui.changes import CHANGES

__all__ = ["Backlog", "Letter", "attributes", "backlog", "letters", "post"]


def post(settings: Settings, home: str, message: Message, queue: str = "") -> None:
    """Put a message on a queue of the home account, by default the shared one. Raises CloudError if the queue does not
    have it, Transient if it may."""
    name = queue or settings.queue
    with CHANGES.making(f"post the request to {name}"):
        try:
            MnsQueue(settings, home).post(message, queue=queue)
        except LinkPeerError as error:
            if error.code and isinstance(answer := refusal(error.__cause__, ""), CloudError):
                problem = f"the queue {name} has not taken the message: {answer.message}"
                raise CloudError(answer.code, problem, answer.request_id, "mns") from error
            raise


class Letter(msgspec.Struct, frozen=True):
    """A message that waits on a queue. `time` is when it was put there, in epoch seconds; `body` is plain text."""

    id: str
    time: float
    body: str


def letters(waiting: Backlog) -> list[Letter]:
    """Return the messages at the head of a queue."""
    return [
        Letter(message.message_id, int(message.enqueue_time) / 1000, _plain(message.message_body))
        for message in waiting.messages
    ]


def _plain(body: str | bytes) -> str:
    """A body that may be encoded in base64."""
    raw = body.encode() if isinstance(body, str) else body
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(raw, validate=True)
    return raw.decode("utf-8", "replace")
