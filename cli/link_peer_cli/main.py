"""The `link-peer` command: a table of its commands, each of which lives in a file of its own in `commands/`.

The file of a command is imported when it is called, so that it may import at its top whatever it works with, and help and
completion start quickly all the same.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from link_peer_cli.access import keys
from link_peer_cli.ui.exits import Ended, run
from link_peer_cli.ui.options import Command


class CommandRow(NamedTuple):
    """A command: its name, as it is typed; what it does, in one line; and the file in `commands/` and the function there, where
    they are not named like it."""

    name: str
    help: str
    place: str = ""

    @property
    def file(self) -> str:
        """The file in `commands/`."""
        return self.place.partition(":")[0] or self.name

    @property
    def function(self) -> str:
        """The function there."""
        return self.place.partition(":")[2] or self.name


TABLE = {
    "Links": (
        CommandRow("request", "Ask for links: judge a request, and put it on the queue."),
        CommandRow("accept", "Let others reach a group: write its accept tag.", "consent:accept"),
        CommandRow("withdraw", "Take an entry off a group's accept tags.", "consent:withdraw"),
        CommandRow("adopt", "Turn a rule that a person made into a link."),
        CommandRow("links", "List existing links: who, since when, until when, why."),
        CommandRow("explain", "Say whether packets from A reach B, what decides, what to do."),
        CommandRow("verify", "Test with packets whether one instance reaches another."),
        CommandRow("map", "Draw who may reach whom.", "map:draw_map"),
    ),
    "Changes": (
        CommandRow("plan", "Preview what would change. Changes nothing."),
        CommandRow("apply", "Make exactly the changes of a saved plan."),
        CommandRow("sweep", "Reconcile all rules with tags, requests and consent."),
        CommandRow("stale", "List what the sweep would remove, and consent without use."),
        CommandRow("close", "Lock groups, and remove link-peer's rules from them now."),
        CommandRow("reopen", "Take off the locks that `close` set."),
    ),
    "Deployment": (
        CommandRow("init", "Write the files of a new deployment."),
        CommandRow("setup", "Create or update its roles, queues, logs and alerts."),
        CommandRow("package", "Build the code of the functions."),
        CommandRow("account add", "Let an account take part: its roles, its lines of the policy.", "account_add:add"),
        CommandRow("account list", "List the accounts, and whether each can be entered.", "account_list:list_accounts"),
        CommandRow("account remove", "Close every link of an account, and take it out.", "account_remove:remove"),
        CommandRow("check", "Check policy files and their own tests, offline."),
        CommandRow("test", "Judge the policy's tests on what the cloud says now.", "test:run_tests"),
        CommandRow("doctor", "Check what is deployed, the access, and the requested links."),
    ),
    "Operation": (
        CommandRow("audit", "Read the audit log: what was decided, who asked, why."),
        CommandRow("invoke", "Invoke a deployed function with an event."),
        CommandRow("failed", "List failed invocations, and dead letters."),
        CommandRow("replay", "Invoke functions again with the events that failed.", "invoke:replay"),
        CommandRow("selftest", "Answer the open questions about the real cloud."),
    ),
    "Trying it out": (
        CommandRow("local", "Run a local Alibaba Cloud until Ctrl-C."),
        CommandRow("demo", "Run the main scenarios on a local cloud."),
        CommandRow("version", "Print the versions, for a bug report."),
    ),
}
"""Every command, in the sections of `link-peer --help`."""

GROUPS = {"account": "Let an account take part, list the accounts, or close one."}
"""What the commands are for whose names begin with the same word."""

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class _Listed(TyperCommand):
    """A command as help lists it. What runs is the command that its row names, which is imported then."""

    def __init__(self, row: CommandRow, section: str) -> None:
        super().__init__(row.name.split()[-1], help=row.help, rich_help_panel=section)
        self._row = row

    @functools.cached_property
    def loaded(self) -> Any:
        """The command itself. Raises Ended where a signal stops the import."""
        made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=HELP_OPTIONS)
        try:
            module = import_module(f"link_peer_cli.commands.{self._row.file}")
        except KeyboardInterrupt as error:
            raise Ended(error) from error
        made.command(self.name, cls=Command)(getattr(module, self._row.function))
        return typer.main.get_command(made)

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which is then invoked, or asked by the shell what to complete."""
        return self.loaded.make_context(info_name, args, parent, **extra)


class Commands(TyperGroup):
    """The commands of the table."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for section, rows in TABLE.items():
            for row in rows:
                group, _, name = row.name.rpartition(" ")
                if group:
                    self._group(group, section).add_command(_Listed(row, "Commands"))
                else:
                    self.add_command(_Listed(row, section), name)

    def _group(self, name: str, section: str) -> TyperGroup:
        """The group of commands whose names begin with this word."""
        if name not in self.commands:
            self.add_command(
                TyperGroup(
                    name=name,
                    help=GROUPS[name],
                    no_args_is_help=True,
                    context_settings=HELP_OPTIONS,
                    rich_help_panel=section,
                )
            )
        return self.commands[name]  # type: ignore[return-value]


app = typer.Typer(
    name="link-peer",
    cls=Commands,
    help="Open the internal network between Alibaba Cloud ECS instances, safely and automatically.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # it takes longer to import than help to print

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


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, with its parameters and its help; imports all of them. For the reference, and for tests."""
    group: Any = typer.main.get_command(app)
    for row in (row for rows in TABLE.values() for row in rows):
        one = group
        for word in row.name.split():
            one = one.commands[word]
        yield row.name, one.loaded


def main(args: list[str] | None = None) -> NoReturn:
    """Run one command with these arguments (default: the process's own) and exit.

    Raises SystemExit: 0 done, 1 denied or failed, 2 usage, 130 Ctrl-C, 143 SIGTERM. Errors are printed on stderr, as JSON with
    `--json`.
    """
    run(app, sys.argv[1:] if args is None else args)
