"""Values for other programs: CSV that a spreadsheet can open safely, and tab-separated lines for a shell."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence

from link_peer_cli.ui.console import visible

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula, in a cell."""

_CONTROL = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def print_csv(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as CSV and flush. A cell that a spreadsheet would take for a formula gets a quote before it; control
    characters, and those that turn text around, are escaped."""
    csv.writer(sys.stdout, lineterminator="\n").writerows([_literal(cell) for cell in row] for row in rows)
    sys.stdout.flush()


def print_tsv(rows: Sequence[Sequence[str]]) -> None:
    r"""Print each row on one line, its cells separated by tabs, and flush. In cells, a tab, an end of a line and a backslash are
    escaped (`\t`, `\n`, `\\`), other control characters and those that turn text around as `\x1b`."""
    sys.stdout.writelines("\t".join(_CONTROL.sub(_escaped, cell) for cell in row) + "\n" for row in rows)
    sys.stdout.flush()


def _literal(text: str) -> str:
    return f"'{visible(text)}" if text.startswith(FORMULA) else visible(text)


def _escaped(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]
