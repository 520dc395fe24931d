"""The request queues, as a person uses them."""

from __future__ import annotations

import base64
import contextlib

import msgspec
from link_peer.alicloud.mns import MnsQueue, account, host_of, refusal, waiting
from link_peer.domain.errors import CloudError, LinkPeerError
from link_peer.domain.request import Message
from link_peer.runtime.settings import Settings

from link_peer_cli.ui.changes import CHANGES

LETTERS = 16
"""How many messages can be looked at: each look begins at the head of the queue [doc BatchPeekMessage]."""


def post(settings: Settings, home: str, message: Message, queue: str = "") -> None:
    """Put a message on a queue of the home account, by default the shared one. Raises CloudError if the queue does not have
    it, Transient if it may."""
    name = queue or settings.queue
    with CHANGES.making(f"post the request to {name}"):
        try:
            MnsQueue(settings, home).post(message, queue=queue)
        except LinkPeerError as error:
            if error.code and isinstance(answer := refusal(error.__cause__, ""), CloudError):
                problem = f"the queue {name} has not taken the message: {answer.message}"
                raise CloudError(answer.code, problem, answer.request_id, "mns") from error
            raise


def waiting_messages(settings: Settings, home: str, queue: str, *, delayed: bool = True) -> int:
    """Return how many messages of a queue are not delivered yet, not acknowledged or, unless left out, delayed. Raises
    LinkPeerError with the platform's code if the queue cannot be read."""
    return waiting(settings, home, queue, delayed=delayed)


class Letter(msgspec.Struct, frozen=True):
    """A message that waits on a queue. `time` is when it was put there, in epoch seconds; `body` is plain text."""

    id: str
    time: float
    body: str


def peek(settings: Settings, home: str, queue: str) -> list[Letter]:
    """Return the first messages of a queue, at most LETTERS, and leave them there. Raises as
    `waiting_messages` does."""
    from mns.mns_exception import MNSExceptionBase  # an SDK: when it is asked, since help needs none

    client = account(settings, home).get_queue(queue)
    client.set_encoding(False)  # it is undocumented whether the platform encodes dead letters in base64
    try:
        messages = client.batch_peek_message(LETTERS)
    except MNSExceptionBase as error:
        if error.type == "MessageNotExist":
            return []
        raise refusal(error, host_of(settings, home)) from error
    return [
        Letter(message.message_id, int(message.enqueue_time) / 1000, _plain(message.message_body))
        for message in messages
    ]


def _plain(body: str | bytes) -> str:
    """A body that may be encoded in base64."""
    raw = body.encode() if isinstance(body, str) else body
    with contextlib.suppress(ValueError):
        raw = base64.b64decode(raw, validate=True)
    return raw.decode("utf-8", "replace")
