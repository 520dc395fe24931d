"""Parsers for command-line values. Each raises BadInput that names the option at fault."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party
from link_peer.domain.tags import is_account_uid, parse_instant, parse_who, quoted

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")


def duration(text: str, field: str) -> int:
    """Return the seconds in `90s`, `30m`, `2h` or `7d`."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadInput(field, f"{quoted(text)} is not a duration such as 90s, 30m, 2h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def moment(text: str, field: str, now: float) -> float:
    """Return epoch seconds of an RFC 3339 instant, or of a duration before `now` (`2h`)."""
    if _DURATION.fullmatch(text):
        return now - duration(text, field)
    try:
        return parse_instant(text)
    except BadInput:
        raise BadInput(
            field, f"{quoted(text)} is neither a duration such as 2h nor an instant such as 2027-01-01T00:00:00Z"
        ) from None


def party(text: str, field: str, home: str, alternative: str = "") -> Party:
    """Parse `sg-…` or `i-…`, in the home account unless it ends with `@<uid>`.

    `alternative` is appended to the error message: what else the caller would have accepted.
    """
    try:
        who = parse_who(text, home)
    except BadInput:
        who = None
    if who is None or who.id == "*":
        raise BadInput(field, f"{quoted(text)} is not sg-… or i-…, optionally with @<account uid>{alternative}")
    return Party(who.account, who.id)


def matching(text: str, field: str, pattern: str) -> str:
    """Return `text` if it is empty or matches `pattern`.

    Use it for values that become part of a query, so that none of them can change the query.
    """
    if text and not re.fullmatch(pattern, text):
        raise BadInput(field, f"{quoted(text)} does not match {pattern}")
    return text


def account_uid(text: str, field: str) -> str:
    """Return an account's uid."""
    if not is_account_uid(text):
        raise BadInput(field, f"{quoted(text)} is not an account uid")
    return text


def document(name: str) -> bytes:
    """Read a file, or standard input if the name is `-`."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise BadInput(name, error.strerror or "cannot be read") from None
