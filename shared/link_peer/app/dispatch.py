"""From what the platform delivers to the engine: what the handlers run, and what `link-peer plan` previews.

Every function takes the bytes of one delivery and gives every element of it its own outcome. A transient error holds
nothing up: what met it is recorded as an `attempt` and put on the queue again, with a delay; a function raises only
where that fails, so that the platform delivers again.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence

import msgspec

from link_peer.domain import denials
from link_peer.domain.denials import about
from link_peer.domain.errors import BadInput, CloudError, NoAccess, RedeliveryNeeded, Transient
from link_peer.domain.model import Party, short_hash
from link_peer.domain.record_fields import CLAIMED
from link_peer.domain.request import Cause, Hint, Look, Message, Request, look_request
from link_peer.domain.tags import is_interface_id, iso
from link_peer.engine.batch import Batch, guard_of
from link_peer.engine.records import denied_record, link_fields, observed_record, party_fields
from link_peer.engine.scopes.group import reconcile_group
from link_peer.engine.scopes.handover import LOOK_AGAIN_SECONDS, Later
from link_peer.engine.scopes.instances import YOUNG_SECONDS, one_per_party, reconcile_instances
from link_peer.engine.scopes.pair import reconcile_pair
from link_peer.engine.write.removal_guard import RemovalGuard, SharedGuard
from link_peer.inbound import events
from link_peer.inbound.requests import BadRequest, DeniedRequest, decode
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery, DeliveryOutput, subject
from link_peer.runtime.ports import Record
from link_peer.runtime.side_by_side import Job, run_jobs

FIRST_DELAY, LONGEST_DELAY = 10, 600
"""Seconds until a message that was put back is delivered again: doubled for each attempt."""

RELEASED_ATTEMPT = 4
"""That of the first look at a released instance: a fleet that shrinks leaves the calls of some minutes to those who
open."""

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
    """One event or an array of them. An element that cannot be parsed is denied and recorded; the others are
    handled."""
    try:
        return handle_event_elements(events.elements(event), delivery)
    except BadInput as problem:
        return _deny_event(delivery, event.decode("utf-8", "replace"), problem)


def handle_event_elements(elements: Iterable[object], delivery: Delivery) -> Outcomes:
    """Events that are decoded from JSON already."""
    hints: list[Hint] = []
    outcomes: Outcomes = Counter()
    for element in elements:
        decoded = _decoded(element, delivery)
        hints += [hint for hint in decoded if isinstance(hint, Hint)]
        for bad in decoded:
            if isinstance(bad, BadInput):
                outcomes += _deny_event(delivery, element, bad)
    return outcomes + handle_hints(hints, delivery)


def handle_hints(hints: Sequence[Hint], delivery: Delivery) -> Outcomes:
    """Looks at the parties that hints name: instances together, then each group. What must be looked at again is posted
    as a `look`. Raises RedeliveryNeeded where it cannot be posted, and Transient where what the events of groups say
    cannot be recorded: that comes last, so that no closing waits for it."""
    delivery = msgspec.structs.replace(delivery, output=DeliveryOutput())
    guard = RemovalGuard(delivery.policy.limits.removals_per_run)
    later: list[Later] = []
    instances, outcomes = _with_instances([hint for hint in hints if not hint.party.is_group], delivery)
    groups = one_per_party(hint for hint in hints if hint.party.is_group).values()
    for part in [instances, *([hint] for hint in groups)]:
        if part:
            audit = _audit_of(part, delivery)
            later += _look_at(part, delivery, audit, guard)
            outcomes += audit.outcomes
    _post_looks(later, delivery)
    _record_observed(hints, delivery)
    return outcomes


def _record_observed(hints: Sequence[Hint], delivery: Delivery) -> None:
    """One record of each change of a group's tags, in one call, also where the group itself was looked at once for
    several."""
    observed = dict.fromkeys(hint for hint in hints if hint.party.is_group and hint.cause.call)
    tags, keys = delivery.output.tags, delivery.policy.keys
    delivery.audit({}).write([observed_record(hint, tags.get(hint.party), keys) for hint in observed])


def _with_instances(hints: Sequence[Hint], delivery: Delivery) -> tuple[list[Hint], Outcomes]:
    """The hints, with the instance in place of its primary network interface, and without those of other interfaces;
    and what came of reading these. An interface is no party to look at again: where it cannot be read for the moment,
    the platform delivers its event again."""
    interfaces = [hint for hint in hints if is_interface_id(hint.party.id)]
    if not interfaces:
        return list(hints), Counter()
    home, audit = delivery.policy.home, _audit_of(interfaces, delivery)
    instance_ids: Mapping[str, str] = {}
    try:
        ecs = delivery.cloud(interfaces[0].event_id).ecs(home)
        instance_ids = ecs.instances_of([hint.party.id for hint in interfaces])
    except NoAccess as refused:
        audit.write([denied_record(denials.no_access(home, refused.code), "link")])
    except CloudError as error:
        if not error.code.startswith("Invalid"):  # else there is none with such an id
            raise
    ids = {hint.party.id: instance_ids.get(hint.party.id, "") for hint in interfaces}
    resolved = [(hint, ids.get(hint.party.id, hint.party.id)) for hint in hints]
    return [msgspec.structs.replace(hint, party=Party(home, name)) for hint, name in resolved if name], audit.outcomes


def _audit_of(hints: Sequence[Hint], delivery: Delivery) -> AuditWriter:
    common = {"event_id": hints[0].event_id, "actor": _together(hint.cause.actor for hint in hints)}
    return delivery.audit(common, {str(hint.party): _event_fields(hint, delivery) for hint in hints})


def _event_fields(hint: Hint, delivery: Delivery) -> Record:
    """What the records about an instance say of its event, where a delivery has several."""
    actor = {} if delivery.caller else {"actor": hint.cause.actor}
    return {"event_id": hint.event_id, **actor}


def _together(actors: Iterable[str]) -> str:
    """Who caused what concerns several events or messages: the first three."""
    distinct = list(dict.fromkeys(filter(None, actors)))
    return ", ".join([*distinct[:3], *([f"and {len(distinct) - 3} more"] if distinct[3:] else [])])


def _look_at(hints: Sequence[Hint], delivery: Delivery, audit: AuditWriter, guard: RemovalGuard) -> list[Later]:
    """Instances together, or one group; what must be looked at again."""
    try:
        if hints[0].party.is_group:
            return reconcile_group(delivery, hints[0], audit, guard)
        return reconcile_instances(delivery, hints, audit, guard)
    except Transient as trouble:
        parties = one_per_party(hints)
        if not isinstance(trouble, RedeliveryNeeded):
            audit.attempts([(str(trouble), {"action": "look", **_party_fields(party)}) for party in parties])
        expires = delivery.clock.now() + LOOK_AGAIN_SECONDS
        released = [party for party, hint in parties.items() if hint.state == "Deleted"]
        return [
            *(Later(party, str(trouble), expires) for party in parties if party not in released),
            # it is not awaited, and lets those go first that open
            *(Later(party, str(trouble), expires - YOUNG_SECONDS, RELEASED_ATTEMPT) for party in released),
        ]


def _party_fields(party: Party) -> Record:
    return {"from_account": party.account, "from": party.id} | ({} if party.is_group else {"instance": str(party)})


def _post_looks(later: Sequence[Later], delivery: Delivery) -> None:
    for later_look in later:
        look = look_request(later_look.party, delivery.region, later_look.expires_at)
        look = msgspec.structs.replace(look, attempt=later_look.attempt)
        try:
            delivery.post(look, delay=FIRST_DELAY * 2**look.attempt)
        except Transient as trouble:
            raise RedeliveryNeeded(f"{later_look.reason}; and {trouble}") from trouble


def _decoded(element: object, delivery: Delivery) -> list[Hint | BadInput]:
    try:
        policy = delivery.policy
        return events.decode(element, home=policy.home, region=delivery.region, keys=policy.keys)
    except BadInput as error:
        return [error]


def _deny_event(delivery: Delivery, element: object, problem: BadInput) -> Outcomes:
    element_id = element.get("id") if isinstance(element, dict) else None
    body = short_hash(element if isinstance(element, str) else repr(element))
    event_id = element_id if element_id and isinstance(element_id, str) else f"unreadable-{body}"
    audit = delivery.audit({"event_id": event_id, "actor": events.actor_of(element)})
    audit.write([denied_record(denials.bad_event(problem), "link")])
    return audit.outcomes


# cross_account: requests


class _Arrived(msgspec.Struct, frozen=True):
    """One message of a delivery and the queue it came through, or the record of why it is denied. `actor` is the
    account whose own queue it is, else the queue's name; unknown where nothing proves that."""

    event_id: str
    queue: str = ""
    actor: str = ""
    message: Message | None = None
    denied: Record = {}


