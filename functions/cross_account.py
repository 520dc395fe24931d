"""Function Compute entry: requests from the queue → links of two accounts, on both sides or on neither.

Takes what the queue's stream pushes, or the event of the timer by which it reads the accounts' own queues, as bytes;
returns JSON text. Raises, after all messages, when any of them must be redelivered.
"""

from __future__ import annotations

from typing import Any

from link_peer.app.collect import asked_by_timer, collect
from link_peer.app.compose import open_delivery, open_own_queues, own_keys
from link_peer.app.dispatch import answer, handle_messages


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    with own_keys():
        delivery = open_delivery("cross_account", context)
        if asked_by_timer(event):
            return answer(collect(open_own_queues(delivery, context), delivery))
        return answer(handle_messages(event, delivery))
