"""Reads the queues of single accounts in home, through aliyun-mns-sdk."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import msgspec

from link_peer.alicloud.mns import account, queue_answer
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.settings import Settings


class Received(msgspec.Struct, frozen=True):
    """A message that was received from a queue."""

    queue: str
    handle: str  # what deletes it
    times: int  # how often it was received
    element: dict[str, object]  # what a stream would push; the queue in it is the one that was asked


class OwnQueues:
    """Queues of home. Each method opens a connection of its own: the SDK's Account is not safe to share. Raises as
    `queue_answer`."""

    def __init__(self, settings: Settings, home: str) -> None:
        self._settings = settings
        self._home = home

    def receive(self, names: Sequence[str], most: int) -> tuple[list[Received], list[LinkPeerError]]:
        """Up to `most` messages of each queue, which are hidden for a while, and why others were not read."""
        client = account(self._settings, self._home)
        messages: list[Received] = []
        problems: list[LinkPeerError] = []
        for name in names:
            try:
                batch = self._call(client, name, "batch_receive_message", most, 0)  # no wait, whatever the queue says
                messages += [self._received(name, message) for message in batch or ()]
            except LinkPeerError as error:
                problems.append(error)
        return messages, problems

    def delete(self, received: Sequence[Received]) -> None:
        """Delete messages that were carried out, of each queue though another one's cannot be. One whose time to delete
        it is over comes again."""
        client = account(self._settings, self._home)
        problems: list[LinkPeerError] = []
        for name in sorted({message.queue for message in received}):
            handles = [message.handle for message in received if message.queue == name]
            try:
                self._call(client, name, "batch_delete_message", handles)
            except LinkPeerError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def dead_letter(self, message: Received) -> None:
        """Put a message on the dead-letter queue, in the form in which EventBridge does, and delete it."""
        from mns.queue import Message

        letter = Message(base64.b64encode(json.dumps(message.element).encode()).decode())
        self._call(account(self._settings, self._home), self._settings.dead_letters, "send_message", letter)
        self.delete([message])

    def _call(self, client: Any, name: str, method: str, *args: object) -> Any:
        queue = client.get_queue(name)
        queue.set_encoding(
            False
        )  # a body that is no base64 would cost the others of its batch; `queue_message` reads both
        return queue_answer(self._settings, self._home, f"queue {name}", lambda: getattr(queue, method)(*args))

    def _received(self, name: str, message: Any) -> Received:
        subject = f"acs:mns:{self._settings.region}:{self._home}:queues/{name}"
        data = {"messageId": message.message_id, "messageBody": message.message_body}
        element = {"id": message.message_id, "specversion": "1.0", "subject": subject, "data": data}
        return Received(name, message.receipt_handle, int(message.dequeue_count), element)
