"""`link-peer plan`: preview what an event, a request or an instance would change."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.options import Json
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from link_peer.domain.errors import BadInput
    from link_peer.inbound.events import Hint
    from link_peer.runtime.delivery import Delivery

    from link_peer_cli.clients.log import Record
    from link_peer_cli.clients.whatif import Change
    from link_peer_cli.io.environment import Environment


def plan(
    what: Annotated[
        str, typer.Argument(help="An instance's id, or a file with one or an array of events or requests; - for stdin.")
    ],
    as_json: Json = False,
) -> None:
    """Preview decisions and the equivalent aliyun commands. Changes nothing and writes no audit record."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import is_instance_id
    from link_peer.inbound import events

    from link_peer_cli.io.environment import load_environment
    from link_peer_cli.io.inputs import document, party
    from link_peer_cli.io.records import exit_code, print_changes, print_records

    raw = None if is_instance_id(what.partition("@")[0]) else document(what)
    elements = [] if raw is None else events.elements(raw, events.MAX_BATCH_BYTES)
    env = load_environment()
    if raw is not None:
        records, changes = planned(env, raw, elements)
    else:
        instance = party(what, "instance", env.policy.home)
        if instance.account != env.policy.home:
            raise BadInput(
                "instance", f"{what} is not in the home account: link-peer sweep --dry-run covers all accounts"
            )
        hint = events.Hint("plan", "person", instance.id, instance.account, env.settings.region, None, "tags")
        records, changes = planned(env, b"", [hint])
    if as_json:
        print_json({"decisions": records, "commands": [msgspec.to_builtins(change) for change in changes]})
    else:
        out = console()
        print_records(out, "decisions", records)
        print_table(out, "rules", ("account", "group", "source", "to", "protocol", "ports"), _rules(records))
        if changes or all(record["record"] == "outcome" for record in records):
            print_changes(out, changes)
    raise typer.Exit(exit_code(records))


def planned(env: Environment, raw: bytes, elements: Sequence[object]) -> tuple[list[Record], list[Change]]:
    """Return the records and the changes that the functions would make.

    The records are outcomes, attempts (the delivery would be retried) and failed summaries (removals would be held).
    Each element is planned on its own, as in the functions, and so are the messages that auto_link would post.
    """
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.engine.scopes.instances import reconcile as reconcile_instances

    from link_peer_cli.clients.whatif import suppose

    delivery, cloud, kept = suppose(env, "plan")
    hints, bodies, timers = _sorted(delivery, raw, elements)
    with _on_record():
        if hints:
            reconcile_instances(delivery, hints)
    for body in [*bodies, *kept.messages]:
        with _on_record():
            _request(delivery, body)
    with _on_record():
        if timers:
            Sweep(delivery, "plan").run()
    shown = [r for r in kept.records if r["record"] in ("outcome", "attempt") or r.get("outcome") == "failed"]
    return shown, cloud.changes


def _sorted(
    delivery: Delivery, raw: bytes, elements: Sequence[object]
) -> tuple[list[Hint], list[bytes | str], list[object]]:
    """Sort elements into hints of events, bodies of requests, and timers. Anything else is denied."""
    from link_peer.domain.errors import BadInput
    from link_peer.inbound import events

    hints: list[Hint] = []
    bodies: list[bytes | str] = []
    timers: list[object] = []
    for element in elements:
        event = element if isinstance(element, dict) else {}
        is_event = event.get("source") == "acs.ecs" or "product" in event
        try:
            if isinstance(element, events.Hint):
                hints.append(element)
            elif "triggerTime" in event:
                timers.append(element)
            elif is_event:
                for found in events.decode(event, home=delivery.policy.home, region=delivery.region):
                    if isinstance(found, BadInput):
                        _deny(delivery, events.queue_id(event), "bad-event", found)
                    else:
                        hints.append(found)
            elif "request_id" in event and len(elements) == 1:
                bodies.append(raw)  # a bare request: parsed as strictly as one from the queue
            else:
                bodies.append(events.queue_message(element)[1])
        except BadInput as error:
            _deny(delivery, events.queue_id(event), "bad-event" if is_event else "bad-request", error)
    return hints, bodies, timers


@contextlib.contextmanager
def _on_record() -> Iterator[None]:
    """Swallow a Transient that is already recorded as an attempt, so that it stops only its own element."""
    from link_peer.domain.errors import Transient

    try:
        yield
    except Transient as trouble:
        if not trouble.recorded:
            raise


def _request(delivery: Delivery, body: bytes | str) -> None:
    from link_peer.engine.scopes.pair import reconcile
    from link_peer.inbound.requests import BadRequest, DeniedRequest, decode
    from link_peer.runtime.audit import link_fields, party_fields

    try:
        request = decode(body, region=delivery.region, now=delivery.clock.now())
    except DeniedRequest as denied:
        request = denied.request
        fields = {"record": "outcome", "outcome": "denied", "reason": denied.reason, "action": request.action}
        shown = {"detail": denied.detail, "advice": denied.advice, **link_fields(request.link, delivery.region)}
        delivery.scribe({"request_id": request.request_id}).write([{**fields, **shown}])
    except BadRequest as error:
        known = error.known
        _deny(delivery, known.request_id, "bad-request", error, party_fields(known.source, known.target))
    else:
        reconcile(delivery, request, delivery.scribe({"request_id": request.request_id}))


def _deny(delivery: Delivery, name: str, reason: str, error: BadInput, fields: Record | None = None) -> None:
    """Record a denial for input that does not match the schema. `name` is the event's or the request's id."""
    shown = {"record": "outcome", "action": "link", "outcome": "denied", "reason": reason, "detail": str(error)}
    which = "request_id" if reason == "bad-request" else "event_id"
    delivery.scribe({which: name}).write([{**shown, **(fields or {})}])


def _rules(records: Sequence[Record]) -> list[list[str]]:
    rules = [rule for record in records for rule in json.loads(record.get("rules") or "[]")]
    return [[rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports")] for rule in rules]
