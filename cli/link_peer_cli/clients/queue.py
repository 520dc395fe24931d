"""The request queue, as a person uses it."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from link_peer.domain.errors import LinkPeerError

if TYPE_CHECKING:
    from link_peer.domain.request import Request
    from link_peer.runtime.settings import Settings


def post(settings: Settings, home: str, request: Request) -> None:
    """Put a request on the queue of the home account. Raises Transient if the queue may not have it."""
    from link_peer.alicloud.mns import MnsQueue

    MnsQueue(settings, home).post(request)


def check_queue(settings: Settings, home: str) -> None:
    """Raise LinkPeerError with the platform's code if the queue named in the settings cannot be read."""
    from link_peer.alicloud.mns import account
    from mns.mns_exception import MNSExceptionBase

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK reads its own deprecated fields
            account(settings, home).get_queue(settings.queue).get_attributes()
    except MNSExceptionBase as error:
        raise LinkPeerError(str(error.type)) from error
