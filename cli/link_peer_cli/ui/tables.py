"""Tables that never cut an id: one line an item for people; tab-separated lines, CSV and JSON for programs."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Generic, TextIO, TypeVar

import msgspec
from link_peer.domain.errors import BadInput
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from link_peer_cli.answers import CommandAnswer
from link_peer_cli.ui.console import console, print_answer, visible
from link_peer_cli.ui.looked import say_none
from link_peer_cli.ui.pager import paged

T = TypeVar("T")
A = TypeVar("A", bound=CommandAnswer)
W = TypeVar("W")
GAP = 2  # columns of the terminal between two of the table
LEGIBLE = 20  # to this a cell is shortened before columns are left out
LEAST = 6  # no cell is shortened to less


class TableForm(Enum):
    """How a table is printed."""

    TABLE = "table"
    WIDE = "wide"
    CSV = "csv"
    JSON = "json"


class Column(msgspec.Struct, Generic[T, W], frozen=True):
    """A column of a table."""

    name: str
    cell: Callable[[T, W], str] | None = None  # the text of an item in a wording; by default its field of that name
    brief: Callable[[T, W], str] | None = None  # the same in the usual table of a terminal
    wide: bool = False  # on a terminal only in `-o wide`
    # how a cell is shortened where lines are too long for the terminal: `by_name` or `by_words`
    short: Callable[[str, int], str] | None = None
    # if that does not suffice, the column with the highest number is left out first; one with 0 never is
    dispensable: int = 0
    if_any: bool = False  # on a terminal only where an item has it
    colours: Mapping[str, str] = {}  # of cells, by their text

    def text(self, item: T, words: W, *, brief: bool = False) -> str:
        """The cell of an item."""
        make = self.brief if brief and self.brief else self.cell
        return make(item, words) if make else _field(getattr(item, self.name.replace(" ", "_")))


class Table(msgspec.Struct, Generic[T, W], frozen=True):
    """What a command prints of each item."""

    answer: type[T]
    exact: W  # the wording for programs
    empty_message: str  # what is said where there is no item
    columns: tuple[Column[T, W], ...]

    def column(self, name: str) -> Column[T, W]:
        """The column that `--sort-by` names. Raises BadInput if there is none."""
        names = {column.name.replace(" ", "-"): column for column in self.columns}
        if name not in names:
            raise BadInput("--sort-by", f"{name} is not one of {', '.join(names)}")
        return names[name]

    def ordered(self, items: Iterable[T], sort_by: str, words: W | None = None) -> list[T]:
        """The items, by this column: numbers as numbers, also within a text, names as they are shown in `words`, and
        what is empty last. As they are if `sort_by` is empty."""
        if not sort_by:
            return list(items)
        column = self.column(sort_by)

        def key(item: T) -> tuple[bool, list[str | int]]:
            wording = words if words is not None and column.short is by_name else self.exact
            text = column.text(item, wording, brief=wording is not self.exact)
            return not text, [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)]

        return sorted(items, key=key)

    def rows(self, items: Iterable[T]) -> list[list[str]]:
        """The names of all columns, then the exact cells of each item."""
        names = [column.name for column in self.columns]
        return [names, *([column.text(item, self.exact) for column in self.columns] for item in items)]


def print_table(
    table: Table[A, W], items: Iterable[A], words: W, form: TableForm = TableForm.TABLE, sort_by: str = ""
) -> None:
    """Print the table that a command is about: as `draw` does on a terminal, there in a pager if it is long. In a pipe
    or a file it is tab-separated values under a line with the names of all columns. JSON and CSV have every field of
    the items. Where there is none, stderr says so, and where it was looked for."""
    ordered_items = table.ordered(items, sort_by, words)
    if form is TableForm.JSON:
        for item in ordered_items:
            print_answer(item)
    elif form is TableForm.CSV:
        names = table.answer.__struct_encode_fields__
        print_csv([names, *([_field(value) for value in msgspec.structs.astuple(item)] for item in ordered_items)])
    elif not sys.stdout.isatty():
        print_tsv(table.rows(ordered_items))
    elif ordered_items:
        with paged():
            draw(console(), table, ordered_items, words, wide=form is TableForm.WIDE)
    if not ordered_items:
        say_none(table.empty_message)


def draw(
    out: Console, table: Table[T, W], items: Iterable[T], words: W, *, wide: bool = False, above: Sequence[str] = ()
) -> tuple[str, ...]:
    """Print one line an item for people, under the names of the columns, which are returned; not again if those are
    `above`.

    If lines would be longer than the terminal, cells that may be shortened are, those of the widest column first; then
    columns are left out, and a line says which; then any cell is cut; at last each has a line of its own. `wide` has
    all columns, and shortens none.
    """
    items = list(items)
    room = sys.maxsize if wide or not sys.stdout.isatty() else out.width
    candidates = [column for column in table.columns if wide or not column.wide]
    cells = {
        column.name: [visible_line(column.text(item, words, brief=not wide)) for item in items] for column in candidates
    }
    columns = [column for column in candidates if wide or not column.if_any or any(cells[column.name])]
    omitted = _omitted(columns, cells, room)
    columns = [column for column in columns if column.name not in omitted]
    names = tuple(column.name for column in columns)
    rows = [[cells[name][place] for name in names] for place in range(len(items))]
    _print_lines(out, columns, rows, room, heading=names != tuple(above))
    if omitted and names != tuple(above):
        text = f"left out at {room} columns: {', '.join(omitted)}; -o wide prints all"
        out.print(Text(text if cell_len(text) <= room else "-o wide prints all columns", style="dim"))
    return names


def describe(out: Console, table: Table[T, W], items: Iterable[T], words: W) -> None:
    """Print all that a table has of each item, a line a cell, for people who ask about few."""
    width = max(len(column.name) for column in table.columns)
    lines = []
    for item in items:
        cells = [(column.name, column.text(item, words)) for column in table.columns]
        lines += ["", *(f"  [dim]{name:{width}}[/dim]  {escape(visible(text))}" for name, text in cells if text)]
    out.print("\n".join([*lines, ""]))


def print_list(out: Console, title: str, texts: Collection[str], *, wide: bool = False) -> None:
    """Print `title: a, b, …` on one line: on a terminal as many as fit there, and how many they are if not all do,
    unless it is `wide`."""
    line = f"{title}: {', '.join(map(visible_line, texts)) or 'none'}"
    room = sys.maxsize if wide or not sys.stdout.isatty() else out.width
    if cell_len(line) > room:
        line = by_words(line.replace(title, f"{title} ({len(texts)})", 1), room)
    out.print(escape(line))


def draw_table(out: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a titled table of whole cells, as a part of a text for people."""
    out.print(f"[bold]{escape(title)}[/bold]")
    table_columns: list[Column[Any, Any]] = [Column(name) for name in columns]
    _print_lines(out, table_columns, [[str(cell) for cell in row] for row in rows], sys.maxsize)


