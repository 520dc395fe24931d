"""`link-peer audit`: read the decisions back."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Annotated

import typer

from cli.console import console, show

FOLLOW_SECONDS = 1.0
LATE_SECONDS = 120  # a record may be searchable only some time after its own time


def audit(
    outcome: Annotated[str, typer.Option(help="applied, unchanged, removed, denied or failed.")] = "",
    reason: Annotated[str, typer.Option(help="no-consent, expired, quota, …")] = "",
    link: Annotated[str, typer.Option(help="A link's id.")] = "",
    request: Annotated[str, typer.Option(help="A request's id.")] = "",
    event: Annotated[str, typer.Option(help="An event's id.")] = "",
    party: Annotated[str, typer.Option(help="A group or an instance, on either side.")] = "",
    since: Annotated[str, typer.Option(help="How far back: 90s, 30m, 2h, 7d, or an instant.")] = "24h",
    everything: Annotated[bool, typer.Option("--all", help="Intents, attempts and summaries too.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with every field.")] = False,
) -> None:
    """Read the audit log: what was decided, why, and what to do about it."""
    from cli.inputs import moment, opened
    from cli.log import AuditLog, Record, condition
    from cli.records import print_records

    fields = {"outcome": outcome, "reason": reason, "link": link, "request_id": request, "event_id": event}
    query = condition({"record": "" if everything else "outcome", **fields})
    if party:
        query += f" and ({condition({'from': party})} or {condition({'to': party})})"
    here = opened()
    log = AuditLog(here.settings, here.clock)
    start = moment(since, "--since", here.clock.now())

    def tell(records: list[Record]) -> None:
        if as_json:
            for record in records:
                show(record)
        elif records or not follow:
            print_records(console(), f"audit log, {len(records)} records", records)

    found = log.read(query, start)
    tell(found)
    seen = {json.dumps(record) for record in found}
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            time.sleep(FOLLOW_SECONDS)
            recent = log.read(query, max(start, here.clock.now() - LATE_SECONDS))
            tell([record for record in recent if json.dumps(record) not in seen])
            seen |= {json.dumps(record) for record in recent}
