"""Decodes and encodes the messages on the queue: JSON, plain or in base64, parsed strictly.

A message is a request (`link`, `unlink`, `sync`) or a `look`, which asks only to look at a party again. On a queue of
its own, it is a `sweep` of one account.

Anyone who may send to the queue can send anything, and a message grants nothing: it only names accounts and parties. A
message that does not match the schema is a BadRequest, which keeps the fields that could be read, for the audit record.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import Denial, LinkDenied
from link_peer.domain.errors import BadInput
from link_peer.domain.marker import is_request_id
from link_peer.domain.model import Link, Party, Ports
from link_peer.domain.record_fields import CLAIMED
from link_peer.domain.request import LATE_SECONDS, Look, Message, Request, SweepAccount
from link_peer.domain.tags import (
    is_account_uid,
    is_group_id,
    is_instance_id,
    iso,
    iso_millis,
    parse_instant,
    parse_port,
    quoted,
    unique_ports,
)
from link_peer.inbound.message_body import SURROGATE, body_of, parse_json, utf8

AHEAD = 24 * 3600 + 300  # seconds that `expires_at` may be ahead of now
ACTIONS = ("link", "unlink", "sync", "look")
MAX_ATTEMPT = 10_000
RESERVED = {"tag-": "sync", "look-": "look"}  # request ids that start so are those of one action
NO_NAMES: Mapping[str, Party] = {}
_DIGITS = 9  # the only numbers of a request are the version and the attempt
_CURSOR_DIGITS = 12  # of counts, and of seconds since 1970
_MAX_TEXT = 256  # characters of a text that the record of an invalid message has

REGION = re.compile(r"[a-z0-9-]{1,64}")
_VALIDATION_ERROR = re.compile(r"(?s)(.*) - at `\$\.?([a-z_.0-9\[\]]*)`")
_TOO_LONG = re.compile(r"Expected `str` of length <= ([0-9]+)")

T = TypeVar("T")


class ReadableFields(msgspec.Struct, frozen=True):
    """The fields that could be read of an invalid message; empty or None if they could not. `claimed` are fields of its
    record."""

    request_id: str = ""
    action: str = ""
    source: Party | None = None
    target: Party | None = None
    claimed: Mapping[str, str] = {}


class BadRequest(BadInput):
    """A message that does not match the schema, with the fields that could be read."""

    def __init__(self, error: BadInput, fields: ReadableFields) -> None:
        super().__init__(error.field, error.problem)
        self.fields = fields


class DeniedRequest(LinkDenied):
    """A valid message that is denied because of its region (`different-region`) or, except a look, its age
    (`expired`)."""

    def __init__(self, request: Message, denial: Denial) -> None:
        super().__init__(denial)
        self.request = request


_Attempt = Annotated[int, msgspec.Meta(ge=0, le=MAX_ATTEMPT)]
_ClaimedText = Annotated[str, msgspec.Meta(max_length=256)]


class PartyMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A group or an instance of an account, or a name of the policy, which says the account."""

    party: str
    account: str | msgspec.UnsetType = msgspec.UNSET


class RequestMessage(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}
):
    """A request for a link, for its end, or for another look at a pair."""

    version: Literal[1]
    request_id: str
    action: Literal["link", "unlink", "sync"]
    region: str
    source: PartyMessage
    target: PartyMessage
    expires_at: str
    ports: list[str] | msgspec.UnsetType = msgspec.UNSET
    until: str | msgspec.UnsetType = msgspec.UNSET
    reason: _ClaimedText = ""
    requested_by: _ClaimedText = ""
    attempt: _Attempt = 0


class LookMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wish to look at a party again, as at an event of it."""

    version: Literal[1]
    request_id: str
    action: Literal["look"]
    region: str
    party: PartyMessage
    expires_at: str
    attempt: _Attempt = 0


class _SweepMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    action: Literal["sweep"]
    region: str
    account: str
    posted_at: str
    cursor: Any = None  # not looked at here


def decode(body: bytes | str, *, region: str, now: float, names: Mapping[str, Party] = NO_NAMES) -> Message:
    """The request or the look in a message. `now` is in epoch seconds, `names` are those of the policy.

    Raises BadRequest if the message does not match the schema, and DeniedRequest if it is for another region or is a
    request that has expired. A look that has expired is carried out once more, so it is not denied.
    """
    document: object = None
    try:
        document, problem = parse_json(body_of(body), _DIGITS)
        if problem:
            raise problem
        looks = isinstance(document, dict) and document.get("action") == "look"
        request: Message = _look(document, now) if looks else _request(document, now, names)
    except BadInput as error:
        raise BadRequest(error, _readable_fields(document, names)) from None
    if request.region != region:
        raise DeniedRequest(
            request, denials.different_region(request.region, region, is_look=isinstance(request, Look))
        )
    if isinstance(request, Look):
        return request
    if now > request.expires_at + LATE_SECONDS:
        raise DeniedRequest(request, denials.request_expired("expires_at", iso(request.expires_at)))
    if request.until is not None and request.until <= now:
        raise DeniedRequest(request, denials.request_expired("until", iso(request.until)))
    return request


def decode_sweep(body: bytes | str, *, region: str, accounts: Collection[str]) -> SweepAccount:
    """The `sweep` in a message, of one of these accounts. Its cursor is not looked at. Raises BadRequest if the message
    does not match the schema, and LinkDenied if it is for another region or an unknown account."""
    document: object = None
    try:
        document, problem = parse_json(body_of(body), _CURSOR_DIGITS)
        if problem:
            raise problem
        read = _convert(document, _SweepMessage)
        _check_region(read.region)
        if not is_account_uid(read.account):
            raise BadInput("account", f"{quoted(read.account)} is not an account uid: 15 to 20 digits")
        message = SweepAccount(read.region, read.account, _instant(read.posted_at, "posted_at"), read.cursor)
    except BadInput as error:
        raise BadRequest(error, ReadableFields()) from None
    if message.region != region:
        raise LinkDenied(denials.different_region(message.region, region, is_look=True))
    if message.account not in accounts:
        raise LinkDenied(denials.unknown_account(message.account))
    return message


def encode(message: Message | SweepAccount) -> bytes:
    """The JSON of a message; `decode`, or `decode_sweep`, reads it back."""
    if isinstance(message, SweepAccount):
        head = {"version": 1, "action": "sweep", "region": message.region, "account": message.account}
        body = {**head, "cursor": message.cursor, "posted_at": iso_millis(message.posted_at)}
        return json.dumps(body, separators=(",", ":")).encode()
    fields: dict[str, object] = {
        "version": 1,
        "request_id": message.request_id,
        "action": "look" if isinstance(message, Look) else message.action,
        "region": message.region,
        "expires_at": _written(message.expires_at),
    }
    if message.attempt:
        fields["attempt"] = min(message.attempt, MAX_ATTEMPT)
    if isinstance(message, Look):
        return json.dumps({**fields, "party": _end(message.party)}).encode()
    fields |= {"from": _end(message.link.source), "to": _end(message.link.target)}
    if message.link.ports:
        fields["ports"] = [str(port) for port in message.link.ports]
    if message.until is not None:
        fields["until"] = iso(message.until)
    fields |= {name: text for name in CLAIMED.values() if (text := getattr(message, name))}
    return json.dumps(fields).encode()


def _end(party: Party) -> dict[str, str]:
    return {"account": party.account, "party": party.id}


def _written(epoch: float) -> str:
    """With milliseconds where the instant has them: a message that is put back on its queue keeps its `expires_at`."""
    return iso(epoch) if epoch == math.floor(epoch) else iso_millis(epoch)


def _look(document: object, now: float) -> Look:
    message = _convert(document, LookMessage)
    _check_head(message)
    party, expires_at = _party(message.party, "party", NO_NAMES), _expires_at(message.expires_at, now)
    return Look(message.request_id, message.region, party, expires_at, message.attempt)


def _check_head(message: RequestMessage | LookMessage) -> None:
    if not is_request_id(message.request_id):
        raise BadInput("request_id", f"{quoted(message.request_id)} is not 1 to 48 characters of A-Z a-z 0-9 . _ -")
    for start, action in RESERVED.items():
        if message.request_id.startswith(start) and message.action != action:
            raise BadInput("request_id", f"ids that start with {start} are reserved for {action}: choose another")
    _check_region(message.region)


def _check_region(text: str) -> None:
    if not REGION.fullmatch(text):
        raise BadInput("region", f"{quoted(text)} is not a region id")


def _expires_at(text: str, now: float) -> float:
    expires_at = _instant(text, "expires_at")
    if expires_at > now + AHEAD:
        raise BadInput("expires_at", "more than 24 hours ahead")
    return expires_at


def _request(document: object, now: float, names: Mapping[str, Party]) -> Request:
    message = _convert(document, RequestMessage)
    _check_head(message)
    source, target = _party(message.source, "from", names), _party(message.target, "to", names)
    if source.is_group != target.is_group:
        raise BadInput("to", "both parties must be groups, or both must be instances")
    if message.action == "sync" and message.ports is not msgspec.UNSET:
        raise BadInput("ports", "not allowed in a sync")
    if message.action != "link" and message.until is not msgspec.UNSET:
        raise BadInput("until", f"not allowed in {'an' if message.action == 'unlink' else 'a'} {message.action}")
    expires_at = _expires_at(message.expires_at, now)
    claimed = {name: getattr(message, name) for name in CLAIMED.values()}
    for name, text in claimed.items():
        utf8(text, name)
    return Request(
        message.request_id,
        message.action,
        message.region,
        Link(source, target, () if message.ports is msgspec.UNSET else _ports(message.ports)),
        expires_at,
        None if message.until is msgspec.UNSET else math.floor(_instant(message.until, "until")),
        attempt=message.attempt,
        **claimed,
    )


def _convert(value: object, into: type[T]) -> T:
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        match = _VALIDATION_ERROR.fullmatch(str(error))
        problem, place = (match[1], match[2]) if match else (str(error), None)
        problem = _TOO_LONG.sub(r"longer than \1 characters", problem)
        # msgspec repeats field names of the sender in its message.
        raise BadInput(place or "body", problem.encode("ascii", "backslashreplace").decode()[:300]) from None
    except UnicodeEncodeError:
        raise BadInput("body", SURROGATE) from None


def _party(end: PartyMessage, field: str, names: Mapping[str, Party]) -> Party:
    if end.account is msgspec.UNSET:
        if (party := names.get(end.party)) is None:
            raise BadInput(
                f"{field}.party", f"{quoted(end.party)} is not a name in the policy: give an id, and its account"
            )
        return party
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


def _readable_fields(document: object, names: Mapping[str, Party]) -> ReadableFields:
    """The fields of an invalid message that are valid by themselves."""
    if not isinstance(document, dict):
        return ReadableFields()
    ends: list[Party | None] = []
    for field in ("from", "to"):
        try:
            ends.append(_party(_convert(document.get(field), PartyMessage), field, names))
        except BadInput:
            ends.append(None)
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    request_id, action = texts.get("request_id", ""), texts.get("action", "")
    return ReadableFields(
        request_id if is_request_id(request_id) else "",
        action if action in ACTIONS else "",
        ends[0],
        ends[1],
        {field: text[:_MAX_TEXT] for field, name in CLAIMED.items() if (text := texts.get(name))},
    )
