"""What the commands print: tables for people, JSON for programs, and the three exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

PLAIN_WIDTH = 150  # columns where nobody says how wide the page is: a file, a pipe, a build's log


class Exit(IntEnum):
    """How a command ends."""

    DONE = 0
    REFUSED = 1  # denied, failed, or not as it should be
    USAGE = 2


def console(*, stderr: bool = False) -> Console:
    """The terminal as it is now. Made anew each time, since tests and pipes change what stdout is."""
    made = Console(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PLAIN_WIDTH
    return made


def print_table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A titled table whose cells are plain text: nothing in a cell is taken for markup.

    On a page too narrow for it each row is a block of lines instead, one a cell: no id is broken or cut.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    made = Table(header_style="dim", box=box.SIMPLE_HEAD)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in cells:
        made.add_row(*map(escape, row))
    out.print(f"[bold]{escape(title)}[/bold]")
    if made.__rich_measure__(out, out.options).minimum <= out.width:
        out.print(made)
        return
    names = max(map(len, columns))
    for row in cells:
        out.print()
        for column, cell in zip(columns, row, strict=True):
            if cell:
                out.print(f"  [dim]{escape(column):{names}}[/dim]  {escape(cell)}", soft_wrap=True)
    out.print()


def show(value: Any, *, stderr: bool = False) -> None:
    """One JSON document on one line of stdout, at once."""
    print(json.dumps(value, ensure_ascii=False), file=sys.stderr if stderr else sys.stdout, flush=True)
