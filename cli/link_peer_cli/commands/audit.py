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
from link_peer.domain.model import Party
from link_peer.domain.record_fields import DECISION
from link_peer.domain.tags import iso
from link_peer.runtime.ports import Record
from link_peer.runtime.settings import Settings
from msgspec.structs import replace
from rich.markup import escape

from link_peer_cli.access import instant
from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.inputs import matching, moment, quarter_of
from link_peer_cli.audit.export import export
from link_peer_cli.audit.filters import FORMS, Filters, filters_in
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.audit.log import follow as follow_log
from link_peer_cli.audit.story import Story, ends_of, stories
from link_peer_cli.audit.timeline import timeline
from link_peer_cli.audit.trail_records import tags_in
from link_peer_cli.audit.verify import verify as verify_log
from link_peer_cli.deployed.functions import DeployedFunctions
from link_peer_cli.inventory.shown import short_names
from link_peer_cli.review.claims import claims_between, names_now
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.review.recorded_advice import AdviceJudge
from link_peer_cli.ui import looked
from link_peer_cli.ui.console import console, print_answer, warn, when
from link_peer_cli.ui.options import JsonLines, Output, SortBy, form_of
from link_peer_cli.ui.pager import paged
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import RECORDS, RecordLine, folded, print_advice, print_undo
from link_peer_cli.ui.tables import TableForm, draw, print_csv, print_tsv

LIMIT = 100  # lines, for a person
ACTS = 3  # the newest acts of a story whose commands that take them back are printed
NAMED_ENDS = 200  # of records, that are read for their names
MOST = 500  # records that are read for these lines, though many of them repeat others
FIELDS = tuple(field.name for field in DECISION)
"""The columns of CSV: the fields of a decision."""
WHOLE_LOG = ("--verify", "it compares the whole log, and takes --from, --all-regions and --json only")
WHOLE_PERIOD = ("--evidence", "it is about all of a period, and takes --from, --to, --all-regions and --json only")


def audit(
    filters: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FIELD=VALUE]...",
            help="Only these: outcome=denied, reason=no-consent, party=db or party=*@billing, actor=user/alice, request=chg-1042, or "
            "any other field of a record. Of one field given twice, either.",
        ),
    ] = None,
    story: Annotated[
        str, typer.Option(help="The id of a request or link: every record of it and of its links, with later removals.")
    ] = "",
    start: Annotated[
        str,
        typer.Option(
            "--from",
            "--since",
            help="How long ago: 90s, 30m, 2h, 7d; a date, from its start (UTC); or an instant with its zone. Default: 24h; of a story, "
            "365d; of evidence, 30d.",
        ),
    ] = "",
    end: Annotated[
        str, typer.Option("--to", help="Until when, in the same forms; a date, to its end (UTC). Default: now.")
    ] = "",
    quarter: Annotated[
        str, typer.Option(metavar="YEARQ1-4", help="Instead of --from and --to: a quarter, as 2026Q3 (UTC).")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="COUNT",
            help="How many of the newest to print; 0: all. Default: 100 lines, all of JSON and CSV.",
        ),
    ] = None,
    all_records: Annotated[bool, typer.Option("--all", help="Include intents, attempts and summaries.")] = False,
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
            "--all-regions",
            help="With --verify or --evidence: read ActionTrail of every region. A call by a role of link-peer where it has no functions is a "
            "finding.",
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
    as_json: JsonLines = False,
) -> None:
    """Read the audit log, the newest last: what was decided, who asked, why, and how to resolve denials."""
    record_filters = filters_in(filters or ())
    RECORDS.column(sort_by or "time")
    if quarter and (start or end):
        raise BadInput("--quarter", "give it without --from and --to")
    is_filtered = bool(record_filters) or follow or all_records or bool((end or quarter) and not evidence)
    if story and is_filtered:
        raise BadInput("--story", "it prints every record of one request or link, and takes no filter")
    is_filtered = is_filtered or bool(story or sort_by) or output is TableForm.CSV or limit is not None
    _check_whole(verify=verify, evidence=bool(evidence), all_regions=all_regions, is_filtered=is_filtered)
    if follow and (end or quarter or sort_by):
        raise BadInput("--follow", "it prints new records: give neither an end nor --sort-by")
    form = form_of(output, as_json=as_json)
    matching(story, "--story", FORMS["request_id"])
    now = instant.now()
    default = "365d" if story else "30d" if evidence else "24h"
    since, until = quarter_of(quarter, "--quarter") if quarter else _span(start or default, end, now)
    env = load_environment(reading=True)
    looked.FACTS["period"] = f"{iso(int(since))} to {iso(int(until or now))}"
    if verify or evidence:
        end_of_period = min(now, until or now)
        has_functions = functools.partial(_has_functions, env) if all_regions else None
        write_evidence = functools.partial(export, env, since, end_of_period, evidence, has_functions)
        compare = functools.partial(verify_log, env, since, has_functions)
        (write_evidence if evidence else compare)(as_json=as_json)
        return
    query = record_filters.query(
        (by_cloud_name(env, party, "party") for party in record_filters.parties), all_kinds=all_records
    )
    log = AuditReader(env.settings, env.clock, env.keys)
    names = {**short_names(env.policy), env.policy.home: ""} if sys.stdout.isatty() else {}
    printer = _RecordPrinter(form, limit, names, record_filters, sort_by, env)
    printer.every_kind = all_records or bool({"record", "key"} & record_filters.values.keys())
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            for records in follow_log(log, compose.clock_for_functions(), query, since, _print_trouble):
                printer.print(records)
                printer.limit = 0  # it is for what was there before
    elif story:
        with waiting("reading the audit log"):
            selected_stories = stories(log, story, since)
        with waiting("reading ActionTrail"):
            timelines = [
                timeline(env, log, selected_story, since, functools.partial(claims_between, env))
                for selected_story in selected_stories
            ]
        selected_stories = [selected_story for selected_story, _ in timelines]
        with paged(unless=not printer.lines):
            for selected_story in selected_stories if printer.lines else [_together(selected_stories)]:
                printer.print(selected_story.records, f"the story of {selected_story.title}")
        warn(dict.fromkeys(problem for _, problem in timelines))
    else:
        printer.print_log(log, query, since, until)


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
    since, until = moment(start, "--from", now), moment(end, "--to", now, end_of_day=True) if end else None
    if until is not None and until < since:
        raise BadInput("--to", f"{end} is before {start}, where --from begins")
    return since, until


