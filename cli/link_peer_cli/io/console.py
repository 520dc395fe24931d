"""Where commands print: a console for people, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console

PLAIN_WIDTH = 150  # columns when the width is unknown: a file, a pipe, a build log


def console(*, stderr: bool = False) -> Console:
    """Return a console for the current stdout or stderr.

    It is created on every call because tests and pipes replace the streams.
    """
    made = Console(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PLAIN_WIDTH
    return made


def print_json(value: Any, *, stderr: bool = False) -> None:
    """Print one JSON document on one line and flush it."""
    print(json.dumps(value, ensure_ascii=False), file=sys.stderr if stderr else sys.stdout, flush=True)
