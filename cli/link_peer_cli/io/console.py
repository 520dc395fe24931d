"""Where commands print: a console for people, JSON lines for programs."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

PLAIN_WIDTH = 150  # columns when the width is unknown: a file, a pipe, a build log


class _Console(Console):
    """A console on which texts of other people, such as descriptions and tags, cannot move the cursor or turn text around."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As `Console.render_str`, through which everything that is printed as a str comes, also in tables."""
        return super().render_str(visible(text), **options)


def visible(text: str) -> str:
    """The same text, its lines without control, direction and invisible characters: these are shown as `\\u001b`."""
    if text.isprintable():
        return text
    from link_peer.runtime.audit import clean

    return "\n".join(clean(line, None) for line in text.split("\n"))


def console(*, stderr: bool = False) -> Console:
    """Return a console for the current stdout or stderr.

    It is created on every call because tests and pipes replace the streams.
    """
    made = _Console(stderr=stderr, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PLAIN_WIDTH
    return made


def print_json(value: Any, *, stderr: bool = False) -> None:
    """Print one JSON document on one line and flush it. What a terminal would not show as a character is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(text, file=sys.stderr if stderr else sys.stdout, flush=True)
