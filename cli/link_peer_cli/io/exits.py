"""How a command ends: the exit code, and the error message on stderr."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import NoReturn

from link_peer.domain.errors import BadInput, LinkPeerError
from rich.markup import escape
from typer import Typer
from typer.exceptions import TyperException

from link_peer_cli.io.console import console, print_json


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    REFUSED = 1  # denied or failed
    USAGE = 2
    CHANGES = 2  # with --detailed-exitcode, as terraform has it: nothing failed, and something would change


def run(app: Typer, args: list[str]) -> NoReturn:
    """Run one command and exit with its code. With `--json`, errors are JSON on stderr too.

    Where the reader of stdout has ended (`link-peer links | head`), typer exits with 1.
    """
    as_json = "--json" in args
    try:
        code = app(args=args, prog_name="link-peer", standalone_mode=not as_json)
    except TyperException as error:  # only with --json; otherwise typer prints the error itself and exits
        code, problem = error.exit_code, error.format_message()
    except LinkPeerError as error:
        code, problem = Exit.USAGE if isinstance(error, BadInput) else Exit.REFUSED, str(error)
    else:
        sys.exit(code or Exit.DONE)
    if as_json:
        print_json({"error": problem}, stderr=True)
    else:
        from link_peer.runtime.audit import clean

        lines = map(escape, map(clean, problem.split("\n")))  # it may quote what somebody else wrote
        console(stderr=True).print("[red]" + "\n".join(lines) + "[/red]", soft_wrap=True)
    sys.exit(code)
