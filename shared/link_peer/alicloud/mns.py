"""Puts messages on the queues of the home account and counts them, through aliyun-mns-sdk."""

from __future__ import annotations

from collections.abc import Callable
from http.client import HTTPSConnection
from typing import Any, TypeVar

import msgspec

from link_peer.alicloud import leave_out
from link_peer.domain.errors import CloudError, KeysExpired, NoAccess, Transient, token_expired
from link_peer.domain.request import Message, SweepAccount
from link_peer.inbound.requests import encode
from link_peer.runtime.settings import Settings

TIMEOUT_SECONDS = 5
EMPTY = "MessageNotExist"
PEEKED = 16
"""How many messages of a queue can be looked at: each look begins at the head [doc BatchPeekMessage]."""
_NO_ACCESS = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})  # [doc MNS error codes]
T = TypeVar("T")


class MnsQueue:
    """The `Queue` port over MNS. Each post has its own connection: the SDK's Account is not safe to share."""

    def __init__(self, settings: Settings, account: str) -> None:
        self._settings = settings
        self._account = account

    def post(self, message: Message | SweepAccount, *, queue: str = "", delay: int = 0) -> None:
        """Puts a message on a queue of the home account; without a name, on the one of the settings. It is delivered
        after `delay` seconds, at most seven days [doc SendMessage]. Raises Transient if it may not have been
        accepted."""
        from mns import queue as sdk

        name = queue or self._settings.queue
        if not name:
            raise Transient("LINK_PEER_QUEUE is not set: no message can be put on the queue")
        # the SDK encodes the body in base64, and the event stream decodes it (IsBase64Decode)
        envelope = sdk.Message(encode(message).decode(), delay_seconds=delay or None)
        put = account(self._settings, self._account).get_queue(name).send_message
        queue_answer(
            self._settings, self._account, f"cannot put the message on the queue {name}", lambda: put(envelope)
        )

    def dead_letters(self) -> int:
        """How many messages are in the dead-letter queue, at least. Raises LinkPeerError if it cannot be read."""
        return backlog(self._settings, self._account, self._settings.dead_letters).count


def queue_answer(settings: Settings, uid: str, task: str, call: Callable[[], T]) -> T | None:
    """The answer of a call of the SDK; None where a queue is empty. Raises KeysExpired, else Transient, which name the
    `task` that failed."""
    from mns.mns_exception import MNSExceptionBase

    try:
        return call()
    except MNSExceptionBase as error:
        if missing := leave_out.named_in(error):
            raise missing from error
        problem = trouble(error, host_of(settings, uid))
        if problem == EMPTY:
            return None
        failed = (KeysExpired if token_expired(problem) else Transient)(f"{task}: {problem}")
        raise failed.of("mns", *answered(error)) from error


class Backlog(msgspec.Struct, frozen=True):
    """What waits on a queue, as far as it shows: the `messages` at its head, as `peeked` answers them, and how many the
    platform `counted`, which will always be 0 [doc GetQueueAttributes]: only a look tells that a queue is empty."""

    messages: list[Any]
    counted: int

    @property
    def count(self) -> int:
        """How many messages wait, at least."""
        return max(len(self.messages), self.counted)

    @property
    def is_partial(self) -> bool:
        """Whether there may be more: nobody has counted beyond the look."""
        return len(self.messages) == PEEKED >= self.counted

    @property
    def text(self) -> str:
        """The number, as a person reads it."""
        return f"{self.count} or more" if self.is_partial else str(self.count)

    @property
    def oldest(self) -> float | None:
        """When the first that can be received was put there, in epoch seconds."""
        return min((int(message.enqueue_time) / 1000 for message in self.messages), default=None)


def backlog(settings: Settings, uid: str, queue: str, *, delayed: bool = True) -> Backlog:
    """What waits on a queue of the home account `uid`: the look shows what can be received; the counts, while the
    platform counts, add what was received and not deleted and, unless left out, what is delayed. Raises LinkPeerError
    with the platform's code."""
    messages = peeked(settings, uid, queue)
    answer = attributes(settings, uid, queue)
    later = answer.delay_messages if delayed else 0
    return Backlog(messages, answer.active_messages + answer.inactive_messages + later)


