"""`link-peer plan`: what an event, a request or an instance would change, and the commands that change the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from cli.console import console, print_table, show

if TYPE_CHECKING:
    from cli.inputs import Setting
    from cli.log import Record
    from cli.whatif import Change
    from shared.delivery import Delivery
    from shared.events import Hint


def plan(
    what: Annotated[str, typer.Argument(help="An instance's id, or a file with an event or a request; - for stdin.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what would be decided, and the equal aliyun commands. Changes nothing, and writes nothing to the log."""
    from cli.inputs import opened
    from cli.records import exit_code, print_changes, print_records

    records, changes = planned(opened(), what)
    if as_json:
        show({"decisions": records, "commands": [msgspec.to_builtins(change) for change in changes]})
    else:
        out = console()
        print_records(out, "decisions", records)
        print_table(out, "rules concerned", ("account", "group", "source", "to", "protocol", "ports"), _rules(records))
        print_changes(out, changes)
    raise typer.Exit(exit_code(records))


def planned(here: Setting, what: str) -> tuple[list[Record], list[Change]]:
    """The outcomes and the changes. Pairs that auto_link would hand to the queue are planned too."""
    from cli.whatif import suppose
    from shared.reconcile_instances import reconcile as reconcile_instances

    delivery, cloud, kept = suppose(here, "plan")
    hints, bodies = _read(here, what)
    if hints:
        reconcile_instances(delivery, hints)
    for body in [*bodies, *kept.messages]:
        _request(delivery, body)
    return kept.outcomes, cloud.changes


def _read(here: Setting, what: str) -> tuple[list[Hint], list[bytes | str]]:
    """What there is to look at: hints of events, and bodies of requests."""
    from cli.inputs import document
    from shared import events
    from shared.notation import is_instance_id

    region, home = here.settings.region, here.policy.home
    if is_instance_id(what):
        return [events.Hint("plan", "person", what, home, region, None, "tags")], []
    raw = document(what)
    hints: list[Hint] = []
    bodies: list[bytes | str] = []
    for element in events.elements(raw):
        event = element if isinstance(element, dict) else {}
        if "request_id" in event:
            bodies.append(raw)  # a request as it is: read strictly, as it would come from the queue
        elif event.get("source") == "acs.ecs" or "product" in event:
            hints += events.decode(event, home=home, region=region)
        else:
            bodies.append(events.queue_body(element)[1])
    return hints, bodies


def _request(delivery: Delivery, body: bytes | str) -> None:
    from shared.audit import link_fields
    from shared.reconcile_pair import reconcile
    from shared.requests import DeniedRequest, decode

    try:
        request = decode(body, region=delivery.region, now=delivery.clock.now())
    except DeniedRequest as denied:
        request = denied.request
        fields = {"record": "outcome", "outcome": "denied", "reason": denied.reason, "action": request.action}
        told = {"detail": denied.detail, "advice": denied.advice, **link_fields(request.link, delivery.region)}
        delivery.scribe({"request_id": request.request_id}).write([{**fields, **told}])
    else:
        reconcile(delivery, request, delivery.scribe({"request_id": request.request_id}))


def _rules(records: Sequence[Record]) -> list[list[str]]:
    rules = [rule for record in records for rule in json.loads(record.get("rules") or "[]")]
    return [[rule[name] for name in ("account", "group", "source", "dest", "protocol", "ports")] for rule in rules]
