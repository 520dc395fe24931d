"""Instants for people: the time where they are, with its zone."""

from __future__ import annotations

import sys
from datetime import datetime

from link_peer.domain.errors import BadInput
from link_peer.domain.tags import parse_instant


def when(instant: str, *, seconds: bool = False) -> str:
    """`2026-11-28 18:30 +08:00` for an RFC 3339 instant, on a terminal, in the zone of TZ or of the machine; elsewhere, and where
    the text is none or has no local time, the text as it is."""
    if not sys.stdout.isatty():
        return instant
    try:
        local = datetime.fromtimestamp(parse_instant(instant)).astimezone()
    except (BadInput, ValueError, OverflowError, OSError):
        return instant
    text = local.isoformat(" ", "seconds")
    return f"{text[: 19 if seconds else 16]} {text[19:]}"
