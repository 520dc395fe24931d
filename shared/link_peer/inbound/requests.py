"""Requests from the queue: JSON, plain or base64, read strictly into a value; and written.

Anybody who may send to the queue may send anything, and the queue carries no authority: a message names accounts and
parties only. What is not the form is a BadRequest, with as much of it as could be read, for the record.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from typing import Any, Literal, TypeVar

import msgspec

from link_peer.domain import denial as denials
from link_peer.domain.denial import Denial, LinkDenied
from link_peer.domain.errors import BadInput
from link_peer.domain.marker import is_request_id
from link_peer.domain.model import Link, Party, Ports
from link_peer.domain.request import Request
from link_peer.domain.tags import (
    is_account_uid,
    is_group_id,
    is_instance_id,
    iso,
    parse_instant,
    parse_port,
    quoted,
    unique_ports,
)

MAX_BYTES = 64 * 1024  # of a message [doc SMQ limits]
LATE = 300  # seconds that `expires_at` may be past: clocks differ, and deliveries come again
AHEAD = 24 * 3600 + 300
ACTIONS = ("link", "unlink", "sync")
_CLAIM = 256  # characters of `reason` and `requested_by`
_NUMBER = 9  # digits; the form's only number is the version

# JSON escapes can spell it; nothing can write it down again.
_HALF = "holds half a character (a lone surrogate)"
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_PLACE = re.compile(r"(?s)(.*) - at `\$\.?([a-z_.0-9\[\]]*)`")

T = TypeVar("T")


class Known(msgspec.Struct, frozen=True):
    """What could be read of a message that is not the form; empty and None where it could not."""

    request_id: str = ""
    action: str = ""
    source: Party | None = None
    target: Party | None = None
    justification: str = ""
    requested_by: str = ""


class BadRequest(BadInput):
    """A message that is not the form, with what is known of it."""

    def __init__(self, error: BadInput, known: Known) -> None:
        super().__init__(error.field, error.problem)
        self.known = known


class DeniedRequest(LinkDenied):
    """A valid request that is denied here or now: `different-region` or `expired`."""

    def __init__(self, request: Request, denial: Denial) -> None:
        super().__init__(denial)
        self.request = request


class _End(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    party: str


class _Message(msgspec.Struct, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}):
    version: Literal[1]
    request_id: str
    action: Literal["link", "unlink", "sync"]
    region: str
    source: _End
    target: _End
    expires_at: str
    ports: list[str] | msgspec.UnsetType = msgspec.UNSET
    until: str | msgspec.UnsetType = msgspec.UNSET
    reason: str = ""
    requested_by: str = ""


def decode(body: bytes | str, *, region: str, now: float) -> Request:
    """The request in a message. BadRequest where it is not the form; DeniedRequest where it is, but not here or now."""
    document: object = None
    try:
        document, problem = _json(body_of(body))
        if problem:
            raise problem
        request = _request(document, now)
    except BadInput as error:
        raise BadRequest(error, _known(document)) from None
    if request.region != region:
        raise DeniedRequest(request, denials.different_region(quoted(request.region), region))
    if now > request.expires_at + LATE:
        raise DeniedRequest(request, denials.request_expired("expires_at", iso(request.expires_at)))
    if request.until is not None and request.until <= now:
        raise DeniedRequest(request, denials.request_expired("until", iso(request.until)))
    return request


def encode(request: Request) -> bytes:
    """The message, as `decode` reads it."""
    ends = {
        name: {"account": party.account, "party": party.id}
        for name, party in (("from", request.link.source), ("to", request.link.target))
    }
    message: dict[str, object] = {
        "version": request.version,
        "request_id": request.request_id,
        "action": request.action,
        "region": request.region,
        **ends,
        "expires_at": iso(request.expires_at),
    }
    if request.link.ports:
        message["ports"] = [str(port) for port in request.link.ports]
    if request.until is not None:
        message["until"] = iso(request.until)
    if request.justification:
        message["reason"] = request.justification
    if request.requested_by:
        message["requested_by"] = request.requested_by
    return json.dumps(message).encode()


def body_of(raw: bytes | str) -> bytes:
    """The JSON of a message: as it is, or taken out of base64, the queue's usual coding."""
    data = _utf8(raw, "body") if isinstance(raw, str) else raw
    if len(data) > MAX_BYTES:
        raise BadInput("body", f"longer than {MAX_BYTES // 1024} KB")
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        return data
    try:
        # Encoders wrap lines; whatever else is not of the alphabet is refused.
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        raise BadInput("body", "neither a JSON object nor base64 of one") from None


