"""Calls of the official SDKs for setup: their errors become ours, and their answers stand beside what was sent."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from link_peer.alicloud import mns, sls
from link_peer.alicloud.sdk import call, unanswered
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled, Transient

T = TypeVar("T")

_SLS_TRANSIENT = frozenset(
    {"InternalServerError", "ServerBusy", "RequestTimeout", "LogRequestError", "BadResponse", "RequestError"}
)
_SLS_THROTTLED = frozenset({"WriteQuotaExceed", "ReadQuotaExceed", "ProjectQuotaExceed", "ExceedQuota"})
_SLS_NO_ACCESS = frozenset({"Unauthorized", "SignatureNotMatch", "SecurityTokenExpired", "SecurityTokenInvalid"})


def unless(missing: Collection[str], send: Callable[[], T]) -> T | None:
    """The answer of an RPC call; None if it is refused with one of the codes `missing`.

    RAM's DeleteConflict (409) is final: somebody must detach what a person attached.
    """
    try:
        return call(send)
    except Ambiguous as error:
        code, _, message = str(error).partition(": ")
        if code.startswith("DeleteConflict"):
            raise CloudError(code, message, error.request_id) from error
        raise
    except CloudError as error:
        if error.code in missing:
            return None
        raise


def log_call(send: Callable[[], T], missing: Collection[str] = (), late: Collection[str] = ()) -> T | None:
    """The answer of a call of SLS; None if it is refused with one of the codes `missing`.

    The codes `late` are Transient: SLS shows a new project or logstore only after a while.
    """
    try:
        return send()
    except sls.AuditUnavailable as error:
        if error.code in missing:
            return None
        raise _log_error(error, late) from error


def _log_error(error: sls.AuditUnavailable, late: Collection[str]) -> Exception:
    answered = ("sls", error.code, error.request_id)
    if error.code in late or error.code in _SLS_TRANSIENT:
        return Transient(unanswered(error) or str(error)).of(*answered)
    if error.code in _SLS_THROTTLED:
        return Throttled(str(error)).of(*answered)
    message = str(error).removeprefix(f"{error.code}: ")
    return (NoAccess if error.code in _SLS_NO_ACCESS else CloudError)(error.code, message).of(*answered)


def queue_call(send: Callable[[], T], missing: Collection[str] = ()) -> T | None:
    """The answer of a call of MNS; None if it is refused with one of the codes `missing`."""
    from mns.mns_exception import MNSExceptionBase  # an SDK: when it is asked, since help needs none

    try:
        return send()
    except MNSExceptionBase as error:
        if error.type in missing:
            return None
        raise mns.refusal(error, "MNS") from error


def merged(current: Any, ours: Any) -> Any:
    """What the cloud shows, with every field of ours as we want it; lists are replaced as a whole."""
    if isinstance(current, dict) and isinstance(ours, dict):
        return {**current, **{name: merged(current.get(name), value) for name, value in ours.items()}}
    return ours


def reduced(current: Any, like: Any) -> Any:
    """What the cloud shows, without the fields that it has added to what was sent: `like` is what was sent."""
    if isinstance(current, dict) and isinstance(like, dict):
        return {name: reduced(current[name], value) for name, value in like.items() if name in current}
    if isinstance(current, list) and isinstance(like, list) and len(current) == len(like):
        return [reduced(item, like_item) for item, like_item in zip(current, like, strict=True)]
    return current
