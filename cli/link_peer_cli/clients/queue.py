"""The request queues, as a person uses them."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from link_peer.domain.errors import LinkPeerError

if TYPE_CHECKING:
    from link_peer.domain.request import Message
    from link_peer.runtime.settings import Settings


def post(settings: Settings, home: str, message: Message, queue: str = "") -> None:
    """Put a message on a queue of the home account, by default the shared one. Raises Transient if the queue may not have
    it."""
    from link_peer.alicloud.mns import MnsQueue

    MnsQueue(settings, home).post(message, queue=queue)


def waiting_messages(settings: Settings, home: str, queue: str) -> int:
    """Return how many messages of a queue are not delivered yet, or not acknowledged; delayed ones are not counted. Raises
    as `check_queue` does."""
    found = _attributes(settings, home, queue)
    return int(found.active_messages) + int(found.inactive_messages)


def check_queue(settings: Settings, home: str, queue: str) -> None:
    """Raise LinkPeerError with the platform's code if a queue of the home account cannot be read."""
    _attributes(settings, home, queue)


def _attributes(settings: Settings, home: str, queue: str) -> Any:
    from link_peer.alicloud.mns import account
    from mns.mns_exception import MNSExceptionBase

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK reads its own deprecated fields
            return account(settings, home).get_queue(queue).get_attributes()
    except MNSExceptionBase as error:
        raise LinkPeerError(str(error.type)) from error
