"""Tables that never cut an id: drawn for people; tab-separated lines and CSV for programs."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from link_peer_cli.ui.console import visible

_FORMULA = re.compile(r"""(^|[;\n])((?:[^\S\n]|")*)(?=[=+@\-\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20])""")
"""Where a spreadsheet may begin to read a formula: at the start of a cell, behind spaces, with a sign of its own width in East
Asian locales; and behind what ends a cell where `;` separates cells, since there a quote within a line quotes nothing."""

_CONTROL = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def print_csv(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as CSV and flush. Control characters, and those that turn text around, are escaped, and what a spreadsheet
    could take for a formula gets an apostrophe before it."""
    csv.writer(sys.stdout, lineterminator="\n").writerows([_literal(cell) for cell in row] for row in rows)
    sys.stdout.flush()


def print_tsv(rows: Sequence[Sequence[str]]) -> None:
    r"""Print each row on one line, its cells separated by tabs, and flush. In cells, a tab, an end of a line and a backslash are
    escaped (`\t`, `\n`, `\\`), other control characters and those that turn text around as `\x1b`."""
    sys.stdout.writelines("\t".join(_CONTROL.sub(_escaped, cell) for cell in row) + "\n" for row in rows)
    sys.stdout.flush()


def _literal(text: str) -> str:
    return _FORMULA.sub(r"\1'\2", visible(text))


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def print_table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print the table that a command is about: on a terminal as `draw_table` does, else (piped, in a file) as tab-separated
    values under a line with the columns' names, without the title."""
    if sys.stdout.isatty():
        draw_table(out, title, columns, rows)
    else:
        print_tsv([columns, *([str(cell) for cell in row] for row in rows)])


def draw_table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a titled table, as a part of a text for people. Cells are plain text, never markup.

    If the console is too narrow, each row is printed as a block with one line per cell, so that no id is wrapped or
    cut.
    """
    cells = [[visible(str(cell)) for cell in row] for row in rows]
    widths = _widths(columns, cells, out.width - 3 * len(columns) - 1)  # two spaces of padding and a border for each
    out.print(f"[bold]{escape(title)}[/bold]")
    if widths is None:
        _print_blocks(out, columns, cells)
        return
    table = Table(header_style="dim", box=box.SIMPLE_HEAD)
    for column, width in zip(columns, widths, strict=True):
        table.add_column(column, width=width)
    for row in cells:
        table.add_row(*map(escape, row))
    out.print(table)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """How wide each column is, given room for all of them: at least its longest word. None if there is not so much room."""
    texts = [[name, *(row[place] for row in cells)] for place, name in enumerate(columns)]
    widths = [max(cell_len(word) for text in column for word in text.split() or [""]) for column in texts]
    wanted = [max(map(cell_len, column)) for column in texts]
    spare = room - sum(widths)
    if spare < 0:
        return None
    for _ in range(min(spare, sum(wanted) - sum(widths))):
        narrow = max(range(len(widths)), key=lambda place: wanted[place] - widths[place])
        widths[narrow] += 1
    return widths


def _print_blocks(out: Console, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    width = max(map(len, columns))
    for row in cells:
        lines = [
            Text.assemble("  ", (f"{column:{width}}", "dim"), "  ", cell)
            for column, cell in zip(columns, row, strict=True)
            if cell
        ]
        out.print(Text("\n").join([Text(), *lines]), soft_wrap=True)  # one print a row: each of them is slow
    out.print()