def _together(selected_stories: Sequence[Story]) -> Story:
    """All of them for programs, to which each record names its queue and its link."""
    records = {id(record): record for story in selected_stories for record in story.records}
    return Story(selected_stories[0].title, sorted(records.values(), key=lambda record: record.get("time", "")))


class _RecordPrinter:
    """How records are printed: for programs as they were recorded, for people with the advice that holds now. `names`
    are those of accounts."""

    def __init__(
        self,
        form: TableForm,
        limit: int | None,
        names: Mapping[str, str],
        record_filters: Filters,
        sort_by: str,
        env: Environment,
    ) -> None:
        self._form = form
        self.limit = limit
        self._names = self._called = names
        self._ends: set[Party] = set()
        self._filters = record_filters
        self.every_kind = False
        self._by_actor = bool(record_filters.actors)
        self._sort_by = sort_by
        self._env = env
        self._judge = AdviceJudge(env)
        self._headed = False
        self._headings: tuple[str, ...] = ()
        self.lines = form in (TableForm.TABLE, TableForm.WIDE) and sys.stdout.isatty()

    def print_log(self, log: AuditReader, query: str, since: float, until: float | None) -> None:
        """Print what matches a query in a span of time (epoch seconds): as much of it as was asked for is read, the
        newest first; all of it is printed as it is read."""
        count = LIMIT if self.limit is None and self._form not in (TableForm.JSON, TableForm.CSV) else self.limit
        if not count and not self._sort_by:
            self._print_all(log, query, since, until)
            return
        with waiting("reading the audit log"):
            if count:
                records, is_whole = log.newest(query, since, until, count, self._is_enough, self._is_shown)
            else:
                records, is_whole = log.read(query, since, until), True
        with paged(unless=not self.lines):
            self.print(records, "audit log", is_whole=is_whole)

    def _print_all(self, log: AuditReader, query: str, since: float, until: float | None) -> None:
        """Print as it is read; lines that repeat others are folded where they were read together."""
        newest_records: list[Record] = []
        if self._form in (TableForm.TABLE, TableForm.WIDE):  # before the oldest are printed, which are not judged
            with waiting("reading the audit log"):
                newest_records, _ = log.newest(query, since, until, MOST, is_asked_for=self._is_shown)
            newest_records = self._judge.judged(newest_records)
        count = 0
        for part in log.stream(query, since, until):
            records = [record for record in part if self._is_shown(record)]
            count += len(records)
            if self._form in (TableForm.JSON, TableForm.CSV):
                self._print_values(records)
            elif records:
                self._draw(self._judged(folded(records), again=False))
            self._headed = True
        if self.lines:
            console().print(f"[bold]audit log, {count} {'record' if count == 1 else 'records'}[/bold]")
            if self._form is TableForm.TABLE:
                print_advice(console(), (record.get("advice", "") for record in newest_records))
        if not count:
            looked.say_none(RECORDS.empty_message)

    def _is_shown(self, record: Record) -> bool:
        """Whether a record is asked for. Of the changes of a group's tags, one of those that link-peer writes itself,
        or that mean nothing here, is not."""
        keys, tags = self._env.policy.keys, tags_in(record.get("event_tags", "")) or {}
        is_of_kind = self.every_kind or not tags or any(map(keys.decides, tags))
        return is_of_kind and self._filters.is_by(record)

    def _is_enough(self, records: list[Record]) -> bool:
        """Whether no older records are needed. Many may be about the same: then some lines are enough, unless a number
        was given, or these are of one actor."""
        if self._form in (TableForm.JSON, TableForm.CSV) or (
            self.limit is None and not self._by_actor and len(records) >= MOST
        ):
            return True
        return len(folded(records)) >= (self.limit or LIMIT)

    def print(self, records: Sequence[Record], title: str = "", *, is_whole: bool = True) -> None:
        """Print the newest, repeats folded. Without a title: what has just come, one line each. `is_whole`: there are
        no others."""
        records = [record for record in records if self._is_shown(record)]
        if title and not records:
            looked.say_none(RECORDS.empty_message)
        if self._form in (TableForm.JSON, TableForm.CSV):
            self._print_values(records)
        else:
            self._print_lines(records, title, is_whole=is_whole)
        self._headed = True

    def _print_lines(self, records: Sequence[Record], title: str, *, is_whole: bool) -> None:
        lines = folded(records) if title else [RecordLine(record) for record in records]
        limit = LIMIT if self.limit is None and title else self.limit or 0
        printed_lines = RECORDS.ordered(lines[-limit:], self._sort_by)
        if title or not self.lines or self._form is TableForm.WIDE:  # else no advice is printed
            printed_lines = self._judged(printed_lines)
        if self.lines and title:
            out, newest = console(), "" if is_whole else "the newest "
            out.print(
                f"[bold]{escape(title)}, {newest}{len(records)} {'record' if len(records) == 1 else 'records'}[/bold]"
            )
            older = f"{len(lines) - len(printed_lines)} older lines" if is_whole else "older records were not read"
            if not is_whole or len(lines) > len(printed_lines):
                out.print(f"[dim]… {older}: --limit 0 prints all[/dim]")
        self._draw(printed_lines, heading=bool(title))
        if self.lines and title and self._form is not TableForm.WIDE:
            print_advice(console(), (line.record.get("advice", "") for line in printed_lines))
        for record in [record for record in records if record.get("undo")][-ACTS:]:
            act = f"{record.get('outcome') or record.get('action')} by {record.get('actor')}"
            console().print(f"[bold]{when(record['time'])}[/bold] {escape(act)}")
            print_undo(console(), record["undo"].splitlines())

    def _judged(self, lines: Sequence[RecordLine], *, again: bool = True) -> list[RecordLine]:
        """The lines with the advice that holds now."""
        records = self._judge.judged([line.record for line in lines], again=again)
        return [replace(line, record=record) for line, record in zip(lines, records, strict=True)]

    def _draw(self, lines: Sequence[RecordLine], *, heading: bool = False) -> None:
        """Print lines below those that were printed before."""
        if not self.lines:
            print_tsv(RECORDS.rows(lines)[self._headed :])
        elif lines:
            wide = self._form is TableForm.WIDE
            above = () if heading else self._headings
            names = self._names if wide else self._names_of(lines)
            self._headings = draw(console(), RECORDS, lines, names, wide=wide, above=above)

    def _names_of(self, lines: Sequence[RecordLine]) -> Mapping[str, str]:
        """What accounts and the ends of these lines are called; those of many lines more than a person reads stay
        ids."""
        ends = {end for line in lines for end in ends_of(line.record) if end.id} - self._ends
        if ends and len(self._ends) < NAMED_ENDS:
            self._ends |= ends
            self._called = {**names_now(self._env, self._ends), **self._names}
        return self._called

    def _print_values(self, records: Sequence[Record]) -> None:
        newest = map(RecordLine, records[-self.limit :] if self.limit else records)
        records = [line.record for line in RECORDS.ordered(newest, self._sort_by)]
        if self._form is TableForm.JSON:
            for record in records:
                print_answer(record)
            return
        rows = [[record.get(name, "") for name in FIELDS] for record in records]
        print_csv(rows if self._headed else [FIELDS, *rows])


def _print_trouble(error: Transient, wait: float) -> None:
    console(stderr=True).print(f"[yellow]{escape(str(error))}; next try in {wait:.0f} seconds[/yellow]")
