"""Function Compute entry: a timer → rules are what tags, requests and consent say, in every account of the policy.

Takes the timer's event, as bytes; returns JSON text. Raises when a change must be tried again.
"""

from __future__ import annotations

from typing import Any

from link_peer.app.compose import open_delivery, own_keys
from link_peer.app.dispatch import answer, handle_timer


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    with own_keys():
        return answer(handle_timer(event, open_delivery("sweep", context)))