def handle_messages(event: bytes, delivery: Delivery) -> Outcomes:
    """What the queue's stream pushes: an array of CloudEvents, a single one, or raw data. Every message has an outcome
    of its own, or is put back on its queue."""
    return handle_elements(message_elements(event), delivery)


def handle_elements(elements: Iterable[object], delivery: Delivery) -> Outcomes:
    """Queue messages, each as an element of the stream or as a bare body. Those that touch none of the same groups are
    carried out side by side, the others in the order in which they came; equal looks and syncs are carried out once."""
    outcomes: Outcomes = Counter()
    troubles: list[Exception] = []
    delivery = msgspec.structs.replace(delivery, output=DeliveryOutput())
    arrived = _equal_together([_arrived(element, delivery) for element in elements])
    messages = [first.message for first, *_ in arrived]
    batch = Batch(delivery, messages)
    guard = guard_of(messages, batch.delivery, _together(message.actor for equal in arrived for message in equal))
    absent = [equal for equal in arrived if equal[0].message and batch.is_absent(equal[0].message)]
    jobs = [_job(equal, delivery, batch, guard) for equal in arrived if equal not in absent]
    if absent:  # many instances of a fleet that shrinks: what may have been theirs is read once for all of them
        jobs.append(Job(functools.partial(_carry_out_absent, absent, delivery, guard), None))
    for result in run_jobs(jobs, delivery.throughput.lanes):
        if isinstance(result, Exception):  # also a bug of ours must not cost the other messages
            troubles.append(result)
        else:
            outcomes += result
    raise_first(troubles)
    return outcomes


