"""From what the platform delivers to the engine: what the handlers run, and what `link-peer plan` previews.

Every function takes the bytes of one delivery, gives every element of it its own outcome, and raises only after the last
one: RedeliveryNeeded where `attempt` records say why, Transient where the audit log took none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain import denial as denials
from link_peer.domain.errors import BadInput, RedeliveryNeeded, Transient
from link_peer.domain.hint import Hint
from link_peer.domain.model import RuleKey, short_hash
from link_peer.domain.request import Request
from link_peer.engine.apply import held_record
from link_peer.engine.records import denied_record, link_fields, party_fields
from link_peer.engine.scopes.everything import Sweep
from link_peer.engine.scopes.instances import reconcile_instances
from link_peer.engine.scopes.pair import reconcile_pair, removals_due
from link_peer.inbound import events
from link_peer.inbound.requests import BadRequest, DeniedRequest, Known, decode
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

Outcomes = Counter[str]
"""How many decisions came to each outcome."""


def answer(outcomes: Outcomes) -> str:
    """What a handler returns: `{"outcomes": {"applied": 2}}`."""
    return json.dumps({"outcomes": dict(outcomes)})


def function_of(element: object) -> str:
    """The function that the platform would deliver an element to: auto_link, cross_account or sweep."""
    fields = element if isinstance(element, dict) else {}
    if "triggerTime" in fields:
        return "sweep"
    return "auto_link" if fields.get("source") == "acs.ecs" or "product" in fields else "cross_account"


# auto_link: events


def handle_events(event: bytes, delivery: Delivery) -> Outcomes:
    """One event or an array of them. An element that cannot be parsed is denied and recorded; the others are handled."""
    try:
        return handle_event_elements(events.elements(event), delivery)
    except BadInput as problem:
        return _deny_event(delivery, event.decode("utf-8", "replace"), problem)


def handle_event_elements(elements: Iterable[object], delivery: Delivery) -> Outcomes:
    """Events that are decoded from JSON already."""
    hints: list[Hint] = []
    outcomes: Outcomes = Counter()
    for element in elements:
        found = _decoded(element, delivery)
        hints += [one for one in found if isinstance(one, Hint)]
        for bad in found:
            if isinstance(bad, BadInput):
                outcomes += _deny_event(delivery, element, bad)
    return outcomes + look_at_instances(hints, delivery) if hints else outcomes


def look_at_instances(hints: Sequence[Hint], delivery: Delivery) -> Outcomes:
    """Settles the instances that hints name."""
    by_instance = {f"{hint.instance}@{delivery.policy.home}": hint.event_id for hint in hints}
    audit = delivery.audit({"event_id": hints[0].event_id}, by_instance)
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    try:
        reconcile_instances(delivery, hints, audit, guard)
    except Transient as trouble:
        raise _redelivery(audit, trouble, {"action": "link"}) from trouble
    return audit.outcomes


def _decoded(element: object, delivery: Delivery) -> list[Hint | BadInput]:
    try:
        return events.decode(element, home=delivery.policy.home, region=delivery.region)
    except BadInput as error:
        return [error]


def _deny_event(delivery: Delivery, element: object, problem: BadInput) -> Outcomes:
    known = element.get("id") if isinstance(element, dict) else None
    body = short_hash(element if isinstance(element, str) else repr(element))
    event_id = known if known and isinstance(known, str) else f"unreadable-{body}"
    audit = delivery.audit({"event_id": event_id, "body": body})
    audit.write([denied_record(denials.bad_event(problem), "link")])
    return audit.outcomes


# cross_account: requests


class _Message(msgspec.Struct, frozen=True):
    """One message of a delivery: a request, or the record of why it is denied."""

    event_id: str
    body: str
    request: Request | None = None
    denied: Record = {}


def handle_messages(event: bytes, delivery: Delivery) -> Outcomes:
    """What the queue's stream pushes: an array of CloudEvents, a single one, or raw data. Every message has an outcome of
    its own; where one must be redelivered, the whole batch is, and the others find their work done."""
    return handle_elements(_message_elements(event), delivery)


def handle_elements(elements: Iterable[object], delivery: Delivery) -> Outcomes:
    """Queue messages, each as an element of the stream or as a bare body."""
    outcomes: Outcomes = Counter()
    troubles: list[Exception] = []
    messages = [_read_message(element, delivery) for element in elements]
    guard = _guard_for([message.request for message in messages if message.request], delivery)
    for message in messages:
        try:
            outcomes += _carry_out(message, delivery, guard)
        except Exception as trouble:  # also a bug of ours must not cost the other messages
            troubles.append(trouble)
    _raise_first(troubles)
    return outcomes


def _raise_first(troubles: Sequence[Exception]) -> None:
    """Bugs before trouble of the moment; trouble that is not recorded before the rest."""
    for fault in troubles:
        if not isinstance(fault, Transient):
            raise fault
    if troubles:
        recorded = all(isinstance(trouble, RedeliveryNeeded) for trouble in troubles)
        text = f"{len(troubles)} messages must be redelivered: {troubles[0]}"
        raise (RedeliveryNeeded if recorded else Transient)(text)


def _message_elements(event: bytes) -> list[object]:
    try:
        return events.elements(event, events.MAX_BATCH_BYTES)
    except BadInput:
        # not even JSON: one message, taken as it is, so that its denial names the problem
        return [event.decode("utf-8", "replace")]


def _read_message(element: object, delivery: Delivery) -> _Message:
    event_id, body = events.queue_id(element), ""
    try:
        event_id, body = events.queue_message(element)
        return _Message(event_id, body, decode(body, region=delivery.region, now=delivery.clock.now()))
    except DeniedRequest as denied:
        request = denied.request
        fields = {**_claimed(request), "request_id": request.request_id, **link_fields(request.link, delivery.region)}
        record = denied_record(denied.denial, request.action, **fields)
    except BadRequest as error:
        known = error.known
        fields = {**_claimed(known), "request_id": known.request_id, **party_fields(known.source, known.target)}
        record = denied_record(denials.bad_request(error), known.action or "link", **fields)
    except BadInput as error:
        body = repr(element)
        record = denied_record(denials.bad_request(error), "link")
    if not event_id and not record.get("request_id"):
        event_id = f"unreadable-{short_hash(body)}"
    return _Message(event_id, body, denied=record)


def _claimed(said: Request | Known) -> Record:
    """What a message says of itself."""
    return {"claimed_by": said.requested_by, "claimed_reason": said.justification}


def _guard_for(requests: Sequence[Request], delivery: Delivery) -> RemovalGuard:
    """The removal guard of a batch. Where its syncs together are due to remove more than the policy allows, none does."""
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    syncs = [request for request in requests if request.action == "sync"]
    if len(syncs) < 2:
        return guard  # a single message is counted when it is carried out
    due = frozenset[RuleKey]().union(*(removals_due(delivery, request) for request in syncs))
    if guard.expect(len(due)):
        audit = delivery.audit({"action": "sync"})
        audit.write([held_record(len(due), delivery.policy.limits.removals_per_run)])
        guard.reported = True
    return guard


def _carry_out(message: _Message, delivery: Delivery, guard: RemovalGuard) -> Outcomes:
    common = {"event_id": message.event_id, "body": short_hash(message.body)}
    request = message.request
    if request is None:
        audit = delivery.audit(common)
        audit.write([message.denied])
        return audit.outcomes
    audit = delivery.audit({**common, "request_id": request.request_id, **_claimed(request)})
    try:
        reconcile_pair(delivery, request, audit, guard)
    except Transient as trouble:
        fields = {"action": request.action, **link_fields(request.link, delivery.region)}
        raise _redelivery(audit, trouble, fields) from trouble
    return audit.outcomes


# sweep: the timer


def handle_timer(event: bytes, delivery: Delivery) -> Outcomes:
    """One sweep. The timer's event gives its time; nothing else in it matters."""
    sweep = Sweep(delivery, _sweep_id(event, delivery))
    run_sweep(sweep)
    return sweep.audit.outcomes


def run_sweep(sweep: Sweep) -> None:
    """Runs a sweep. Raises when a change must be tried again."""
    try:
        sweep.run()
    except Transient as trouble:
        raise _redelivery(sweep.audit, trouble, {"action": "repair"}) from trouble
    if sweep.report.pending:
        raise RedeliveryNeeded(str(sweep.report.pending[0]))


def _sweep_id(event: bytes, delivery: Delivery) -> str:
    try:
        time = json.loads(event)["triggerTime"]
    except (ValueError, KeyError, TypeError, RecursionError):
        time = None
    return f"sweep-{time}" if isinstance(time, str) and len(time) <= 64 else f"sweep-{int(delivery.clock.now())}"


def _redelivery(audit: AuditWriter, trouble: Transient, fields: Record) -> Transient:
    """What to raise for trouble of the moment: RedeliveryNeeded once an `attempt` record says why."""
    if isinstance(trouble, RedeliveryNeeded):
        return trouble
    return RedeliveryNeeded(str(trouble)) if audit.attempt(trouble, fields) else trouble
