"""Tables that never cut an id: drawn for people, tab-separated for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from link_peer_cli.io.spreadsheet import print_tsv


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
    cells = [[str(cell) for cell in row] for row in rows]
    out.print(f"[bold]{escape(title)}[/bold]")
    if _fits(out, columns, cells):
        out.print(_table(columns, cells))
    else:
        _print_blocks(out, columns, cells)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(header_style="dim", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*map(escape, row))
    return table


def _fits(out: Console, columns: Sequence[str], cells: Sequence[Sequence[str]]) -> bool:
    """Whether no word has to be broken. The longest word of each column decides, so a table of these alone is measured:
    rich takes seconds for a thousand rows."""
    longest = [
        max((word for cell in column for word in cell.split()), key=cell_len, default="")
        for column in zip(*cells, strict=True)
    ]
    return _table(columns, [longest]).__rich_measure__(out, out.options).minimum <= out.width


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
