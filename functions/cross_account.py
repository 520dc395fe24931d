"""Function Compute entry: requests from the queue → links of two accounts, on both sides or on neither.

Takes what the queue's stream pushes, as bytes; returns JSON text. Raises, after all messages, when any of them must be
redelivered.
"""

from __future__ import annotations

from typing import Any

from link_peer.app.compose import open_delivery, own_keys
from link_peer.app.dispatch import answer, handle_messages


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    with own_keys():
        return answer(handle_messages(event, open_delivery("cross_account", context)))
