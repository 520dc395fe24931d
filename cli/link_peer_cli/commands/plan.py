"""`link-peer plan`: what an event, a request or an instance would change, and the commands that change the same."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from link_peer_cli.io.console import console, print_table, show

if TYPE_CHECKING:
    from link_peer.domain.errors import BadInput
    from link_peer.inbound.events import Hint
    from link_peer.runtime.delivery import Delivery

    from link_peer_cli.clients.log import Record
    from link_peer_cli.clients.whatif import Change
    from link_peer_cli.io.inputs import Setting


def plan(
    what: Annotated[
        str, typer.Argument(help="An instance's id, or a file with events or requests, one or an array; - for stdin.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what would be decided, and the equal aliyun commands. Changes nothing, and writes nothing to the log."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import is_instance_id
    from link_peer.inbound import events

    from link_peer_cli.io.inputs import document, opened, party
    from link_peer_cli.io.records import exit_code, print_changes, print_records

    raw = None if is_instance_id(what.partition("@")[0]) else document(what)
    elements = [] if raw is None else events.elements(raw, events.MAX_BATCH_BYTES)
    here = opened()
    if raw is not None:
        records, changes = planned(here, raw, elements)
    else:
        instance = party(what, "instance", here.policy.home)
        if instance.account != here.policy.home:
            raise BadInput("instance", f"{what} is not of the home account: link-peer sweep --dry-run looks at all")
        hint = events.Hint("plan", "person", instance.id, instance.account, here.settings.region, None, "tags")
        records, changes = planned(here, b"", [hint])
    if as_json:
        show({"decisions": records, "commands": [msgspec.to_builtins(change) for change in changes]})
    else:
        out = console()
        print_records(out, "decisions", records)
        print_table(out, "rules concerned", ("account", "group", "source", "to", "protocol", "ports"), _rules(records))
        if changes or all(record["record"] == "outcome" for record in records):
            print_changes(out, changes)
    raise typer.Exit(exit_code(records))


def planned(here: Setting, raw: bytes, elements: Sequence[object]) -> tuple[list[Record], list[Change]]:
    """The outcomes (an attempt, where the function would be called again; a summary, where it would hold removals) and the
    changes. Each element ends on its own,
    as in the functions. Pairs that auto_link would hand to the queue are planned too."""
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.engine.scopes.instances import reconcile as reconcile_instances

    from link_peer_cli.clients.whatif import suppose

    delivery, cloud, kept = suppose(here, "plan")
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
    told = [r for r in kept.records if r["record"] in ("outcome", "attempt") or r.get("outcome") == "failed"]
    return told, cloud.changes


def _sorted(
    delivery: Delivery, raw: bytes, elements: Sequence[object]
) -> tuple[list[Hint], list[bytes | str], list[object]]:
    """What there is to look at: hints of events, bodies of requests, and timers. What is none of them is denied."""
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
                bodies.append(raw)  # a request as it is: read strictly, as it would come from the queue
            else:
                bodies.append(events.queue_message(element)[1])
        except BadInput as error:
            _deny(delivery, events.queue_id(event), "bad-event" if is_event else "bad-request", error)
    return hints, bodies, timers


@contextlib.contextmanager
def _on_record() -> Iterator[None]:
    """Trouble for which a function would be called again stands among the records, and ends its own element only."""
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
        told = {"detail": denied.detail, "advice": denied.advice, **link_fields(request.link, delivery.region)}
        delivery.scribe({"request_id": request.request_id}).write([{**fields, **told}])
    except BadRequest as error:
        known = error.known
        _deny(delivery, known.request_id, "bad-request", error, party_fields(known.source, known.target))
    else:
        reconcile(delivery, request, delivery.scribe({"request_id": request.request_id}))


def _deny(delivery: Delivery, name: str, reason: str, error: BadInput, fields: Record | None = None) -> None:
    """As the functions deny what is not the form. `name` is the event's or the request's id."""
    told = {"record": "outcome", "action": "link", "outcome": "denied", "reason": reason, "detail": str(error)}
    which = "request_id" if reason == "bad-request" else "event_id"
    delivery.scribe({which: name}).write([{**told, **(fields or {})}])


def _rules(records: Sequence[Record]) -> list[list[str]]:
    rules = [rule for record in records for rule in json.loads(record.get("rules") or "[]")]
    return [[rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports")] for rule in rules]