def _print_lines(
    out: Console, columns: Sequence[Column[T, W]], rows: Iterable[Sequence[str]], room: int, *, heading: bool = True
) -> None:
    cells = [[visible_line(text) for text in row] for row in rows]
    widths = _widths(columns, cells, room)
    if sum(widths) + GAP * (len(widths) - 1) > room:
        _print_upright(out, columns, cells, room)
        return
    lines: list[Text] = []
    for row in [[header.name for header in columns], *cells]:
        line = Text(style="" if lines else "dim")
        for column, cell, width in zip(columns, row, widths, strict=True):
            text = _cut(column.short(cell, width) if column.short and lines else cell, width)
            line.append(text, column.colours.get(text)).append(" " * (width + GAP - cell_len(text)))
        line.rstrip()
        lines.append(line)
    out.print(Text("\n").join(lines[not heading :]))  # one print for all: each of them is slow


def _print_upright(out: Console, columns: Sequence[Column[T, W]], cells: Sequence[Sequence[str]], room: int) -> None:
    """Print a line a cell, under an empty line for each row, where the terminal has no room for a row."""
    names = max(len(column.name) for column in columns)
    lines: list[Text] = []
    for row in cells:
        lines.append(Text())
        for column, cell in zip(columns, row, strict=True):
            if cell:
                text = _cut(column.short(cell, room - names - GAP) if column.short else cell, room - names - GAP)
                lines.append(Text(f"{column.name:{names + GAP}}", "dim").append(text, column.colours.get(text)))
    out.print(Text("\n").join(lines), soft_wrap=True)


def visible_line(text: str) -> str:
    """The text on one line, as `visible` has it."""
    return visible(text).replace("\n", " ")


