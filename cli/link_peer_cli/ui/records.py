"""Audit records on the terminal: one line a record, repeats folded into one, with the advice for what was denied."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

import msgspec
from link_peer.domain.denials import parts
from link_peer.domain.model import Party
from link_peer.domain.record_fields import DECISION
from link_peer.runtime.ports import Record
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape

from link_peer_cli.ui.console import console, when
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.tables import Column, Table, by_name, by_words, draw

Names = Mapping[str, str]
PLANNED = {"applied": "would be applied", "removed": "would be removed"}
"""What an outcome is called before it has happened."""

UNDO_LINES = 20
"""Commands that take something back, for a person."""

COLOURS = {"applied": "green", "removed": "magenta", "denied": "yellow", "failed": "red"}
COLOURS |= {word: COLOURS[outcome] for outcome, word in PLANNED.items()}
FUNCTIONS = ("auto_link", "cross_account", "sweep")

_IDENTITY = [
    "record",
    "action",
    "outcome",
    "reason",
    "detail",
    "from",
    "from_account",
    "to",
    "to_account",
    "ports",
    "instance",
    "request_id",
    "queue",
    "claimed_by",
]
_PARTY = re.compile(r"\b((?:sg|i)-[0-9a-z]+)@(\d+)")
_COUNTS = ("account", "accounts", "waiting", "changed", "removed", "held", "denied", "dead_letters")


class RecordLine(msgspec.Struct, frozen=True):
    """The newest of some records that say the same in a row about one link, how many they are, and the oldest one's
    time."""

    record: Record
    times: int = 1
    first: str = ""


def folded(records: Sequence[Record]) -> list[RecordLine]:
    """Fold a record into the one before it about the same link, if both say the same. Each stands where the record
    stands that it shows, so that lines are in the order of their times."""
    latest: dict[tuple[str, ...], RecordLine] = {}
    lines: dict[int, RecordLine] = {}
    places: dict[tuple[str, ...], int] = {}
    for place, record in enumerate(records):
        names = ("record", "link", *(() if record.get("link") else ("event_id", "scope", "account")))
        names = ("record", "to", "event_request") if record.get("event_request") else names
        about = tuple(record.get(name, "") for name in names)
        before = latest.get(about)
        line = RecordLine(record, 1, record.get("time", ""))
        if before is not None and all(before.record.get(name) == record.get(name) for name in _IDENTITY):
            del lines[places[about]]
            line = RecordLine(record, before.times + 1, before.first)
        elif before and record.get("event_request"):  # of a person's command, and of the event of its call
            del lines[places[about]]
            line = RecordLine(
                max(record, before.record, key=lambda candidate: "old_tags" in candidate), 1, before.first
            )
        elif before and ":null" in (claims := record.get("claims", "")) and claims == before.record.get("claims"):
            # a person and a function, or two functions, removed the same rules at the same time
            del lines[places[about]]
            chosen_record = min(record, before.record, key=lambda candidate: candidate.get("function") in FUNCTIONS)
            line = RecordLine(chosen_record, 1, before.first)
        place = places[about] if before is not None and line.record is before.record else place
        latest[about], places[about], lines[place] = line, place, line
    return [lines[place] for place in sorted(lines)]


KINDS = {"observed": "consent", "trail": "by hand"}
"""What people call records that are no decisions."""


def _outcome(record: Record) -> str:
    """Of what decides nothing, what it is: `(intent)`."""
    kind = record.get("record", "")
    return record.get("outcome") or f"({KINDS.get(kind, kind)})"


def tag_changes(record: Record) -> str:
    """What an observed record says of a group's tags: `link-accept=sg-app:tcp/3306 (before: *)`, and of one that went,
    `link-lock is off`."""
    before, after = (_tags(record.get(name, "")) for name in ("old_tags", "event_tags"))
    texts = []
    for key, value in after.items():
        suffix = f" (before: {before[key]})" if before.get(key) else ""
        texts.append(f"{key} is off{suffix}" if value is None else f"{key}={value}{suffix}")
    return "; ".join(texts)


def _tags(text: str) -> dict[str, str | None]:
    try:
        return msgspec.json.decode(text, type=dict[str, str | None])
    except msgspec.DecodeError:
        return {}


def _party(record: Record, side: str, names: Names) -> str:
    name, account = record.get(side, ""), record.get(f"{side}_account", "")
    name, account = names.get(f"{name}@{account}", name), names.get(account, account)
    return f"{name}@{account}" if name and account else name


def asker(record: Record, names: Names = MappingProxyType({})) -> str:
    """What asked for it: a tag, a request with what it says of its sender, or the function itself."""
    if instance := record.get("instance"):
        return f"tag of {names.get(instance) or instance.partition('@')[0]}"
    if request := record.get("request_id"):
        claimed = record.get("claimed_by")
        return f"{request} ({claimed})" if claimed else request
    return record.get("function", "")


def explanation(record: Record) -> str:
    """What decided: the reason and its detail; of what is applied, or has no detail, also what the request says, or the
    consent."""
    texts = [": ".join(filter(None, [record.get("reason"), record.get("detail")]))]
    if record.get("record") == "observed":
        texts.insert(0, tag_changes(record))
    if record.get("record") == "summary":
        texts.insert(0, ", ".join(f"{name} {record[name]}" for name in _COUNTS if record.get(name)))
    elif not texts[0] or record.get("outcome") == "applied":
        consent = record.get("consent")
        texts.append(record.get("claimed_reason") or (f"consent: {consent}" if consent else ""))
    if record.get("effect") == "blocked":
        texts.append(f"packets are blocked: {record.get('effect_detail', '')}")
    return "  ".join(filter(None, texts))


def actor(record: Record) -> str:
    """Who or what caused it; of a person's command, which one, and who ran it."""
    command = "" if record.get("function", "") in ("", *FUNCTIONS) else f"{record['function']} by "
    return command + record.get("actor", "")


