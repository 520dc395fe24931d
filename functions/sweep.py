"""Function Compute entry: a timer → rules are what tags, requests and consent say, in every account of the policy."""

from __future__ import annotations

import json
from typing import Any

from link_peer.engine.scopes.everything import Sweep
from link_peer.runtime.delivery import Delivery, opened


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls. The timer's event names its time; nothing else in it matters."""
    return run(event, opened("sweep", context))


def run(event: bytes, delivery: Delivery) -> str:
    """One run. Raises when a change must be tried again."""
    sweep = Sweep(delivery, _event_id(event, delivery))
    sweep.run()
    return json.dumps({"outcomes": dict(sweep.scribe.outcomes)})


def _event_id(event: bytes, delivery: Delivery) -> str:
    try:
        time = json.loads(event)["triggerTime"]
    except (ValueError, KeyError, TypeError, RecursionError):
        time = None
    return f"sweep-{time}" if isinstance(time, str) and len(time) <= 64 else f"sweep-{int(delivery.clock.now())}"