def _omitted(columns: Sequence[Column[T, W]], cells: Mapping[str, Sequence[str]], room: int) -> list[str]:
    """The names of the columns without which the others have room, where their cells stay legible."""
    widths = {
        column.name: max(map(cell_len, [column.name, *(_legible(column, text) for text in cells[column.name])]))
        for column in columns
    }
    names = []
    for column in sorted((column for column in columns if column.dispensable), key=lambda c: -c.dispensable):
        if sum(widths.values()) + GAP * (len(widths) - 1) > room:
            del widths[column.name]
            names.append(column.name)
    return names


def _legible(column: Column[T, W], text: str) -> str:
    """The text as short as it should be while there are columns to leave out: an id is whole."""
    return _cut_words(column, column.short(text, LEGIBLE)) if column.short else text


def _cut_words(column: Column[T, W], text: str) -> str:
    """A long word of a text is cut before a name or an id is."""
    return _cut(text, LEGIBLE) if column.short is by_words else text


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"


def by_name(text: str, width: int) -> str:
    """`a-long-na…@account`: a name shortened to this width, but not below six characters, ten of one without an
    account. An id or an address stays whole."""
    head, at, tail = text.partition("@")
    keep = max(6 if at else 10, width - 1 - cell_len(at + tail))
    if cell_len(text) <= width or cell_len(head) <= keep or _WHOLE.match(text):
        return text
    return set_cell_size(head, keep).rstrip() + "…" + at + tail


def by_words(text: str, width: int) -> str:
    """As many of the words, ports, or values of a list as fit, at least one, then `…`. None of them is cut."""
    pieces = [text] if cell_len(text) <= width else re.split(r"(?<=[ ,+])", text)
    count = len(pieces)
    while count > 1 and cell_len("".join(pieces[:count])) + 1 > width:
        count -= 1
    return "".join(pieces[:count]) + "…" * (count < len(pieces))


_WHOLE = re.compile(r"(?:sgr?|i|pl)-[0-9a-z]+(?:@|$)|[\d.]+(?:/\d+)?$")


def _widths(columns: Sequence[Column[T, W]], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """How wide each column is, so that a line has room, if that can be."""
    names = [column.name for column in columns]
    widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
    least = {
        place: max(cell_len(column.name), *(cell_len(_cut_words(column, column.short(row[place], 0))) for row in cells))
        for place, column in enumerate(columns)
        if column.short and cells
    }
    for _ in range(sum(widths) + GAP * (len(widths) - 1) - room):
        if wide := [place for place in least if widths[place] > least[place]]:
            widths[max(wide, key=widths.__getitem__)] -= 1
            continue
        if cut := [place for place, width in enumerate(widths) if width > LEAST]:  # an id, where it has no room
            widths[max(reversed(cut), key=widths.__getitem__)] -= (
                1  # of equal ones the last: what comes first says more
            )
    return widths


def _field(value: Any) -> str:
    """A value in one cell."""
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    return "" if value is None or value is msgspec.UNSET else str(value)


_FORMULA = re.compile(r"""(^|[;\n])((?:[^\S\n]|")*)(?=[=+@\-\u2212\ufe62\ufe63\ufe66\ufe6b\uff0b\uff0d\uff1d\uff20])""")
"""Where a spreadsheet may begin to read a formula: at the start of a cell, behind spaces, with a sign of its own width
in East Asian locales; and behind what ends a cell where `;` separates cells, since there a quote within a line quotes
nothing."""

_CONTROL = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def print_csv(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as CSV and flush, as `write_csv` writes them."""
    write_csv(sys.stdout, rows)
    sys.stdout.flush()


def write_csv(out: TextIO, rows: Iterable[Sequence[str]]) -> None:
    """Write rows as CSV. Control characters, and those that turn text around, are escaped, and what a spreadsheet could
    take for a formula gets an apostrophe before it."""
    csv.writer(out, lineterminator="\n").writerows([_literal(cell) for cell in row] for row in rows)


def print_tsv(rows: Sequence[Sequence[str]]) -> None:
    r"""Print each row on one line, its cells separated by tabs, and flush. In cells, a tab, an end of a line and a backslash are
    escaped (`\t`, `\n`, `\\`), other control characters and those that turn text around as `\x1b`."""  # noqa: W505
    sys.stdout.writelines("\t".join(_CONTROL.sub(_escaped, cell) for cell in row) + "\n" for row in rows)
    sys.stdout.flush()


def _literal(text: str) -> str:
    return _FORMULA.sub(r"\1'\2", visible(text))


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