def peeked(settings: Settings, uid: str, queue: str) -> list[Any]:
    """The first messages of a queue that can be received, at most PEEKED, with their bodies as they are stored; they
    stay there. Raises LinkPeerError with the platform's code."""
    client = account(settings, uid).get_queue(queue)
    client.set_encoding(False)  # it is undocumented whether the platform encodes dead letters in base64
    try:
        return _answer(settings, uid, lambda: list(client.batch_peek_message(PEEKED)))
    except CloudError as error:
        if error.code != EMPTY:
            raise
        return []


def attributes(settings: Settings, uid: str, queue: str) -> Any:
    """The attributes of a queue, as the SDK's client answers them: its `Queue` copies them into fields that it has
    deprecated. Raises LinkPeerError with the platform's code."""
    from mns.mns_request import GetQueueAttributesRequest, GetQueueAttributesResponse

    request, answer = GetQueueAttributesRequest(queue), GetQueueAttributesResponse()
    _answer(settings, uid, lambda: account(settings, uid).mns_client.get_queue_attributes(request, answer))
    return answer


def _answer(settings: Settings, uid: str, call: Callable[[], T]) -> T:
    from mns.mns_exception import MNSExceptionBase

    try:
        return call()
    except MNSExceptionBase as error:
        raise refusal(error, host_of(settings, uid)) from error


_TRANSIENT = frozenset({"InternalError", "InternalServerError", "QpsLimitExceeded", "ServiceUnavailable"})


def refusal(error: Any, host: str) -> CloudError | Transient:
    """Our error for one of the SDK, which asked a host: Transient where the service may have done it, or may do it
    later."""
    code, request_id = answered(error)
    if not code or code in _TRANSIENT:
        return Transient(trouble(error, host)).of("mns", code, request_id)
    kind = NoAccess if "SecurityToken" in code or code in _NO_ACCESS else CloudError
    return kind(code, str(error.message), request_id, "mns")


def answered(error: Any) -> tuple[str, str]:
    """The code and the RequestId of an answer; empty where there was none."""
    from mns.mns_exception import MNSServerException

    return (str(error.type), str(error.req_id or "")) if isinstance(error, MNSServerException) else ("", "")


def trouble(error: Any, host: str) -> str:
    """The code of an error of the SDK; if there was no answer, the host and why."""
    from link_peer.alicloud.sdk import unanswered  # only an error needs it: not at a cold start

    return unanswered(error, host) or str(error.type)


def host_of(settings: Settings, uid: str) -> str:
    """The host of the queues of the home account `uid`."""
    return _endpoint(settings, uid).partition("://")[2]


def _endpoint(settings: Settings, uid: str) -> str:
    scheme, host = settings.endpoint("mns")
    return f"{scheme}://{host}" if host else f"https://{uid}.mns.{settings.region}.aliyuncs.com"


def account(settings: Settings, uid: str) -> Any:
    """An MNS client for the home account `uid`, with its own connection."""
    from mns import mns_http
    from mns.account import Account

    mns_http.MNSHTTPSConnection = _over_tls
    keys = settings.credentials
    client = Account(_endpoint(settings, uid), keys.access_key_id, keys.access_key_secret, keys.security_token or "")
    client.mns_client.set_connection_timeout(TIMEOUT_SECONDS)
    return client


def _over_tls(host: str) -> Any:
    """A connection as the SDK makes one, which would load certificates of its own, and have no time limit [src
    MNSHttp: it is set for http alone]."""
    from link_peer.alicloud import tls  # an SDK imports what it imports: not before there is something to post

    connection: Any = HTTPSConnection(host, timeout=TIMEOUT_SECONDS, context=tls.context())
    connection.request_length = 0  # what the SDK reads
    return connection
