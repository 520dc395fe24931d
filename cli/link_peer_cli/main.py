"""The `link-peer` command. This module only registers the commands; each lives in its own file in `commands/`.

Command modules import the SDKs and the engine inside the command, so that `--help` starts quickly.
"""

from __future__ import annotations

import sys
from typing import Annotated, NoReturn

import typer

from link_peer_cli.access import keys
from link_peer_cli.commands import (
    account,
    account_remove,
    adopt,
    apply,
    audit,
    check,
    close,
    consent,
    demo,
    doctor,
    explain,
    failed,
    init,
    invoke,
    links,
    local,
    package,
    plan,
    reopen,
    replay,
    request,
    selftest,
    setup,
    stale,
    sweep,
    verify,
)
from link_peer_cli.commands import map as map_command
from link_peer_cli.commands import test as test_command
from link_peer_cli.commands import version as version_command
from link_peer_cli.ui.exits import run
from link_peer_cli.ui.options import Command

app = typer.Typer(
    name="link-peer",
    help="Open the internal network between Alibaba Cloud ECS instances, safely and automatically.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"link-peer {version('link-peer')}")
        raise typer.Exit


def _choose(ctx: typer.Context, param: typer.CallbackParam, value: str) -> None:
    """Note `--profile` or `--region`. What is given after the command beats what is given before it."""
    if value or ctx.parent is None:
        keys.CHOSEN[param.opts[0].lstrip("-")] = value


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    _profile: Annotated[
        str,
        typer.Option(
            "--profile",
            help="Use the keys and the region of this profile of the `aliyun` CLI.",
            callback=_choose,
            expose_value=False,
        ),
    ] = "",
    _region: Annotated[
        str,
        typer.Option(
            "--region",
            help="Work in this region. Default: LINK_PEER_REGION, else the region of the profile.",
            callback=_choose,
            expose_value=False,
        ),
    ] = "",
) -> None:
    """Options of `link-peer` itself."""


COMMANDS = (
    init.init,
    setup.setup,
    local.local,
    demo.demo,
    plan.plan,
    apply.apply,
    request.request,
    explain.explain,
    links.links,
    consent.accept,
    consent.withdraw,
    adopt.adopt,
    close.close,
    reopen.reopen,
    audit.audit,
    sweep.sweep,
    stale.stale,
    verify.verify,
    doctor.doctor,
    invoke.invoke,
    failed.failed,
    replay.replay,
    selftest.selftest,
    check.check,
    package.package,
    version_command.version,
)
for command in COMMANDS:
    app.command()(command)
app.command("map")(map_command.draw_map)
app.command("test")(test_command.run_tests)
account.app.command("remove")(account_remove.remove)
app.add_typer(account.app, name="account")
for info in [*app.registered_commands, *account.app.registered_commands]:
    info.cls = Command


def main(args: list[str] | None = None) -> NoReturn:
    """Run one command with these arguments (default: the process's own) and exit.

    Raises SystemExit: 0 done, 1 denied or failed, 2 usage, 130 Ctrl-C, 143 SIGTERM. Errors are printed on stderr, as JSON with
    `--json`.
    """
    run(app, sys.argv[1:] if args is None else args)
