"""Function Compute entry: an ECS event → the links of that instance are what its tags say.

Takes one event or an array of them, as bytes; returns JSON text. Raises when the platform must deliver again.
"""

from __future__ import annotations

from typing import Any

from link_peer.app.compose import open_delivery, own_keys
from link_peer.app.dispatch import answer, handle_events


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    with own_keys():
        return answer(handle_events(event, open_delivery("auto_link", context)))
