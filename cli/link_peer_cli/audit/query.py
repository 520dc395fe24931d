"""SLS search queries for audit records."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.domain.errors import BadInput
from link_peer.domain.tags import parse_who, quoted


def condition(fields: Mapping[str, str]) -> str:
    """Return a query for records in which every field has its value. Empty values are skipped; `*` if none is left."""
    terms = [f'{name}: "{_escaped(value)}"' for name, value in fields.items() if value]
    return " and ".join(terms) or "*"


def party_condition(text: str, field: str) -> str:
    """Return a query for records with this party on either side.

    `text` is `sg-…` or `i-…` in any account, the same with `@<uid>`, or `*@<uid>` for a whole account. Raises BadInput
    that names `field`.
    """
    try:
        who = parse_who(text, "")
    except BadInput:
        who = None
    if who is None or text == "*":
        raise BadInput(
            field,
            f"{quoted(text)} is not sg-… or i-…, optionally with @<account uid or name>, nor *@<account uid or name>",
        )
    name = "" if who.id == "*" else who.id
    sides = [condition({side: name, f"{side}_account": who.account}) for side in ("from", "to")]
    return f"({' or '.join(sides)})"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')