def _brief(line: RecordLine, names: Names) -> str:
    """How often, who asked, and why."""
    record, often = line.record, f"({line.times}×, first {when(line.first)})" if line.times > 1 else ""
    requester = asker(record, names)
    text = _PARTY.sub(
        lambda match: f"{names.get(match[0], match[1])}@{names.get(match[2], match[2])}", explanation(record)
    )
    return "  ".join(filter(None, [often, requester if requester != record.get("function") else "", text]))


def _reason_first(line: RecordLine, names: Names) -> str:
    """The same, with the reason before all else: a narrow terminal has room for little more."""
    reason = line.record.get("reason", "")
    requester, separator, detail = _brief(line, names).partition(f"{reason}: ")
    return f"{reason}  {requester}{detail}" if reason and separator else f"{requester}{separator}{detail}"


def _short_time(line: RecordLine, _: Names) -> str:
    """On a terminal without the year, which is in `-o wide`."""
    text = when(line.record.get("time", ""))
    return text[5:] if " " in text else text


def _without_zone(text: str, width: int) -> str:
    """`11-28 18:30`, where there is no room for the zone."""
    return text if cell_len(text) <= width else re.sub(r"^(\d\d-\d\d \d\d:\d\d) .*$", r"\1", text)


def _short_actor(line: RecordLine, _: Names) -> str:
    """`close user/alice`: of a person the end of the ARN; else `queue`, `event`, or `timer`."""
    command, by, whole = actor(line.record).rpartition(" by ")
    kind = "queue" if whole and whole == line.record.get("queue") else "event" if whole.startswith("ecs:") else ""
    return f"{command}{by and ' '}{kind or whole.rpartition(':')[2]}"


def _field_column(name: str) -> Column[RecordLine, Names]:
    return Column(name, lambda line, _: line.record.get(name, ""), wide=True)


RECORDS: Table[RecordLine, Names] = Table(
    RecordLine,
    {},
    "No records.",
    (
        Column(
            "time", lambda line, _: when(line.record.get("time", ""), seconds=True), _short_time, short=_without_zone
        ),
        Column("outcome", lambda line, _: _outcome(line.record), colours=COLOURS),
        Column("from", lambda line, names: _party(line.record, "from", names), short=by_name),
        Column("to", lambda line, names: _party(line.record, "to", names), short=by_name),
        Column("ports", lambda line, _: line.record.get("ports", ""), short=by_words),
        Column("actor", lambda line, _: actor(line.record), _short_actor, short=by_name),
        Column("why", lambda line, _: explanation(line.record), _reason_first, short=by_words),
        Column("asked by", lambda line, _: asker(line.record), wide=True),
        *(_field_column(field.name) for field in DECISION if field.column),
        Column("times", wide=True),
        Column("first", wide=True),
    ),
)
"""One line a record. The wording is what accounts are called, by uid, and parties, by `sg-…@<uid>`."""

DECISIONS = msgspec.structs.replace(
    RECORDS, columns=tuple(column for column in RECORDS.columns if column.name not in ("time", "actor"))
)
"""Those of one command, which is when and by whom."""


def print_records(
    out: Console,
    title: str,
    records: Sequence[Record],
    words: Mapping[str, str] | None = None,
    names: Names = MappingProxyType({}),
    *,
    wide: bool = False,
) -> None:
    """Print one line a record, repeats folded, and below them the advice for those that were denied. `words` may give
    other words for outcomes, `names` those of accounts and parties."""
    if title:
        out.print(f"[bold]{escape(title)}[/bold]")
    worded_records = [
        {**record, "outcome": (words or {}).get(record.get("outcome", ""), record.get("outcome", ""))}
        for record in records
    ]
    if worded_records:
        draw(out, DECISIONS, folded(worded_records), names, wide=wide)
    print_advice(out, (record.get("advice", "") for record in records))


def print_advice(out: Console, advice: Iterable[str]) -> None:
    """Print each distinct piece of advice; its command is on a line of its own, so that it can be copied."""
    for text in dict.fromkeys(filter(None, advice)):
        words, command = parts(text)
        out.print(escape(f"advice: {words or command}"))
        if words and command:
            out.print(escape(command))


def print_undo(out: Console, commands: Sequence[str], *, lines_in: object = "", most: int = UNDO_LINES) -> None:
    """Print the commands that take back what was done, `most` at most, each on a line of its own; first, which file has
    lines of it to delete."""
    if commands:
        first = f", delete what was added to {lines_in}, then" if lines_in else ""
        out.print(escape(f"To take it back{first}:"))
    for text in commands[:most]:
        out.print(escape(text))
    if further := len(commands) - most:
        out.print(f"… and {further} more: link-peer audit --story prints those of each link") if further > 0 else None


def print_foreign(foreign: Mapping[Party, str]) -> None:
    """Print what the owners of other accounts must do: a command for each group, on a line of its own."""
    for group, command in foreign.items():
        text = f"not changed; the owner of account {group.account} runs this, or give --profile:\n{command}"
        console().print(escape(text))


def exit_code(records: Sequence[Record]) -> Exit:
    """Return 1 if any record says that something was denied or failed, or could not be decided yet."""
    bad = any(record.get("outcome") in ("denied", "failed") or record["record"] == "attempt" for record in records)
    return Exit.REFUSED if bad else Exit.DONE