def _json(data: bytes) -> tuple[object, BadInput | None]:
    """Strict JSON: UTF-8 without byte order mark, no key twice, no number but short whole ones. A document that breaks only
    the last two rules is returned with what is wrong, so that its record can say whose it is."""
    problems: list[BadInput] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                problems.append(BadInput(quoted(key), "stands in the message twice"))
            found[key] = value
        return found

    def refuse(text: str) -> None:
        problems.append(BadInput("body", f"the number {quoted(text)} has no place in a request"))

    def whole(text: str) -> int | None:
        if len(text) <= _NUMBER:
            return int(text)
        refuse(text)
        return None

    try:
        document = json.loads(
            data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse, parse_float=refuse, parse_int=whole
        )
    except UnicodeDecodeError:
        raise BadInput("body", "not UTF-8") from None
    except RecursionError:
        raise BadInput("body", "nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BadInput("body", f"not JSON: {error.msg}, at character {error.pos}") from None
    return document, problems[0] if problems else None


def _request(document: object, now: float) -> Request:
    message = _convert(document, _Message)
    if not is_request_id(message.request_id):
        raise BadInput("request_id", f"{quoted(message.request_id)} is not 1 to 48 of A-Z a-z 0-9 . _ -")
    if not _REGION.fullmatch(message.region):
        raise BadInput("region", f"{quoted(message.region)} is not the name of a region")
    source, target = _party(message.source, "from"), _party(message.target, "to")
    if source.is_group != target.is_group:
        raise BadInput("to", "both ends must be groups, or both instances")
    if message.action == "sync" and message.ports is not msgspec.UNSET:
        raise BadInput("ports", "a sync has no ports")
    if message.action != "link" and message.until is not msgspec.UNSET:
        raise BadInput("until", f"{'an' if message.action == 'unlink' else 'a'} {message.action} has no until")
    expires_at = _instant(message.expires_at, "expires_at")
    if expires_at > now + AHEAD:
        raise BadInput("expires_at", "more than 24 hours ahead")
    return Request(
        message.request_id,
        message.action,
        message.region,
        Link(source, target, () if message.ports is msgspec.UNSET else _ports(message.ports)),
        expires_at,
        None if message.until is msgspec.UNSET else math.floor(_instant(message.until, "until")),
        _claim(message.reason, "reason"),
        _claim(message.requested_by, "requested_by"),
    )


def _convert(value: object, into: type[T]) -> T:
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        match = _PLACE.fullmatch(str(error))
        problem, place = (match[1], match[2]) if match else (str(error), None)
        # The problem may repeat the sender's own names.
        raise BadInput(place or "body", problem.encode("ascii", "backslashreplace").decode()[:300]) from None
    except UnicodeEncodeError:
        raise BadInput("body", _HALF) from None


def _party(end: _End, field: str) -> Party:
    if not is_account_uid(end.account):
        raise BadInput(f"{field}.account", f"{quoted(end.account)} is not an account uid: 15 to 20 digits")
    if not is_group_id(end.party) and not is_instance_id(end.party):
        raise BadInput(f"{field}.party", f"{quoted(end.party)} is not sg-… or i-…")
    return Party(end.account, end.party)


def _ports(texts: list[str]) -> Ports:
    if not texts:
        raise BadInput("ports", "empty: list the ports, or leave `ports` out for a mutual link")
    ports = []
    for number, text in enumerate(texts):
        try:
            ports.append(parse_port(text))
        except BadInput as error:
            raise BadInput(f"ports[{number}]", error.problem) from None
    return unique_ports(ports)


def _instant(text: str, field: str) -> float:
    try:
        return parse_instant(text)
    except BadInput as error:
        raise BadInput(field, error.problem) from None


def _claim(text: str, field: str) -> str:
    if len(text) > _CLAIM:
        raise BadInput(field, f"longer than {_CLAIM} characters")
    _utf8(text, field)
    return text


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadInput(field, _HALF) from None


def _known(document: object) -> Known:
    """What is well-formed by itself in a message that is not the form."""
    if not isinstance(document, dict):
        return Known()
    ends: list[Party | None] = []
    for field in ("from", "to"):
        try:
            ends.append(_party(_convert(document.get(field), _End), field))
        except BadInput:
            ends.append(None)
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    request_id, action = texts.get("request_id", ""), texts.get("action", "")
    return Known(
        request_id if is_request_id(request_id) else "",
        action if action in ACTIONS else "",
        ends[0],
        ends[1],
        texts.get("reason", "")[:_CLAIM],
        texts.get("requested_by", "")[:_CLAIM],
    )