def _equal_together(arrived: Iterable[_Arrived]) -> list[list[_Arrived]]:
    """Looks at one party, and syncs of one pair in one direction, that came through one queue: they ask for the same.
    The one that expires last comes first, and is carried out for the others, as early as any of them. Every other
    message is alone, a `link` or an `unlink` above all."""
    groups: dict[Hashable, list[_Arrived]] = {}
    for number, arrival in enumerate(arrived):
        message = arrival.message
        is_mergeable = message is not None and _action(message) in ("look", "sync")
        groups.setdefault((arrival.queue, subject(message)) if message and is_mergeable else number, []).append(arrival)
    return [_last_to_expire_first(equal) if len(equal) > 1 else equal for equal in groups.values()]


def _last_to_expire_first(equal: Sequence[_Arrived]) -> list[_Arrived]:
    """The one that expires last comes first, with the fewest attempts of any: nobody makes others wait longer when it
    is put back."""
    first, *duplicates = sorted(equal, key=_expiry, reverse=True)
    assert first.message is not None  # noqa: S101  # only what could be read is equal to anything
    attempt = min(duplicate.message.attempt for duplicate in equal if duplicate.message)
    message: Message = msgspec.structs.replace(first.message, attempt=attempt)
    return [msgspec.structs.replace(first, message=message), *duplicates]


def _expiry(arrival: _Arrived) -> float:
    return arrival.message.expires_at if arrival.message else 0.0


def _job(equal: Sequence[_Arrived], delivery: Delivery, batch: Batch, guard: SharedGuard) -> Job[Outcomes]:
    message = equal[0].message
    touches = batch.touches(message) if message else frozenset()
    # what runs alone need not share its reads, and may read several things at a time
    return Job(functools.partial(_carry_out, equal, delivery if touches is None else batch.delivery, guard), touches)


