"""What a check found out."""

from __future__ import annotations

import msgspec
from link_peer.domain.errors import Transient

OK, WARNING, DIFFERS, MISSING, UNKNOWN = "ok", "warning", "differs", "missing", "unknown"
FAILING = frozenset({DIFFERS, MISSING, UNKNOWN})
"""The states with which the doctor does not say that all stands."""


class CheckFinding(msgspec.Struct, frozen=True):
    """The result of one check.

    `state` is ok, warning, differs (from what is shipped), missing, or unknown: it could not be read. `where` is an
    account's uid, or empty for link-peer itself.
    """

    state: str
    where: str
    what: str
    detail: str
    advice: str = ""


def unreadable(where: str, what: str, error: Exception) -> CheckFinding:
    """The finding for what could not be read, for lack of rights or because the service does not answer."""
    rights = (
        "the keys must be allowed to assume the reader role that `link-peer setup` makes, or to read this themselves"
    )
    return CheckFinding(
        UNKNOWN, where, what, f"cannot be read: {error}", "" if isinstance(error, Transient) else rights
    )
