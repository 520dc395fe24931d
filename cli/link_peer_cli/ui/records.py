"""Audit records on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from link_peer.domain.denial import parts
from link_peer.domain.model import Party
from link_peer.runtime.ports import Record
from rich.console import Console
from rich.markup import escape

from link_peer_cli.ui.console import console
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.lines import folded, texts


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
