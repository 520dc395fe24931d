"""The command line `link-peer`. One command a file; each imports what is heavy only when it runs."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from cli import audit, demo, doctor, invoke, local, picture, plan, request, stale, sweep, verify
from cli.console import Exit, console
from shared.errors import BadInput, LinkPeerError

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
    """Runs one command. Leaves by SystemExit: 0 done, 1 denied or failed, 2 usage."""
    try:
        app(args=args, prog_name="link-peer")
    except BadInput as error:
        console(stderr=True).print(f"[red]{escape(str(error))}[/red]")
        sys.exit(Exit.USAGE)
    except LinkPeerError as error:
        console(stderr=True).print(f"[red]{escape(str(error))}[/red]")
        sys.exit(Exit.REFUSED)
