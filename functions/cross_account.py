"""Function Compute entry: requests from the queue → links of two accounts, on both sides or on neither.

Takes what the queue's stream pushes: an array of CloudEvents, a single one, or raw data. Answers JSON text. Every message
ends on its own; when one must come again, the whole batch does, and the others find their work done.
"""

from __future__ import annotations

import json
from typing import Any

from shared import events
from shared.audit import Record, link_fields, party_fields
from shared.delivery import Delivery, opened
from shared.errors import BadInput, Transient
from shared.model import short_hash
from shared.reconcile_pair import reconcile
from shared.requests import BadRequest, DeniedRequest, Request, decode


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    return run(event, opened("cross_account", context))


def run(event: bytes, delivery: Delivery) -> str:
    """One delivery. Raises, after all messages, when any of them must come again."""
    outcomes: dict[str, int] = {}
    troubles: list[Exception] = []
    counted = 0
    for element in _elements(event):
        try:
            counted += _one(element, delivery, outcomes, counted)
        except Exception as trouble:  # a fault of ours, too, must not cost the neighbours
            troubles.append(trouble)
    for fault in troubles:
        if not isinstance(fault, Transient):
            raise fault
    if troubles:
        raise Transient(f"{len(troubles)} of the messages must come again: {troubles[0]}")
    return json.dumps({"outcomes": outcomes})


def _elements(event: bytes) -> list[object]:
    try:
        return events.elements(event)
    except BadInput:
        # not even JSON: one message, taken as it is, so that the denial names the fault
        return [event.decode("utf-8", "replace")]


def _one(element: object, delivery: Delivery, outcomes: dict[str, int], counted: int) -> int:
    event_id, body = "", ""
    try:
        event_id, body = events.queue_body(element)
        request = decode(body, region=delivery.region, now=delivery.clock.now())
    except DeniedRequest as denied:
        _deny(delivery, event_id, body, denied.reason, denied.detail, denied.advice, _named(denied.request, delivery))
    except BadRequest as error:
        known = {"request_id": error.request_id, **party_fields(error.source, error.target)}
        _deny(delivery, event_id, body, "bad-request", str(error), "see docs/requests.md for the form", known)
    except BadInput as error:
        body = repr(element)
        _deny(delivery, event_id, body, "bad-request", str(error), "see docs/requests.md for the form", {})
    else:
        scribe = delivery.scribe(
            {
                "request_id": request.request_id,
                "event_id": event_id,
                "body": short_hash(body),
                "claimed_by": request.requested_by,
                "claimed_reason": request.reason,
            }
        )
        counted = reconcile(delivery, request, scribe, counted) - counted
        for outcome, count in scribe.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        return counted
    outcomes["denied"] = outcomes.get("denied", 0) + 1
    return 0


def _named(request: Request, delivery: Delivery) -> Record:
    return {
        "request_id": request.request_id,
        "action": request.action,
        "claimed_by": request.requested_by,
        "claimed_reason": request.reason,
        **link_fields(request.link, delivery.region),
    }


def _deny(delivery: Delivery, event_id: str, body: str, reason: str, detail: str, advice: str, fields: Record) -> None:
    scribe = delivery.scribe({"event_id": event_id, "body": short_hash(body)})
    record = {"record": "outcome", "action": "link", "outcome": "denied", "reason": reason, "detail": detail}
    scribe.write([{**record, "advice": advice, **fields}])
