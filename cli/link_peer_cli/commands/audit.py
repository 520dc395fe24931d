"""`link-peer audit`: read the audit log."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput, Transient
from link_peer.domain.reasons import REASONS
from link_peer.domain.record_fields import DECISION
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Settings
from msgspec.structs import replace
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import is_cloud_name, matching, moment, with_uid
from link_peer_cli.audit.export import export
from link_peer_cli.audit.log import AuditReader, condition, party_condition
from link_peer_cli.audit.log import follow as follow_log
from link_peer_cli.audit.story import Story, stories
from link_peer_cli.audit.verify import verify as verify_log
from link_peer_cli.deployed.functions import DeployedFunctions
from link_peer_cli.inventory.shown import short_names
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.recorded_advice import AdviceJudge
from link_peer_cli.ui import looked
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.options import Csv, JsonLines, Output, SortBy, form_of
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import RECORDS, RecordLine, folded, print_advice
from link_peer_cli.ui.tables import TableForm, draw, print_csv, print_tsv

LIMIT = 100  # lines, for a person
FIELDS = tuple(field.name for field in DECISION)
"""The columns of CSV: the fields of a decision."""
WHOLE_LOG = ("--verify", "it compares the whole log, and takes --from, --all-regions and --json only")
WHOLE_PERIOD = ("--evidence", "it is about all of a period, and takes --from, --to, --all-regions and --json only")


def audit(
    outcome: Annotated[str, typer.Option(help="applied, unchanged, removed, denied or failed.")] = "",
    reason: Annotated[str, typer.Option(help="A reason code: no-consent, expired, quota, …")] = "",
    link: Annotated[str, typer.Option(help="A link's id.")] = "",
    request: Annotated[str, typer.Option(help="A request's id.")] = "",
    event: Annotated[str, typer.Option(help="An event's id.")] = "",
    key: Annotated[str, typer.Option(help="A record's key, of whatever kind the record is.")] = "",
    party: Annotated[
        str,
        typer.Option(
            help="A party on either side: an id or a name, optionally with @<account>; *@<account> for all of one."
        ),
    ] = "",
    story: Annotated[
        str, typer.Option(help="The id of a request or link: every record of it and of its links, with later removals.")
    ] = "",
    actor: Annotated[
        str, typer.Option(help="Who caused it: an ARN, or the end of one, such as user/alice; a queue; timer.")
    ] = "",
    start: Annotated[
        str,
        typer.Option(
            "--from",
            "--since",
            help="How long ago: 90s, 30m, 2h, 7d; or an instant with its zone. Default: 24h; of a story, 365d; of evidence, 30d.",
        ),
    ] = "",
    end: Annotated[str, typer.Option("--to", help="Until when, in the same forms. Default: now.")] = "",
    limit: Annotated[
        int | None,
        typer.Option(min=0, help="How many of the newest to print; 0: all. Default: 100 lines, all of JSON and CSV."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Include intents, attempts and summaries.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new records until Ctrl-C.")] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare the log with ActionTrail, both ways, in every account. Takes --from, --all-regions and --json only.",
        ),
    ] = False,
    all_regions: Annotated[
        bool,
        typer.Option(
            help="With --verify or --evidence: read ActionTrail of every region. A call by a role of link-peer where it has no functions is a "
            "finding."
        ),
    ] = False,
    evidence: Annotated[
        str,
        typer.Option(
            metavar="FOLDER|FILE",
            help="Write an auditor's evidence as CSV and as a printable page: both into a folder, or one of them into a file that "
            "ends with .csv or .html. Takes --from, --to, --all-regions and --json only.",
        ),
    ] = "",
    output: Output = TableForm.TABLE,
    sort_by: SortBy = "",
    as_csv: Csv = False,
    as_json: JsonLines = False,
) -> None:
    """Read the audit log, the newest last: what was decided, who asked, why, and how to resolve denials."""
    fields = {
        "outcome": matching(outcome, "--outcome", "applied|unchanged|removed|denied|failed"),
        "reason": matching(reason, "--reason", "|".join(REASONS)),
        "link": matching(link, "--link", "[0-9a-f]{16}"),
        "request_id": matching(request, "--request", r"[A-Za-z0-9._-]{1,48}"),
        "event_id": matching(event, "--event", r'[^"\\*?\s]{1,128}'),  # excludes what has a meaning in a query
        "key": matching(key, "--key", "[0-9a-f]{16}"),
    }
    query = condition({"record": "" if everything or key else "outcome", **fields})
    party = with_uid(party, "--party") if party else ""
    if party and not is_cloud_name(party):
        party_condition(party, "--party")  # report an invalid option before a missing environment
    RECORDS.column(sort_by or "time")
    filters = any((follow, everything, party, actor, end and not evidence, *fields.values()))
    if story and filters:
        raise BadInput("--story", "it prints every record of one request or link, and takes no other filter")
    is_filtered = filters or story or sort_by or as_csv or limit is not None
    _check_whole(verify=verify, evidence=bool(evidence), all_regions=all_regions, is_filtered=bool(is_filtered))
    if follow and (end or sort_by):
        raise BadInput("--follow", "it prints new records: give neither --to nor --sort-by")
    form = form_of(output, as_json=as_json, as_csv=as_csv)
    matching(story, "--story", r"[A-Za-z0-9._-]{1,48}")
    now = instant.now()
    since, until = _span(start or ("365d" if story else "30d" if evidence else "24h"), end, now)
    env = load_environment(reading=True)
    if verify or evidence:
        end_of_period = min(now, until or now)
        has_functions = functools.partial(_has_functions, env) if all_regions else None
        write_evidence = functools.partial(export, env, since, end_of_period, evidence, has_functions)
        compare = functools.partial(verify_log, env, since, has_functions)
        (write_evidence if evidence else compare)(as_json=as_json)
        return
    if party:
        query += f" and {party_condition(by_cloud_name(env, party, '--party'), '--party')}"
    log = AuditReader(env.settings, env.clock, env.keys)
    names = {**short_names(env.policy), env.policy.home: ""} if sys.stdout.isatty() else {}
    looked.FACTS["period"] = f"{iso(int(since))} to {iso(int(until or now))}"
    printer = _Shown(form, limit, names, actor, sort_by, env)
    if not follow:
        with waiting("reading the audit log"):
            selected_stories = stories(log, story, since) if story else [Story("", log.read(query, since, until))]
        with paged(unless=not printer.lines):
            for selected_story in selected_stories if printer.lines else [_together(selected_stories)]:
                printer.print(selected_story.records, f"the story of {selected_story.title}" if story else "audit log")
        return
    with contextlib.suppress(KeyboardInterrupt):
        for records in follow_log(log, compose.clock_for_functions(), query, since, _print_trouble):
            printer.print(records)


def _has_functions(env: Environment, settings: Settings) -> bool:
    """Whether the region to which these settings lead has functions of the deployment."""
    return DeployedFunctions(settings, env.policy.home).live(env.names.functions["sweep"]) is not None


def _check_whole(*, verify: bool, evidence: bool, all_regions: bool, is_filtered: bool) -> None:
    """Raise BadInput for options that do not go with those that are about the whole log."""
    if (verify or evidence) and (is_filtered or (verify and evidence)):
        raise BadInput(*(WHOLE_PERIOD if evidence else WHOLE_LOG))
    if all_regions and not (verify or evidence):
        raise BadInput("--all-regions", "it is about --verify and --evidence: give one of them")


def _span(start: str, end: str, now: float) -> tuple[float, float | None]:
    """Both ends of a time, in epoch seconds."""
    since, until = moment(start, "--from", now), moment(end, "--to", now) if end else None
    if until is not None and until < since:
        raise BadInput("--to", f"{end} is before {start}, where --from begins")
    return since, until


def _together(selected_stories: Sequence[Story]) -> Story:
    """All of them for programs, to which each record names its queue and its link."""
    records = {id(record): record for story in selected_stories for record in story.records}
    return Story(selected_stories[0].title, sorted(records.values(), key=lambda record: record.get("time", "")))


class _Shown:
    """How records are printed: for programs as they were recorded, for people with the advice that holds now. `names` are those
    of accounts."""

    def __init__(
        self, form: TableForm, limit: int | None, names: Mapping[str, str], actor: str, sort_by: str, env: Environment
    ) -> None:
        self._form = form
        self._limit = limit
        self._names = names
        self._actor = actor
        self._sort_by = sort_by
        self._env = env
        self._headed = False
        self.lines = form in (TableForm.TABLE, TableForm.WIDE) and sys.stdout.isatty()

    def print(self, records: Sequence[Record], title: str = "") -> None:
        """Print the newest, repeats folded. Without a title: what has just come, one line each."""
        records = [record for record in records if self._is_by(record)]
        if title and not records:
            looked.say_none(RECORDS.empty_message)
        if self._form in (TableForm.JSON, TableForm.CSV):
            self._print_values(records)
        else:
            self._print_lines(records, title)
        self._headed = True

    def _print_lines(self, records: Sequence[Record], title: str) -> None:
        lines = folded(records) if title else [RecordLine(record) for record in records]
        limit = LIMIT if self._limit is None and title else self._limit or 0
        printed_lines = RECORDS.ordered(lines[-limit:], self._sort_by)
        if title or not self.lines or self._form is TableForm.WIDE:  # else no advice is printed
            judged = AdviceJudge(self._env).judged([line.record for line in printed_lines])
            printed_lines = [replace(line, record=record) for line, record in zip(printed_lines, judged, strict=True)]
        if not self.lines:
            print_tsv(RECORDS.rows(printed_lines)[self._headed :])
        else:
            out = console()
            if title:
                out.print(
                    f"[bold]{escape(title)}, {len(records)} {'record' if len(records) == 1 else 'records'}[/bold]"
                )
            if older := len(lines) - len(printed_lines):
                out.print(f"[dim]… {older} older lines: --limit 0 prints all[/dim]")
            if printed_lines:
                draw(
                    out,
                    RECORDS,
                    printed_lines,
                    self._names,
                    wide=self._form is TableForm.WIDE,
                    heading=bool(title) or not self._headed,
                )
            if title and self._form is not TableForm.WIDE:
                print_advice(out, (line.record.get("advice", "") for line in printed_lines))

    def _print_values(self, records: Sequence[Record]) -> None:
        newest = map(RecordLine, records[-self._limit :] if self._limit else records)
        records = [line.record for line in RECORDS.ordered(newest, self._sort_by)]
        if self._form is TableForm.JSON:
            for record in records:
                print_answer(record)
            return
        rows = [[record.get(name, "") for name in FIELDS] for record in records]
        print_csv(rows if self._headed else [FIELDS, *rows])

    def _is_by(self, record: Record) -> bool:
        """Whether the actor that is asked for, or one whose ARN ends so, caused it."""
        actor = record.get("actor", "")
        return not self._actor or actor == self._actor or actor.endswith(f":{self._actor}")


def _print_trouble(error: Transient, wait: float) -> None:
    console(stderr=True).print(f"[yellow]{escape(str(error))}; next try in {wait:.0f} seconds[/yellow]")
