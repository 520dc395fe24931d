"""What a sweep could not read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep


def gaps_of(sweep: Sweep) -> dict[str, str]:
    """Return why each account (by uid) could not be read, and how many groups the sweep had no time to read."""
    found = sweep.unreadable
    if sweep.unread:
        found[f"{sweep.unread} groups"] = "there was no time to read them"
    return dict(sorted(found.items()))
