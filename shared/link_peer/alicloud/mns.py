"""Posting to the request queue through aliyun-mns-sdk."""

from __future__ import annotations

from typing import Any

from link_peer.domain.errors import Transient
from link_peer.domain.request import Request
from link_peer.inbound.requests import encode
from link_peer.runtime.settings import Settings

TIMEOUT_SECONDS = 5


class MnsQueue:
    """The request queue of the home account. One connection a post: the SDK's Account is not safe to share."""

    def __init__(self, settings: Settings, account: str) -> None:
        self._settings = settings
        self._account = account

    def post(self, request: Request) -> None:
        """Puts a request on the queue. Raises Transient when the queue may not have it."""
        from mns.mns_exception import MNSExceptionBase
        from mns.queue import Message

        if not self._settings.queue:
            raise Transient("LINK_PEER_QUEUE is not set: nothing can be put on the queue for the other account")
        try:
            # the SDK base64-encodes the body, which the stream undoes (IsBase64Decode)
            account(self._settings, self._account).get_queue(self._settings.queue).send_message(
                Message(encode(request).decode())
            )
        except MNSExceptionBase as error:
            raise Transient(f"the queue {self._settings.queue} did not take the request: {error.type}") from error


def account(settings: Settings, uid: str) -> Any:
    """The MNS of the home account `uid`, on a connection of its own."""
    from mns.account import Account

    scheme, host = settings.endpoint("mns")
    endpoint = f"{scheme}://{host}" if host else f"https://{uid}.mns.{settings.region}.aliyuncs.com"
    keys = settings.credentials
    made = Account(endpoint, keys.access_key_id, keys.access_key_secret, keys.security_token or "")
    made.mns_client.set_connection_timeout(TIMEOUT_SECONDS)
    return made
