"""Decodes and encodes the requests on the queue: JSON, plain or in base64, parsed strictly.

Anyone who may send to the queue can send anything, and a message grants nothing: it only names accounts and parties. A
message that does not match the schema is a BadRequest, which keeps the fields that could be read, for the audit record.
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
LATE = 300  # seconds for which a request is accepted after `expires_at`: clocks differ, and messages are redelivered
AHEAD = 24 * 3600 + 300  # seconds that `expires_at` may be ahead of now
ACTIONS = ("link", "unlink", "sync")
_MAX_TEXT = 256  # characters of `reason` and of `requested_by`
_MAX_DIGITS = 9  # the only number in the schema is the version

_SURROGATE = "contains a lone surrogate"  # a JSON escape can produce one, but it cannot be encoded as UTF-8
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_VALIDATION_ERROR = re.compile(r"(?s)(.*) - at `\$\.?([a-z_.0-9\[\]]*)`")

T = TypeVar("T")


class Known(msgspec.Struct, frozen=True):
    """The fields that could be read of an invalid message; empty or None if they could not."""

    request_id: str = ""
    action: str = ""
    source: Party | None = None
    target: Party | None = None
    justification: str = ""
    requested_by: str = ""


class BadRequest(BadInput):
    """A message that does not match the schema, with the fields that could be read."""

    def __init__(self, error: BadInput, known: Known) -> None:
        super().__init__(error.field, error.problem)
        self.known = known


class DeniedRequest(LinkDenied):
    """A valid request that is denied because of its region (`different-region`) or its age (`expired`)."""

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
    """The request in a message. `now` is in epoch seconds.

    Raises BadRequest if the message does not match the schema, and DeniedRequest if the request is for another region or
    has expired.
    """
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
    """The JSON message of a request; `decode` reads it back."""
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
    """The JSON of a message, decoded from base64 if necessary: most clients of the queue encode bodies. Raises BadInput."""
    data = _utf8(raw, "body") if isinstance(raw, str) else raw
    if len(data) > MAX_BYTES:
        raise BadInput("body", f"longer than {MAX_BYTES // 1024} KB")
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        return data
    try:
        # Some encoders wrap lines, so white space is allowed.
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        raise BadInput("body", "neither a JSON object nor base64 of one") from None


def _json(data: bytes) -> tuple[object, BadInput | None]:
    """Parses strict JSON: UTF-8 without a byte order mark, no duplicate keys, and only short whole numbers.

    A document that breaks only the last two rules is returned with the error, so that its audit record can name the
    parties.
    """
    problems: list[BadInput] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                problems.append(BadInput(quoted(key), "duplicate key"))
            found[key] = value
        return found

    def refuse(text: str) -> None:
        problems.append(BadInput("body", f"the number {quoted(text)} is not allowed in a request"))

    def whole(text: str) -> int | None:
        if len(text) <= _MAX_DIGITS:
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
        raise BadInput("request_id", f"{quoted(message.request_id)} is not 1 to 48 characters of A-Z a-z 0-9 . _ -")
    if not _REGION.fullmatch(message.region):
        raise BadInput("region", f"{quoted(message.region)} is not a region id")
    source, target = _party(message.source, "from"), _party(message.target, "to")
    if source.is_group != target.is_group:
        raise BadInput("to", "both parties must be groups, or both must be instances")
    if message.action == "sync" and message.ports is not msgspec.UNSET:
        raise BadInput("ports", "not allowed in a sync")
    if message.action != "link" and message.until is not msgspec.UNSET:
        raise BadInput("until", f"not allowed in {'an' if message.action == 'unlink' else 'a'} {message.action}")
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
        _short_text(message.reason, "reason"),
        _short_text(message.requested_by, "requested_by"),
    )


def _convert(value: object, into: type[T]) -> T:
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        match = _VALIDATION_ERROR.fullmatch(str(error))
        problem, place = (match[1], match[2]) if match else (str(error), None)
        # msgspec repeats field names of the sender in its message.
        raise BadInput(place or "body", problem.encode("ascii", "backslashreplace").decode()[:300]) from None
    except UnicodeEncodeError:
        raise BadInput("body", _SURROGATE) from None


def _party(end: _End, field: str) -> Party:
    if not is_account_uid(end.account):
        raise BadInput(f"{field}.account", f"{quoted(end.account)} is not an account uid: 15 to 20 digits")
    if not is_group_id(end.party) and not is_instance_id(end.party):
        raise BadInput(f"{field}.party", f"{quoted(end.party)} is not sg-… or i-…")
    return Party(end.account, end.party)


def _ports(texts: list[str]) -> Ports:
    if not texts:
        raise BadInput("ports", "empty: list the ports, or omit `ports` for a mutual link")
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


def _short_text(text: str, field: str) -> str:
    if len(text) > _MAX_TEXT:
        raise BadInput(field, f"longer than {_MAX_TEXT} characters")
    _utf8(text, field)
    return text


def _utf8(text: str, field: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadInput(field, _SURROGATE) from None


def _known(document: object) -> Known:
    """The fields of an invalid message that are valid by themselves."""
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
        texts.get("reason", "")[:_MAX_TEXT],
        texts.get("requested_by", "")[:_MAX_TEXT],
    )
