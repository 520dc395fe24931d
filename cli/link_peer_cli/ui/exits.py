"""How a command ends: the exit code, and the error message on stderr."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from enum import IntEnum
from typing import NoReturn, TextIO

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import clean
from rich.markup import escape
from typer import Abort, Typer
from typer.exceptions import TyperException

from link_peer_cli.answers import CommandFailed
from link_peer_cli.ui import looked
from link_peer_cli.ui.changes import CHANGES, STOPPED, lines
from link_peer_cli.ui.console import STREAMS, console, prepare_streams, print_answer, warn
from link_peer_cli.ui.remedies import message


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    REFUSED = 1  # denied or failed
    USAGE = 2
    TENANTS = 3  # of `doctor --tenants`
    UNPROVEN = 3  # of `audit --verify` and `--evidence`: no finding, and something that no witness tells
    CHANGES = 2  # with --detailed-exitcode, as terraform has it: nothing failed, and something would change


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


class Ended(LinkPeerError):
    """A command ended before its work was done, because of a signal, a file or a stream. Without a
    message where the reader of stdout has ended (`link-peer links | head`) and nothing was changed."""

    def __init__(self, cause: OSError | KeyboardInterrupt) -> None:
        self.exit_code = 1 if isinstance(cause, OSError) else 143 if isinstance(cause, Terminated) else 130
        text = _words(cause)
        if not CHANGES.by_state():
            stopped = "; ".join(filter(None, [f"{text}: nothing was changed", looked.FACTS["gap"]]))
            text = stopped if self.exit_code > 1 else "" if _is_pipe(cause) else text
        super().__init__(text)


def _words(cause: OSError | KeyboardInterrupt) -> str:
    if isinstance(cause, KeyboardInterrupt):
        return f"stopped by {'SIGTERM' if isinstance(cause, Terminated) else 'Ctrl-C'}"
    if cause.filename in STREAMS:
        return f"{cause.filename} cannot be written: {cause.strerror}"
    return f"{cause.filename or type(cause).__name__}: {cause.strerror or 'failed'}"


def _is_pipe(cause: BaseException) -> bool:
    return isinstance(cause, BrokenPipeError) and cause.filename in STREAMS


def run(app: Typer, args: list[str]) -> NoReturn:
    """Run one command and exit with its code. With `--json` or `-o json`, errors are JSON on stderr too."""
    pairs = {*itertools.pairwise(args)}
    as_json = bool({"--json", "-ojson", "--output=json"} & {*args} or {("-o", "json"), ("--output", "json")} & pairs)
    prepare_streams()
    CHANGES.clear()
    looked.clear(args)
    with _stoppable():
        code, problem = _outcome(app, args, as_json=as_json)
    if (unwritten := _flush(sys.stdout)) and not problem:
        code, problem = code or Exit.REFUSED, str(Ended(unwritten))
    CHANGES.printed(problem)
    notes = CHANGES.notes if code == Exit.REFUSED else []
    with contextlib.suppress(OSError):
        if problem:
            _say("\n".join([problem, *notes]), as_json=as_json)
        else:
            warn(notes)
    _flush(sys.stderr)
    sys.exit(code)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Stop at Ctrl-C and at SIGTERM, unless they are ignored or handled already, or this is not the main thread."""

    def stop(number: int, _frame: object) -> NoReturn:
        STOPPED.set()
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    STOPPED.clear()
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    mine = threading.current_thread() is threading.main_thread()
    ours = {number: was for number, was in usual.items() if mine and signal.getsignal(number) is was}
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, was in ours.items():
            signal.signal(number, was)


def _outcome(app: Typer, args: list[str], *, as_json: bool) -> tuple[int, str]:
    """Run a command. Returns its exit code, and its error message where there is something more to print."""
    try:
        return app(args=args, prog_name="link-peer", standalone_mode=False) or Exit.DONE, ""
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.DONE, ""
    except TyperException as error:
        return error.exit_code, _usage(error, as_json=as_json)
    except Ended as error:
        return error.exit_code, str(error)
    except LinkPeerError as error:
        return Exit.USAGE if isinstance(error, BadInput) else Exit.REFUSED, message(error, between="\n")
    except (Abort, OSError) as error:  # of typer: the answer to a question was no; help cannot be printed
        return Exit.REFUSED, str(Ended(error)) if isinstance(error, OSError) else "Aborted."


def _usage(error: TyperException, *, as_json: bool) -> str:
    """What is wrong with the arguments, and a line on where their help is. Nothing where the help was printed
    instead."""
    near = getattr(error, "possibilities", None)  # options, the nearest first
    problem = f"{error.message}. Did you mean {near[0]}?" if near else error.format_message()
    problem = re.sub(
        r"Value error, |, unable to parse .*", "", re.sub(r"\s+", " ", problem).strip()
    )  # of the library under typer
    context = getattr(error, "ctx", None)
    return f"{problem}\nsee `{context.command_path} --help`" if problem and context and not as_json else problem


def _say(problem: str, *, as_json: bool) -> None:
    """Print an error, and the changes that were made or begun before it."""
    changes = CHANGES.by_state()
    if as_json:
        fields = {**changes, "then": CHANGES.then} if changes else {}
        print_answer(msgspec.convert({"error": problem, **fields}, CommandFailed), stderr=True)
        return
    parts = [problem, *lines(changes), *([CHANGES.then] if changes else [])]
    text = "\n".join(escape(clean(line)) for part in parts for line in part.split("\n"))  # others wrote some of it
    console(stderr=True).print(f"[red]{text}[/red]")


def _flush(stream: TextIO) -> OSError | None:
    """Write what is left in the buffer. Returns why that cannot be done; then nothing is tried again when Python ends,
    with a message of its own [doc signal, "Note on SIGPIPE"]."""
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # a stream of a test may be no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