def raise_first(troubles: Sequence[Exception]) -> None:
    """Raises what the messages of a batch met: bugs before transient errors; errors that are not recorded before the
    rest."""
    for fault in troubles:
        if not isinstance(fault, Transient):
            raise fault
    if troubles:
        recorded = all(isinstance(trouble, RedeliveryNeeded) for trouble in troubles)
        text = f"{len(troubles)} messages must be redelivered: {troubles[0]}"
        raise (RedeliveryNeeded if recorded else Transient)(text)


def message_elements(event: bytes) -> list[object]:
    """The elements of what a queue's stream pushes."""
    try:
        return events.elements(event, events.MAX_BATCH_BYTES)
    except BadInput:
        # not even JSON: one message, taken as it is, so that its denial names the problem
        return [event.decode("utf-8", "replace")]


def _arrived(element: object, delivery: Delivery) -> _Arrived:
    event_id, body, queue, actor = events.queue_id(element), "", "", events.UNKNOWN
    try:
        envelope = events.queue_message(element, home=delivery.policy.home, region=delivery.region)
        event_id, body, queue = envelope.event_id, envelope.body, envelope.queue
        actor = delivery.policy.bound_queues.get(queue, queue) or events.UNKNOWN
        message = decode(body, region=delivery.region, now=delivery.clock.now(), names=delivery.policy.names)
        return _Arrived(event_id, queue, actor, message)
    except DeniedRequest as denied:
        request, denial = denied.request, denied.denial
        if isinstance(request, Look):
            fields = {"request_id": request.request_id, **_party_fields(request.party)}
        else:
            fields = {
                **_claimed(request),
                "request_id": request.request_id,
                **link_fields(request.link, delivery.region),
            }
            denial = about(denial, request.action, request.link, delivery.region)
        record = denied_record(denial, _action(request), **fields)
    except BadRequest as error:
        readable = error.fields
        fields = {
            **readable.claimed,
            "request_id": readable.request_id,
            **party_fields(readable.source, readable.target),
        }
        record = denied_record(denials.bad_request(error), readable.action or "link", **fields)
    except BadInput as error:
        body = repr(element)
        record = denied_record(denials.bad_request(error), "link")
    if not event_id and not record.get("request_id"):
        event_id = f"unreadable-{short_hash(body)}"
    return _Arrived(event_id, queue, actor, denied=record)


def _action(message: Message) -> str:
    return "look" if isinstance(message, Look) else message.action


def _claimed(request: Request) -> Record:
    """What a request says of itself."""
    return {field: getattr(request, name) for field, name in CLAIMED.items()}


def _carry_out(equal: Sequence[_Arrived], delivery: Delivery, guard: SharedGuard) -> Outcomes:
    """Carries out the first of equal messages, and records for each of the others what came of it."""
    first, *duplicates = equal
    try:
        audit = _carry_out_message(first, delivery, guard)
    finally:
        guard.finish()
    outcomes = Counter(audit.outcomes)
    for duplicate in duplicates:
        outcomes += _record_as(duplicate, first, audit, delivery)
    return outcomes


def _record_as(arrival: _Arrived, first: _Arrived, recorded: AuditWriter, delivery: Delivery) -> Outcomes:
    """The outcome of a message that another one was carried out for: denied as that was, or nothing is left to do.
    Where it cannot be recorded the message is put back."""
    message = arrival.message
    assert message is not None  # noqa: S101  # only what could be read is equal to anything
    audit = _audit_of_message(arrival, delivery)
    fields = _message_fields(message, delivery)
    with_it = denials.equal_to(first.event_id)
    record = {**denied_record(with_it, **fields), "outcome": "unchanged"}
    if recorded.last and recorded.outcomes.keys() <= {"denied", "failed"}:
        record = {**recorded.last, "detail": f"{recorded.last['detail']} ({with_it.detail})"}
    try:
        audit.write([record])
    except Transient as trouble:
        _put_back(message, arrival.queue, trouble, delivery, audit, fields)
    return audit.outcomes


def _audit_of_message(arrival: _Arrived, delivery: Delivery) -> AuditWriter:
    common = {"event_id": arrival.event_id, "queue": arrival.queue, "actor": arrival.actor}
    if arrival.message is None:
        return delivery.audit(common)
    claimed = {} if isinstance(arrival.message, Look) else _claimed(arrival.message)
    return delivery.audit({**common, "request_id": arrival.message.request_id, **claimed})


