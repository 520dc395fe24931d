"""Audit records on the terminal: one line a record, repeats folded into one, with the advice for what was denied."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from link_peer.domain.denial import parts
from link_peer.domain.model import Party
from link_peer.runtime.ports import Record
from rich.console import Console
from rich.markup import escape

from link_peer_cli.ui.console import console
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.tables import by_words
from link_peer_cli.ui.times import when

COLOURS = {"applied": "green", "removed": "magenta", "denied": "yellow", "failed": "red"}
PLANNED = {"applied": "would be applied", "removed": "would be removed"}
"""What an outcome is called before it has happened."""

_SAME = (
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
)
_COUNTS = ("changed", "removed", "held", "denied", "dead_letters")


class RecordLine(msgspec.Struct, frozen=True):
    """The newest of some records that say the same in a row about one link, how many they are, and the oldest one's time."""

    record: Record
    times: int = 1
    first: str = ""


def folded(records: Sequence[Record]) -> list[RecordLine]:
    """Fold a record into the one before it about the same link, if both say the same. Each stands where its newest is."""
    latest: dict[tuple[str, ...], RecordLine] = {}
    lines: dict[int, RecordLine] = {}
    places: dict[tuple[str, ...], int] = {}
    for place, record in enumerate(records):
        about = tuple(record.get(name, "") for name in ("record", "link", "event_id" if not record.get("link") else ""))
        before = latest.get(about)
        line = RecordLine(record, 1, record.get("time", ""))
        if before is not None and all(before.record.get(name) == record.get(name) for name in _SAME):
            del lines[places[about]]
            line = RecordLine(record, before.times + 1, before.first)
        latest[about], places[about], lines[place] = line, place, line
    return list(lines.values())


CELLS = ("time", "outcome", "from", "to", "ports", "asked by", "why", "advice", "times", "first")
"""The columns of `cells`."""


def cells(line: RecordLine) -> list[str]:
    """A line for programs, with exact instants."""
    record = line.record
    ends = [_party(record, side, {}) for side in ("from", "to")]
    said = [asker(record), why(record), record.get("advice", ""), str(line.times), line.first]
    return [record.get("time", ""), _outcome(record), *ends, record.get("ports", ""), *said]


def texts(
    lines: Sequence[RecordLine],
    words: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    room: int = sys.maxsize,
) -> list[str]:
    """The lines as rich markup, the columns before the last one aligned, and the last one cut where the line has no more room.
    `words` may give other words for outcomes, `names` those of accounts, by uid."""
    rows = [(_when(line.record), *_middle(line.record, words or {}, names or {}), _last(line)) for line in lines]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    last = room - sum(width + 2 for width in widths if width)
    return [
        _text(line.record, (*row[:4], by_words(row[4], last)), widths) for line, row in zip(lines, rows, strict=True)
    ]


def _text(record: Record, row: Sequence[str], widths: Sequence[int]) -> str:
    when, outcome, link, by = (f"{cell:{width}}" for cell, width in zip(row[:4], widths, strict=True))
    colour = COLOURS.get(record.get("outcome", ""), "dim")
    columns = [f"[dim]{when}[/dim]", f"[{colour}]{outcome}[/{colour}]", escape(link), escape(by), escape(row[4])]
    return "  ".join(column for column, width in zip(columns, [*widths, 1], strict=True) if width).rstrip()


def _when(record: Record) -> str:
    return when(record.get("time", ""), seconds=True)


def _outcome(record: Record) -> str:
    """Of what decides nothing, what it is: `(intent)`."""
    return record.get("outcome") or f"({record.get('record', '')})"


def _middle(record: Record, words: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, str, str]:
    """The outcome, the link and who asked."""
    outcome = _outcome(record)
    ends = [_party(record, side, names) for side in ("from", "to")]
    link = " ".join(filter(None, [" → ".join(filter(None, ends)), record.get("ports", "")]))
    return words.get(outcome, outcome), link, asker(record)


def _party(record: Record, side: str, names: Mapping[str, str]) -> str:
    name, account = record.get(side, ""), record.get(f"{side}_account", "")
    return f"{name}@{names.get(account, account)}" if name and account else name


def asker(record: Record) -> str:
    """What asked for it: a tag, a request with what it says of its sender, or the function itself."""
    if instance := record.get("instance"):
        return f"tag of {instance.partition('@')[0]}"
    if request := record.get("request_id"):
        claimed = record.get("claimed_by")
        return f"{request} ({claimed})" if claimed else request
    return record.get("function", "")


def why(record: Record) -> str:
    """What decided: the reason and its detail; of what is applied, or has no detail, also what the request says, or the consent."""
    said = [": ".join(filter(None, [record.get("reason"), record.get("detail")]))]
    if record.get("record") == "summary":
        said.insert(0, ", ".join(f"{name} {record[name]}" for name in _COUNTS if record.get(name)))
    elif not said[0] or record.get("outcome") == "applied":
        consent = record.get("consent")
        said.append(record.get("claimed_reason") or (f"consent: {consent}" if consent else ""))
    if record.get("effect") == "blocked":
        said.append(f"packets are blocked: {record.get('effect_detail', '')}")
    return "  ".join(filter(None, said))


def _last(line: RecordLine) -> str:
    """Why, and how often."""
    times = f"({line.times}×, first {_when({'time': line.first})})" if line.first else f"({line.times}×)"
    return "  ".join(filter(None, [why(line.record), times if line.times > 1 else ""]))


def print_records(out: Console, title: str, records: Sequence[Record], words: Mapping[str, str] | None = None) -> None:
    """Print one line a record, repeats folded, and below them the advice for those that were denied. `words` may give other
    words for outcomes."""
    out.print(f"[bold]{escape(title)}[/bold]")
    for text in texts(folded(records), words):
        out.print(text, soft_wrap=True)
    print_advice_of(out, records)


def print_advice_of(out: Console, records: Iterable[Record]) -> None:
    """Print how to resolve what these records deny."""
    print_advice(out, (record.get("advice", "") for record in records))


def print_advice(out: Console, advice: Iterable[str]) -> None:
    """Print each distinct piece of advice; its command is on a line of its own, so that it can be copied."""
    for text in dict.fromkeys(filter(None, advice)):
        words, command = parts(text)
        out.print(escape(f"advice: {words or command}"), soft_wrap=True)
        if words and command:
            out.print(escape(command), soft_wrap=True)


def print_foreign(foreign: Mapping[Party, str]) -> None:
    """Print what the owners of other accounts must do: a command for each group, on a line of its own."""
    for group, command in foreign.items():
        text = f"not changed; the owner of account {group.account} runs this, or give --profile:\n{command}"
        console().print(escape(text), soft_wrap=True)


def exit_code(records: Sequence[Record]) -> Exit:
    """Return 1 if any record says that something was denied or failed, or could not be decided yet."""
    bad = any(record.get("outcome") in ("denied", "failed") or record["record"] == "attempt" for record in records)
    return Exit.REFUSED if bad else Exit.DONE
