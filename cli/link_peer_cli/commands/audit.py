"""`link-peer audit`: read the audit log."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.options import JsonLines

if TYPE_CHECKING:
    from link_peer.domain.errors import Transient
    from link_peer.runtime.ports import Record


def audit(
    outcome: Annotated[str, typer.Option(help="applied, unchanged, removed, denied or failed.")] = "",
    reason: Annotated[str, typer.Option(help="A reason code: no-consent, expired, quota, …")] = "",
    link: Annotated[str, typer.Option(help="A link's id.")] = "",
    request: Annotated[str, typer.Option(help="A request's id.")] = "",
    event: Annotated[str, typer.Option(help="An event's id.")] = "",
    party: Annotated[
        str,
        typer.Option(
            help="A party on either side: sg-… or i-… in any account, the same with @<uid>, or *@<uid> for an account."
        ),
    ] = "",
    since: Annotated[str, typer.Option(help="How far back: 90s, 30m, 2h, 7d, or an instant.")] = "24h",
    everything: Annotated[bool, typer.Option("--all", help="Include intents, attempts and summaries.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new records until Ctrl-C.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Read the audit log: what was decided, why, and how to resolve denials."""
    from link_peer.runtime import compose

    from link_peer_cli.clients.follow import follow as follow_log
    from link_peer_cli.clients.log import AuditLog
    from link_peer_cli.clients.query import condition, party_condition
    from link_peer_cli.io.environment import load_environment
    from link_peer_cli.io.inputs import matching, moment

    fields = {
        "outcome": matching(outcome, "--outcome", "applied|unchanged|removed|denied|failed"),
        "reason": matching(reason, "--reason", "[a-z]+(-[a-z]+)*"),
        "link": matching(link, "--link", "[0-9a-f]{16}"),
        "request_id": matching(request, "--request", r"[A-Za-z0-9._-]{1,48}"),
        "event_id": matching(event, "--event", r'[^"\\*?\s]{1,128}'),  # excludes what has a meaning in a query
    }
    query = condition({"record": "" if everything else "outcome", **fields})
    if party:
        query += f" and {party_condition(party, '--party')}"
    clock = compose.clock_for_functions()
    start = moment(since, "--since", clock.now())
    env = load_environment(reading=True)
    log = AuditLog(env.settings, env.clock, env.keys)
    if not follow:
        _print(log.read(query, start), as_json=as_json)
        return
    with contextlib.suppress(KeyboardInterrupt):
        for records in follow_log(log, clock, query, start, _print_trouble):
            if records:
                _print(records, as_json=as_json)


def _print(records: list[Record], *, as_json: bool) -> None:
    from link_peer_cli.io.records import print_records

    if as_json:
        for record in records:
            print_json(record)
    else:
        print_records(console(), f"audit log, {len(records)} records", records)


def _print_trouble(error: Transient, wait: float) -> None:
    console(stderr=True).print(f"[yellow]{escape(str(error))}; next try in {wait:.0f} seconds[/yellow]")
