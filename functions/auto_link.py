"""Function Compute entry: an ECS event → the links of that instance are what its tags say.

Takes one event or an array of them, as bytes; answers JSON text. Raises when the platform must deliver again.
"""

from __future__ import annotations

import json
from typing import Any

from link_peer.domain.errors import BadInput
from link_peer.domain.model import short_hash
from link_peer.engine.scopes.instances import reconcile
from link_peer.inbound import events
from link_peer.runtime.delivery import Delivery, opened


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    return run(event, opened("auto_link", context))


def run(event: bytes, delivery: Delivery) -> str:
    """One delivery. An element that is no event of ours is denied and recorded; the others are not lost with it."""
    hints: list[events.Hint] = []
    outcomes: dict[str, int] = {}
    for element, problem in _elements(event):
        problems = [problem] if problem else []
        if problem is None:
            try:
                for found in events.decode(element, home=delivery.policy.home, region=delivery.region):
                    if isinstance(found, BadInput):
                        problems.append(found)
                    else:
                        hints.append(found)
            except BadInput as error:
                problems.append(error)
        for bad in problems:
            _deny(delivery, element, event, bad)
            outcomes["denied"] = outcomes.get("denied", 0) + 1
    if hints:
        for outcome, count in reconcile(delivery, hints).outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return json.dumps({"outcomes": outcomes})


def _elements(event: bytes) -> list[tuple[object, BadInput | None]]:
    try:
        return [(element, None) for element in events.elements(event)]
    except BadInput as error:
        return [(None, error)]


def _deny(delivery: Delivery, element: object, event: bytes, problem: BadInput) -> None:
    known = element.get("id") if isinstance(element, dict) else None
    body = short_hash(repr(element) if element is not None else event.decode("utf-8", "replace"))
    scribe = delivery.scribe(
        {"event_id": known if known and isinstance(known, str) else f"unreadable-{body}", "body": body}
    )
    scribe.write(
        [
            {
                "record": "outcome",
                "action": "link",
                "outcome": "denied",
                "reason": "bad-event",
                "detail": str(problem),
                "advice": "auto_link takes ECS state changes and tag changes of its own account and region",
            }
        ]
    )
