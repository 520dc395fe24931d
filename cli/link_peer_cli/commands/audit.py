"""`link-peer audit`: read the audit log."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated

import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput, Transient
from link_peer.domain.reasons import REASONS
from link_peer.runtime.audit import DECISION_FIELDS
from link_peer.runtime.ports import Record
from rich.markup import escape

from link_peer_cli.access.environment import load_environment
from link_peer_cli.access.inputs import is_cloud_name, matching, moment, with_uid
from link_peer_cli.audit.log import AuditReader, condition, party_condition
from link_peer_cli.audit.log import follow as follow_log
from link_peer_cli.audit.story import Story, stories
from link_peer_cli.audit.verify import verify as verify_log
from link_peer_cli.inventory.shown import wording
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import CELLS, RecordLine, cells, folded, print_advice_of, texts
from link_peer_cli.ui.tables import print_csv, print_tsv

LIMIT = 100  # lines, for a person
_FIRST = (
    *("time", "record", "function", "action", "outcome", "reason", "detail", "advice"),
    *("from_account", "from", "to_account", "to", "ports", "link", "instance", "request_id", "event_id"),
    *(
        "claimed_by",
        "claimed_reason",
        "consent",
        "queue",
        "instances",
        "instance_ids",
        "effect",
        "effect_detail",
        "api_requests",
    ),
)
FIELDS = (*_FIRST, *(name for name in DECISION_FIELDS if name not in _FIRST))
"""The columns of CSV: those of every decision, and what is known of its trigger."""


class Form(Enum):
    """How records are printed."""

    LINES = "lines"
    TSV = "tsv"
    JSON = "json"
    CSV = "csv"


def audit(
    outcome: Annotated[str, typer.Option(help="applied, unchanged, removed, denied or failed.")] = "",
    reason: Annotated[str, typer.Option(help="A reason code: no-consent, expired, quota, …")] = "",
    link: Annotated[str, typer.Option(help="A link's id.")] = "",
    request: Annotated[str, typer.Option(help="A request's id.")] = "",
    event: Annotated[str, typer.Option(help="An event's id.")] = "",
    party: Annotated[
        str,
        typer.Option(
            help="A party on either side: an id or a name, or with @<account>, or *@<account>: its uid or name."
        ),
    ] = "",
    story: Annotated[
        str, typer.Option(help="A request's or link's id: every record of it and of its links, with later removals.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            help="How far back: 90s, 30m, 2h, 7d, or an instant with its zone. Default: 24h; of a story, 365d."
        ),
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="Print the newest so many; 0 for all. Default: 100 lines, all of JSON and CSV."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Include intents, attempts and summaries.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new records until Ctrl-C.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare the log with ActionTrail, both ways, in every account. Goes with --since and --json.",
        ),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with a line of names.")] = False,
    as_json: JsonLines = False,
) -> None:
    """Read the audit log, the newest last: what was decided, who asked, why, and how to resolve denials."""
    fields = {
        "outcome": matching(outcome, "--outcome", "applied|unchanged|removed|denied|failed"),
        "reason": matching(reason, "--reason", "|".join(REASONS)),
        "link": matching(link, "--link", "[0-9a-f]{16}"),
        "request_id": matching(request, "--request", r"[A-Za-z0-9._-]{1,48}"),
        "event_id": matching(event, "--event", r'[^"\\*?\s]{1,128}'),  # excludes what has a meaning in a query
    }
    query = condition({"record": "" if everything else "outcome", **fields})
    party = with_uid(party, "--party") if party else ""
    if party and not is_cloud_name(party):
        party_condition(party, "--party")  # report an invalid option before a missing environment
    if story and (follow or everything or party or any(fields.values())):
        raise BadInput("--story", "it prints every record of one request or link: give no other filter")
    if verify and (story or follow or everything or party or as_csv or limit is not None or any(fields.values())):
        raise BadInput("--verify", "it compares the whole log: give --since and --json only")
    if as_csv and as_json:
        raise BadInput("--csv", "it cannot be printed together with --json")
    matching(story, "--story", r"[A-Za-z0-9._-]{1,48}")
    clock = compose.clock_for_functions()
    start = moment(since or ("365d" if story else "24h"), "--since", clock.now())
    env = load_environment(reading=True)
    if verify:
        verify_log(env, start, as_json=as_json)
        return
    if party:
        query += f" and {party_condition(by_cloud_name(env, party, '--party'), '--party')}"
    log = AuditReader(env.settings, env.clock, env.keys)
    form = Form.JSON if as_json else Form.CSV if as_csv else Form.LINES if sys.stdout.isatty() else Form.TSV
    names = wording(env.policy, 0).names
    if not follow:
        with waiting("reading the audit log"):
            told = stories(log, story, start) if story else [Story("", log.read(query, start))]
        _print_header(form)
        with paged(unless=form is not Form.LINES):
            for one in told if form is Form.LINES else [_together(told)]:
                _print(one.records, form, limit, names, f"the story of {one.title}" if story else "audit log")
        return
    with contextlib.suppress(KeyboardInterrupt):
        _print_header(form)
        for records in follow_log(log, clock, query, start, _print_trouble):
            _print(records, form, limit or 0, names)


def _together(told: Sequence[Story]) -> Story:
    """All of them for programs, to which each record names its queue and its link."""
    records = {id(record): record for one in told for record in one.records}
    return Story(told[0].title, sorted(records.values(), key=lambda record: record.get("time", "")))


def _print_header(form: Form) -> None:
    if form is Form.CSV:
        print_csv([FIELDS])
    elif form is Form.TSV:
        print_tsv([CELLS])


def _print(records: Sequence[Record], form: Form, limit: int | None, names: Mapping[str, str], title: str = "") -> None:
    """Print the newest records, repeats folded. Without a title: what has just come, one line each."""
    if form in (Form.JSON, Form.CSV):
        for record in records[-limit:] if limit else records:
            if form is Form.JSON:
                print_answer(record)
            else:
                print_csv([[record.get(name, "") for name in FIELDS]])
        return
    lines = folded(records) if title else [RecordLine(record) for record in records]
    shown = lines[-(LIMIT if limit is None else limit) :]
    if form is Form.TSV:
        print_tsv([cells(line) for line in shown])
        return
    out = console()
    if title:
        out.print(f"[bold]{escape(title)}, {len(records)} {'record' if len(records) == 1 else 'records'}[/bold]")
    if older := len(lines) - len(shown):
        out.print(f"[dim]… {older} older lines: --limit 0 prints all[/dim]")
    for text in texts(shown, names=names):
        out.print(text, soft_wrap=True)
    if title:
        print_advice_of(out, (line.record for line in shown))


def _print_trouble(error: Transient, wait: float) -> None:
    console(stderr=True).print(f"[yellow]{escape(str(error))}; next try in {wait:.0f} seconds[/yellow]")
