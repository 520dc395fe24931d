"""`link-peer audit`: read the decisions back."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from link_peer.domain.errors import Transient
from rich.markup import escape

from link_peer_cli.io.console import console, show

if TYPE_CHECKING:
    from link_peer.runtime.clock import Clock

    from link_peer_cli.clients.log import AuditLog, Record

FOLLOW_SECONDS = 1.0
LATE_SECONDS = 120  # a record may be searchable only some time after its own time
LONGEST_WAIT = 30.0  # until a log that cannot be read is asked again


def audit(
    outcome: Annotated[str, typer.Option(help="applied, unchanged, removed, denied or failed.")] = "",
    reason: Annotated[str, typer.Option(help="no-consent, expired, quota, …")] = "",
    link: Annotated[str, typer.Option(help="A link's id.")] = "",
    request: Annotated[str, typer.Option(help="A request's id.")] = "",
    event: Annotated[str, typer.Option(help="An event's id.")] = "",
    party: Annotated[
        str, typer.Option(help="On either side: sg-… or i-…, of any account or with @<uid>; *@<uid> for all of one.")
    ] = "",
    since: Annotated[str, typer.Option(help="How far back: 90s, 30m, 2h, 7d, or an instant.")] = "24h",
    everything: Annotated[bool, typer.Option("--all", help="Intents, attempts and summaries too.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with every field.")] = False,
) -> None:
    """Read the audit log: what was decided, why, and what to do about it."""
    from link_peer.runtime import delivery

    from link_peer_cli.clients.log import AuditLog, condition
    from link_peer_cli.io.inputs import matching, moment, opened
    from link_peer_cli.io.records import print_records

    fields = {
        "outcome": matching(outcome, "--outcome", "applied|unchanged|removed|denied|failed"),
        "reason": matching(reason, "--reason", "[a-z]+(-[a-z]+)*"),
        "link": matching(link, "--link", "[0-9a-f]{16}"),
        "request_id": matching(request, "--request", r"[A-Za-z0-9._-]{1,48}"),
        "event_id": matching(event, "--event", r'[^"\\*?\s]{1,128}'),  # none of these means anything in a search
    }
    query = condition({"record": "" if everything else "outcome", **fields})
    if party:
        query += f" and ({' or '.join(condition(side) for side in _sides(party))})"
    start = moment(since, "--since", delivery.clock_for_functions().now())
    here = opened()
    log = AuditLog(here.settings, here.clock)

    def tell(records: list[Record]) -> None:
        if as_json:
            for record in records:
                show(record)
        elif records or not follow:
            print_records(console(), f"audit log, {len(records)} records", records)

    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(log, here.clock, query, start, tell)
    else:
        tell(log.read(query, start))


def _sides(party: str) -> list[dict[str, str]]:
    """The fields that a record has in which the party is one or the other end."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import parse_who, quoted

    try:
        who = parse_who(party, "")
    except BadInput:
        who = None
    if who is None or party == "*":
        raise BadInput(
            "--party", f"{quoted(party)} is not sg-… or i-…, alone or with @<account uid>, nor *@<account uid>"
        )
    return [{side: "" if who.id == "*" else who.id, f"{side}_account": who.account} for side in ("from", "to")]


def _follow(log: AuditLog, clock: Clock, query: str, start: float, tell: Callable[[list[Record]], None]) -> None:
    """Each record once, also those of a time in which the log could not be read."""
    seen: set[str] = set()
    wait = FOLLOW_SECONDS
    while True:
        asked = clock.now()
        try:
            found = log.read_once(query, start)
        except Transient as error:
            wait = min(wait * 2, LONGEST_WAIT)
            console(stderr=True).print(f"[yellow]{escape(str(error))}; next try in {wait:.0f} seconds[/yellow]")
        else:
            wait = FOLLOW_SECONDS
            tell([record for record in found if json.dumps(record) not in seen])
            seen = {json.dumps(record) for record in found}
            start = max(start, asked - LATE_SECONDS)
        time.sleep(wait)
