"""Reads the queues of single accounts in home, through aliyun-mns-sdk."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Callable, Sequence
from typing import Any

from link_peer.alicloud import leave_out
from link_peer.alicloud.mns import account, trouble
from link_peer.domain.errors import KeysExpired, LinkPeerError, Transient, token_expired
from link_peer.runtime.ports import Received
from link_peer.runtime.settings import Settings

EMPTY = "MessageNotExist"


class OwnQueues:
    """The `OwnQueues` port over SMQ. Each method opens a connection of its own: the SDK's Account is not safe to share."""

    def __init__(self, settings: Settings, home: str) -> None:
        self._settings = settings
        self._home = home

    def receive(self, names: Sequence[str], most: int) -> tuple[list[Received], list[LinkPeerError]]:
        """Up to `most` messages of each queue, and what went wrong with others."""
        client = account(self._settings, self._home)
        found: list[Received] = []
        problems: list[LinkPeerError] = []
        for name in names:
            queue = self._queue(client, name)
            try:
                taken = self._call(name, functools.partial(queue.batch_receive_message, most)) or ()
                found += [self._received(name, message) for message in taken]
            except LinkPeerError as error:
                problems.append(error)
        return found, problems

    def delete(self, received: Sequence[Received]) -> None:
        """Delete messages that were carried out. One whose time to delete it is over comes again."""
        client = account(self._settings, self._home)
        for name in sorted({one.queue for one in received}):
            handles = [one.handle for one in received if one.queue == name]
            self._call(name, functools.partial(self._queue(client, name).batch_delete_message, handles))

    def bury(self, one: Received) -> None:
        """Put a message on the dead-letter queue, in the form in which EventBridge does, and delete it."""
        from mns.queue import Message

        client, letters = account(self._settings, self._home), self._settings.dead_letters
        body = base64.b64encode(json.dumps(one.element).encode()).decode()
        self._call(letters, lambda: self._queue(client, letters).send_message(Message(body)))
        self.delete([one])

    @staticmethod
    def _queue(client: Any, name: str) -> Any:
        queue = client.get_queue(name)
        queue.set_encoding(
            False
        )  # a body that is no base64 would cost the others of its batch; `queue_message` reads both
        return queue

    def _call(self, name: str, call: Callable[[], Any]) -> Any:
        from mns.mns_exception import MNSExceptionBase

        try:
            return call()
        except MNSExceptionBase as error:
            if missing := leave_out.named_in(error):
                raise missing from error
            problem = trouble(error, self._settings, self._home)
            if problem == EMPTY:
                return None
            kind = KeysExpired if token_expired(problem) else Transient
            raise kind(f"queue {name}: {problem}") from error

    def _received(self, name: str, message: Any) -> Received:
        """A message as the element of a stream. The queue that it came through is the one that was asked."""
        body = message.message_body
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        element = {
            "id": message.message_id,
            "specversion": "1.0",
            "type": "mns:Queue:SendMessage",
            "subject": f"acs:mns:{self._settings.region}:{self._home}:queues/{name}",
            "data": {"messageId": message.message_id, "messageBody": text},
        }
        return Received(name, message.receipt_handle, int(message.dequeue_count), element)
