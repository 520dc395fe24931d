"""How a command ends: the exit code, and the error message on stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from enum import IntEnum
from typing import NoReturn, TextIO

from link_peer.domain.errors import BadInput, LinkPeerError
from rich.markup import escape
from typer import Typer
from typer.exceptions import TyperException

from link_peer_cli.io.console import console, prepare_streams, print_json


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    REFUSED = 1  # denied or failed
    USAGE = 2
    CHANGES = 2  # with --detailed-exitcode, as terraform has it: nothing failed, and something would change


class Ended(LinkPeerError):
    """A command ended before its work was done, because of a file or a stream. Without a message where the reader of stdout
    has ended (`link-peer links | head`)."""

    def __init__(self, cause: OSError) -> None:
        if cause.filename is None and cause.errno in _OF_STREAMS:  # the files that a command writes are named: io.files
            where = "stdout cannot be written"
        else:
            where = str(cause.filename or type(cause).__name__)
        super().__init__("" if cause.errno == errno.EPIPE else f"{where}: {cause.strerror or 'failed'}")


_OF_STREAMS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF, errno.EPIPE)


def run(app: Typer, args: list[str]) -> NoReturn:
    """Run one command and exit with its code. With `--json`, errors are JSON on stderr too."""
    as_json = "--json" in args
    prepare_streams()
    code, problem = _outcome(app, args, as_json=as_json)
    if (unwritten := _flush(sys.stdout)) and not problem:
        code, problem = code or Exit.REFUSED, str(Ended(unwritten))
    with contextlib.suppress(OSError):
        if problem:
            _say(problem, as_json=as_json)
    _flush(sys.stderr)
    sys.exit(code)


def _outcome(app: Typer, args: list[str], *, as_json: bool) -> tuple[int, str]:
    """Run a command. Returns its exit code, and its error message where typer has not printed it."""
    try:
        return app(args=args, prog_name="link-peer", standalone_mode=not as_json) or Exit.DONE, ""
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.DONE, ""
    except TyperException as error:  # only with --json; otherwise typer prints the error itself and exits
        return error.exit_code, error.format_message()
    except LinkPeerError as error:
        return Exit.USAGE if isinstance(error, BadInput) else Exit.REFUSED, str(error)
    except OSError as error:
        return Exit.REFUSED, str(Ended(error))


def _say(problem: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": problem}, stderr=True)
        return
    from link_peer.runtime.audit import clean

    lines = map(escape, map(clean, problem.split("\n")))  # it may quote what somebody else wrote
    console(stderr=True).print("[red]" + "\n".join(lines) + "[/red]", soft_wrap=True)


def _flush(stream: TextIO) -> OSError | None:
    """Write what is left in the buffer. Returns why that cannot be done; then nothing is tried again when Python ends, with a
    message of its own [doc signal, "Note on SIGPIPE"]."""
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError):  # a stream of a test may be no file
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
