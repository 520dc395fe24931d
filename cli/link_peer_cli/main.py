"""The command line `link-peer`. One command a file; each imports what is heavy only when it runs."""

from __future__ import annotations

import sys

import typer
from link_peer.domain.errors import BadInput, LinkPeerError
from rich.markup import escape
from typer.exceptions import TyperException

from link_peer_cli.commands import audit, demo, doctor, invoke, local, plan, request, stale, sweep, verify
from link_peer_cli.commands import map as picture
from link_peer_cli.io.console import Exit, console, show

app = typer.Typer(
    name="link-peer",
    help="Opens the internal network between Alibaba Cloud ECS instances, safely and by itself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    local.local,
    demo.demo,
    plan.plan,
    request.request,
    audit.audit,
    sweep.sweep,
    stale.stale,
    verify.verify,
    doctor.doctor,
    invoke.invoke,
    invoke.failed,
    invoke.replay,
)
for command in COMMANDS:
    app.command()(command)
app.command("map")(picture.picture)


def main(args: list[str] | None = None) -> None:
    """Runs one command. Leaves by SystemExit: 0 done, 1 denied or failed, 2 usage. What went wrong is on stderr, as JSON
    with `--json`."""
    args = sys.argv[1:] if args is None else args
    as_json = "--json" in args
    try:
        code = app(args=args, prog_name="link-peer", standalone_mode=not as_json)
    except TyperException as error:  # typer shows it itself, unless JSON is asked for
        code, problem = error.exit_code, error.format_message()
    except LinkPeerError as error:
        code, problem = Exit.USAGE if isinstance(error, BadInput) else Exit.REFUSED, str(error)
    else:
        sys.exit(code or Exit.DONE)
    if as_json:
        show({"error": problem}, stderr=True)
    else:
        console(stderr=True).print(f"[red]{escape(problem)}[/red]", soft_wrap=True)
    sys.exit(code)
