"""Where commands print: a console for people, JSON lines for programs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TextIO

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.tags import clean, parse_instant
from link_peer.runtime.ports import Record
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from link_peer_cli.answers import CommandAnswer
from link_peer_cli.ui.changes import CHANGES

STREAMS = ("stdout", "stderr")
PLAIN_WIDTH = 150  # columns when the width is unknown: a file, a pipe, a build log


class _Console(Console):
    """A console on which texts of other people, such as descriptions and tags, cannot move the cursor or turn text
    around."""

    def render_str(self, text: str, **options: Any) -> Text:
        """As `Console.render_str`, through which everything that is printed as a str comes, also in tables."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """Raise the error, as every other stream does. Rich would end the process, whatever it is doing."""
        raise  # noqa: PLE0704  # rich calls this while it handles the error


def visible(text: str) -> str:
    """The same text, its lines without control, direction and invisible characters: these are shown as `\\u001b`."""
    if text.isprintable():
        return text
    return "\n".join(clean(line, None) for line in text.split("\n"))


def console(*, stderr: bool = False) -> Console:
    """Return a console for the current stdout or stderr, which breaks no line: a terminal does, and a file keeps it
    whole.

    It is created on every call because tests and pipes replace the streams.
    """
    new_console = _Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)
    if not new_console.is_terminal and "COLUMNS" not in os.environ:
        new_console.width = PLAIN_WIDTH
    return new_console


def number(count: int, noun: str) -> str:
    """`1 rule`, `2 rules`."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def when(instant: str, *, seconds: bool = False) -> str:
    """`2026-11-28 18:30 +08:00` for an RFC 3339 instant, on a terminal, in the zone of TZ or of the machine; elsewhere,
    and where the text is none or has no local time, the text as it is."""
    if not sys.stdout.isatty():
        return instant
    try:
        local = datetime.fromtimestamp(parse_instant(instant)).astimezone()
    except (BadInput, ValueError, OverflowError, OSError):
        return instant
    text = local.isoformat(" ", "seconds")
    return f"{text[: 19 if seconds else 16]} {text[19:]}"


def warn(texts: Iterable[str]) -> None:
    """Print what a person should know on stderr, in a line each; empty texts are left out."""
    for text in filter(None, texts):
        CHANGES.printed(text)
        console(stderr=True).print(f"[yellow]{escape(text)}[/yellow]")


def may_ask(action: str, *, as_json: bool) -> None:
    """Raise BadInput where nobody can answer a question, for a command that asks before it does `action`."""
    if as_json or not sys.stdin.isatty():
        raise BadInput("--yes", f"it would ask before it {action}: give --yes, or --dry-run to see what")


def print_answer(answer: CommandAnswer | Record, *, stderr: bool = False) -> None:
    """Print an answer as JSON on one line and flush it. What a terminal would not show as a character is escaped."""
    stream = sys.stderr if stderr else sys.stdout
    text = json.dumps(msgspec.to_builtins(answer), ensure_ascii=not _is_utf8(stream))
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
    print(text, file=stream, flush=True)


def print_document(text: str) -> None:
    """Print a document of a format that is UTF-8, whatever the encoding of stdout."""
    if _is_utf8(sys.stdout):
        print(text, end="")
    else:
        sys.stdout.buffer.write(text.encode())


def prepare_streams() -> None:
    """Let every character be printed: what the encoding of a stream lacks is escaped. A stream that was closed takes,
    or gives, nothing. Errors of a stream have its name (STREAMS) as their `filename`.

    In the locale C, the error handler of stdout is `surrogateescape`, which prints bytes of arguments as they were and
    refuses every other character that ASCII lacks. [doc sys.stdout]
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115  # until the process ends
    for name in STREAMS:
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            if stream.errors in ("strict", "surrogateescape"):
                stream.reconfigure(errors="backslashreplace")
            for method in ("write", "flush"):
                if method not in vars(stream):  # tests run several commands with one stream
                    setattr(stream, method, _naming(getattr(stream, method), name))


def _naming(method: Callable[..., Any], name: str) -> Callable[..., Any]:
    def naming_errors(*args: Any) -> Any:
        try:
            return method(*args)
        except OSError as error:
            error.filename = name
            raise

    return naming_errors


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "utf-8").lower().startswith("utf")
