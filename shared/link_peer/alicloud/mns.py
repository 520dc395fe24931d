"""Puts requests on the request queue, through aliyun-mns-sdk."""

from __future__ import annotations

from typing import Any

from link_peer.domain.errors import Transient
from link_peer.domain.request import Request
from link_peer.inbound.requests import encode
from link_peer.runtime.settings import Settings

TIMEOUT_SECONDS = 5


class MnsQueue:
    """The request queue of the home account. Each post has its own connection: the SDK's Account is not safe to share."""

    def __init__(self, settings: Settings, account: str) -> None:
        self._settings = settings
        self._account = account

    def post(self, request: Request) -> None:
        """Puts a request on the queue. Raises Transient if it may not have been accepted."""
        from mns.mns_exception import MNSExceptionBase
        from mns.queue import Message

        if not self._settings.queue:
            raise Transient("LINK_PEER_QUEUE is not set: cannot queue a request for the other account")
        try:
            # the SDK encodes the body in base64, and the event stream decodes it (IsBase64Decode)
            account(self._settings, self._account).get_queue(self._settings.queue).send_message(
                Message(encode(request).decode())
            )
        except MNSExceptionBase as error:
            raise Transient(f"cannot put the request on the queue {self._settings.queue}: {error.type}") from error


def account(settings: Settings, uid: str) -> Any:
    """An MNS client for the home account `uid`, with its own connection."""
    from mns.account import Account

    scheme, host = settings.endpoint("mns")
    endpoint = f"{scheme}://{host}" if host else f"https://{uid}.mns.{settings.region}.aliyuncs.com"
    keys = settings.credentials
    made = Account(endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
    made.mns_client.set_connection_timeout(TIMEOUT_SECONDS)
    return made
