"""Function Compute entry: a timer → rules are what tags, requests and consent say, in every account of the policy: in
one delivery, or in one for each account, which a message on the queue of sweeps asks for.

Takes the timer's event or what that queue's stream pushes, as bytes; returns JSON text. Raises when a change must be
tried again.
"""

from __future__ import annotations

from typing import Any

from link_peer.app.compose import open_delivery, own_keys
from link_peer.app.dispatch import answer
from link_peer.app.sweeps import handle_sweep


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    with own_keys():
        return answer(handle_sweep(event, open_delivery("sweep", context)))
