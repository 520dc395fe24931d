"""From the body of a queue message to its JSON: plain or base64, parsed strictly."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from link_peer.domain.errors import BadInput
from link_peer.domain.tags import quoted

MAX_BYTES = 64 * 1024  # of a message [doc SMQ limits]
SURROGATE = "contains a lone surrogate"  # a JSON escape can produce one, but it cannot be encoded as UTF-8


def body_of(raw: bytes | str) -> bytes:
    """The JSON of a message, decoded from base64 if necessary: most clients of the queue encode bodies. Raises
    BadInput."""
    data = utf8(raw, "body") if isinstance(raw, str) else raw
    if len(data) > MAX_BYTES:
        raise BadInput("body", f"longer than {MAX_BYTES // 1024} KB")
    if data.lstrip(b" \t\r\n").startswith(b"{"):
        return data
    try:
        # Some encoders wrap lines, so white space is allowed.
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        raise BadInput("body", "neither a JSON object nor base64 of one") from None


def parse_json(data: bytes, digits: int) -> tuple[object, BadInput | None]:
    """Parses strict JSON: UTF-8 without a byte order mark, no duplicate keys, and only whole numbers of so many digits.

    A document that breaks only the last two rules is returned with the error, so that its audit record can name the
    parties.
    """
    problems: list[BadInput] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, value in pairs:
            if key in fields:
                problems.append(BadInput(quoted(key), "duplicate key"))
            fields[key] = value
        return fields

    def refuse(text: str) -> None:
        problems.append(BadInput("body", f"the number {quoted(text)} is not allowed in a request"))

    def whole(text: str) -> int | None:
        if len(text) <= digits:
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


def utf8(text: str, field: str) -> bytes:
    """The text in UTF-8. Raises BadInput that names the field if it has a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise BadInput(field, SURROGATE) from None
