"""CSV that a spreadsheet can open safely."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the start of a formula, in a cell."""


def print_csv(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as CSV and flush. A cell that a spreadsheet would take for a formula gets a quote before it."""
    csv.writer(sys.stdout, lineterminator="\n").writerows([_literal(cell) for cell in row] for row in rows)
    sys.stdout.flush()


def _literal(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