def _message_fields(message: Message, delivery: Delivery) -> Record:
    """The fields that say what a message asks for."""
    if isinstance(message, Look):
        return {"action": "look", **_party_fields(message.party)}
    return {"action": message.action, **link_fields(message.link, delivery.region)}


def _carry_out_message(arrival: _Arrived, delivery: Delivery, guard: RemovalGuard) -> AuditWriter:
    audit, message = _audit_of_message(arrival, delivery), arrival.message
    if message is None:
        audit.write([arrival.denied])
    elif isinstance(message, Look):
        _carry_out_look(message, arrival, audit, delivery, guard)
    else:
        try:
            reconcile_pair(delivery, message, arrival.queue, audit, guard)
        except Transient as trouble:
            _put_back(message, arrival.queue, trouble, delivery, audit, _message_fields(message, delivery))
    return audit


def _carry_out_look(look: Look, arrival: _Arrived, audit: AuditWriter, delivery: Delivery, guard: RemovalGuard) -> None:
    """An expired look is carried out once more, and is then final."""
    if look.party.account != delivery.policy.home:
        audit.write([denied_record(denials.not_home(look.party.account), "look", **_party_fields(look.party))])
        return
    later = _look_at([_hint_of(look, arrival)], delivery, audit, guard)
    _look_again(look, arrival, later[0] if later else None, audit, delivery)


def _hint_of(look: Look, arrival: _Arrived) -> Hint:
    cause = Cause(arrival.actor)
    return Hint(arrival.event_id or look.request_id, look.party, "look", expires=look.expires_at, cause=cause)


def _look_again(look: Look, arrival: _Arrived, later: Later | None, audit: AuditWriter, delivery: Delivery) -> None:
    """Puts a look back where its party must be looked at later; one that has expired is denied."""
    if later and delivery.clock.now() >= look.expires_at:
        denial = denials.look_expired(iso(look.expires_at))
        audit.write([denied_record(denial, "look", **_party_fields(look.party))])
    elif later:
        _put_back(look, arrival.queue, RedeliveryNeeded(later.reason), delivery, audit, {"action": "look"})


def _carry_out_absent(looks: Sequence[Sequence[_Arrived]], delivery: Delivery, guard: SharedGuard) -> Outcomes:
    """Carries out looks at instances that are not shown, all together, as the events of one delivery are."""
    by_party = {equal[0].message.party: equal for equal in looks if isinstance(equal[0].message, Look)}
    hints = [_hint_of(first.message, first) for first, *_ in by_party.values() if isinstance(first.message, Look)]
    audit = _audit_of(hints, delivery)
    try:
        later = {later_look.party: later_look for later_look in _look_at(hints, delivery, audit, guard)}
    finally:
        guard.finish()
    outcomes = Counter(audit.outcomes)
    for party, (first, *duplicates) in by_party.items():
        if isinstance(first.message, Look):
            own_audit = _audit_of_message(first, delivery)
            _look_again(first.message, first, later.get(party), own_audit, delivery)
            outcomes += own_audit.outcomes
        for duplicate in duplicates:
            outcomes += _record_as(duplicate, first, audit, delivery)
    return outcomes


def _put_back(
    message: Message, queue: str, trouble: Transient, delivery: Delivery, audit: AuditWriter, fields: Record
) -> None:
    """Records the trouble where the log takes it, and puts the message on its queue again with one attempt more and a
    delay. Raises where it cannot be put back, so that the platform redelivers it."""
    if not isinstance(trouble, RedeliveryNeeded):
        trouble = RedeliveryNeeded(str(trouble)) if audit.attempt(str(trouble), fields) else trouble
    queues = {"", *delivery.policy.bound_queues}
    delay = min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(message.attempt, 10))
    again = msgspec.structs.replace(message, attempt=message.attempt + 1)
    try:
        delivery.post(again, queue=queue if queue in queues else "", delay=delay)
    except Transient as failure:
        raise trouble from failure
