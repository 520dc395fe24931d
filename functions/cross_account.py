"""Function Compute entry: requests from the queue → links of two accounts, on both sides or on neither.

Takes what the queue's stream pushes: an array of CloudEvents, a single one, or raw data. Answers JSON text. Every message
ends on its own; when one must come again, the whole batch does, and the others find their work done.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec
from link_peer.domain.errors import BadInput, Transient
from link_peer.domain.model import short_hash
from link_peer.engine.apply import held_fields
from link_peer.engine.scopes.pair import due, reconcile
from link_peer.inbound import events
from link_peer.inbound.requests import BadRequest, DeniedRequest, Request, decode
from link_peer.runtime.audit import Record, link_fields, party_fields
from link_peer.runtime.delivery import Delivery, opened

FORM = "see docs/requests.md for the form"


class _Message(msgspec.Struct, frozen=True):
    """One message of a delivery: a request, or why it is none."""

    event_id: str
    body: str
    request: Request | None = None
    refusal: Record = {}


def handler(event: bytes, context: Any) -> str:
    """What Function Compute calls."""
    return run(event, opened("cross_account", context))


def run(event: bytes, delivery: Delivery) -> str:
    """One delivery. Raises, after all messages, when any of them must come again."""
    outcomes: dict[str, int] = {}
    troubles: list[Exception] = []
    messages = [_read(element, delivery) for element in _elements(event)]
    counted = 0
    hold = _too_many(delivery, [message.request for message in messages if message.request])
    for message in messages:
        try:
            counted += _one(message, delivery, outcomes, counted, hold)
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
        return events.elements(event, events.MAX_BATCH_BYTES)
    except BadInput:
        # not even JSON: one message, taken as it is, so that the denial names the fault
        return [event.decode("utf-8", "replace")]


def _read(element: object, delivery: Delivery) -> _Message:
    event_id, body = events.queue_id(element), ""
    fields: Record = {"record": "outcome", "action": "link", "outcome": "denied"}
    try:
        event_id, body = events.queue_message(element)
        return _Message(event_id, body, decode(body, region=delivery.region, now=delivery.clock.now()))
    except DeniedRequest as denied:
        fields |= {"reason": denied.reason, "detail": denied.detail, "advice": denied.advice}
        fields |= {**_claimed(denied.request), "action": denied.request.action, "request_id": denied.request.request_id}
        fields |= link_fields(denied.request.link, delivery.region)
    except BadRequest as error:
        known = error.known
        fields |= {"reason": "bad-request", "detail": str(error), "advice": FORM, "request_id": known.request_id}
        fields |= {"action": known.action or "link", **_claimed(known), **party_fields(known.source, known.target)}
    except BadInput as error:
        body = repr(element)
        fields |= {"reason": "bad-request", "detail": str(error), "advice": FORM}
    if not event_id and not fields.get("request_id"):
        event_id = f"unreadable-{short_hash(body)}"
    return _Message(event_id, body, refusal=fields)


def _claimed(said: Any) -> Record:
    """What a message says of itself."""
    return {"claimed_by": said.requested_by, "claimed_reason": said.reason}


def _too_many(delivery: Delivery, requests: Sequence[Request]) -> bool:
    """Whether the messages together are due to remove more rules, for what is not seen any more, than may go at once."""
    looks = [request for request in requests if request.action == "sync"]
    if len(looks) < 2:
        return False  # one message counts for itself
    rules = frozenset[Any]().union(*(due(delivery, request) for request in looks))
    if len(rules) <= delivery.policy.limits.removals_per_run:
        return False
    scribe = delivery.scribe({"action": "sync"})
    scribe.write([{"record": "summary", **held_fields(len(rules), delivery.policy)}])
    return True


def _one(message: _Message, delivery: Delivery, outcomes: dict[str, int], counted: int, hold: bool) -> int:
    """Carries out one message; returns how many removals for unseen things it did."""
    common = {"event_id": message.event_id, "body": short_hash(message.body)}
    request = message.request
    if request is None:
        delivery.scribe(common).write([message.refusal])
        outcomes["denied"] = outcomes.get("denied", 0) + 1
        return 0
    scribe = delivery.scribe({**common, "request_id": request.request_id, **_claimed(request)})
    done = reconcile(delivery, request, scribe, counted, hold=hold) - counted
    for outcome, count in scribe.outcomes.items():
        outcomes[outcome] = outcomes.get(outcome, 0) + count
    return done
