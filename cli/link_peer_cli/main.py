"""The `link-peer` command: a table of its commands, each of which lives in a file of its own in `commands/`.

The file of a command is imported when it is called, so that it may import at its top whatever it works with, and help
and completion start quickly all the same.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer._click.shell_completion import CompletionItem
from typer.core import TyperCommand, TyperGroup

from link_peer_cli.access import completion, identity, instant, keys, late_parts
from link_peer_cli.ui.console import print_answer
from link_peer_cli.ui.exits import Ended, run
from link_peer_cli.ui.options import Command, Converting


class CommandRow:
    """A command: its name, as it is typed; what it does, in one line; what follows the name in the examples that end
    its help; and the file in `commands/` and the function there, where they are not named like it."""

    def __init__(self, name: str, summary: str, *arguments: str, place: str = "") -> None:
        self.name, self.summary = name, summary
        file, _, function = place.partition(":")
        self.file = file or name.replace(" ", "_")
        self.function = function or name.rpartition(" ")[2]
        self.examples = [f"link-peer {name} {argument}".strip() for argument in arguments]


TABLE = {
    "See": (
        CommandRow("who", "List every source that can reach a group or an instance.", "sg-db --port tcp/3306"),
        CommandRow("explain", "Say whether packets from A reach B, what decides, what to do.", "i-web sg-db tcp/3306"),
        CommandRow("links", "List the existing links, each with its state.", "--expiring 7d", "--party sg-db -o csv"),
        CommandRow("map", "Draw who may reach whom.", "--out map.html", place="map:draw_map"),
        CommandRow("audit", "Read the audit log: what was decided, who asked, why.", "--from 7d outcome=denied"),
        CommandRow("doctor", "Check what is deployed, the access, and the requested links.", "", "--platform"),
        CommandRow("verify", "Test with packets whether A reaches B.", "--from i-web --to i-db --port tcp/3306"),
    ),
    "Ask and consent": (
        CommandRow("request", "Ask for a link, or for its removal.", "link --from sg-app --to sg-db --port tcp/3306"),
        CommandRow(
            "accept",
            "Let others reach a group: write its accept tag.",
            "sg-db sg-app:tcp/3306 --until 30d",
            "chg-1042",
            place="consent:accept",
        ),
        CommandRow("withdraw", "Withdraw an entry of consent.", "sg-db sg-app:tcp/3306", place="consent:withdraw"),
        CommandRow("adopt", "Turn a rule that a person made into a link.", "sgr-1 --dry-run"),
        CommandRow(
            "tighten", "Say who uses wide rules of people, and which can go.", "sg-db", "--all --propose links.yaml"
        ),
    ),
    "Close": (
        CommandRow("close", "Lock groups, and remove link-peer's rules from them now.", "sg-db", "--all --dry-run"),
        CommandRow("reopen", "Remove the locks that `close` set.", "sg-db"),
        CommandRow("sweep", "Reconcile all rules with tags, requests and consent.", "--dry-run"),
    ),
    "Review": (
        CommandRow("plan", "Preview what would change. Changes nothing.", "i-web --out plan.json", "--policy new.yaml"),
        CommandRow("apply", "Make exactly the changes of a saved plan.", "plan.json"),
        CommandRow("check", "Check policy files and their own tests.", "policy.yaml", "--live --out snap.json"),
    ),
    "Operate": (
        CommandRow("demo", "Run the main scenarios on a local cloud.", "", place="local:demo"),
        CommandRow("local", "Run a local Alibaba Cloud until Ctrl-C.", "--world shop"),
        CommandRow("init", "Write the files of a new deployment.", "--home 1000000000000001 --region cn-hangzhou"),
        CommandRow("setup", "Create or update roles, queues, logs and alerts.", "--dry-run"),
        CommandRow("package", "Build the code of the functions.", "--policy policy.yaml --first"),
        CommandRow("account add", "Add an account: its roles, its lines of the policy.", "1000000000000002 --write"),
        CommandRow(
            "account list", "List the accounts, and whether each can be entered.", "", place="account_add:list_accounts"
        ),
        CommandRow("account remove", "Close every link of an account, and remove it.", "billing --dry-run"),
        CommandRow("failed", "List or replay failed invocations.", "", "--replay 1-6744f1a0-15b2e1c4"),
    ),
}
"""Every command, in the groups of `link-peer --help`, which a newcomer reads from the top."""

GROUPS = {"account": "Add, list or remove accounts."}
"""What the commands are for whose names begin with the same word."""

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class _Completing:
    """A command that the shell may ask what comes next."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters."""
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the class that this comes before
        for param in params:
            param._runtime_param = Converting(param.type_descriptor.parameter_info, param.type_descriptor.annotation)
        return completion.completing(ctx, params) if ctx.resilient_parsing else params


class _Called(_Completing, Command):
    """The command itself."""


class _Listed(TyperCommand):
    """A command as help lists it. What runs is the command that its row names, which is imported then."""

    def __init__(self, row: CommandRow, section: str) -> None:
        super().__init__(row.name.split()[-1], help=row.summary, rich_help_panel=section, add_help_option=False)
        self._row = row

    @functools.cached_property
    def loaded(self) -> Any:
        """The command itself. Raises Ended where a signal stops the import."""
        command_app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, context_settings=HELP_OPTIONS)
        late_parts.install()
        try:
            module = import_module(f"link_peer_cli.commands.{self._row.file}")
        except KeyboardInterrupt as error:
            raise Ended(error) from error
        epilog = "\n".join(["Examples:", *self._row.examples])
        function = getattr(module, self._row.function)
        filled = re.sub(r"(?<!\n)\n *(?=\S)", " ", function.__doc__)  # rich keeps the line breaks of later paragraphs
        command_app.command(self.name, cls=_Called, epilog=epilog, help=filled)(function)
        return typer.main.get_command(command_app)

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """The context of the command itself, which is then invoked. Where the shell asks for values that are known
        without it, that of this one, since the import takes longer."""
        if extra.get("resilient_parsing") and (values := completion.due(info_name, args)):
            context = super().make_context(info_name, [], parent, **extra)
            context.obj = values, args
            return context
        return self.loaded.make_context(info_name, args, parent, **extra)

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """The values; or the options of the command itself."""
        values, args = ctx.obj
        if incomplete[:1] != "-":
            return [
                CompletionItem(value) for value in completion.matching(values, "@" * (args[-1:] == ["@"]) + incomplete)
            ]
        context = self.loaded.make_context(self.name, args, ctx.parent, resilient_parsing=True)
        return list(context.command.shell_complete(context, incomplete))


class Commands(_Completing, TyperGroup):
    """The commands of the table."""

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for section, rows in TABLE.items():
            for row in rows:
                group, _, name = row.name.rpartition(" ")
                if group:
                    self._group(group, section).add_command(_Listed(row, "Commands"))
                else:
                    self.add_command(_Listed(row, section), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As typer, which suggests a command that is near. An option of this name is nearer."""
        if not ctx.resilient_parsing and any(f"--{args[0]}" in param.opts for param in self.params):
            ctx.fail(f"No such command '{args[0]}'. Did you mean '--{args[0]}'?")
        return super().resolve_command(ctx, args)

    def _group(self, name: str, section: str) -> TyperGroup:
        """The group of commands whose names begin with this word."""
        if name not in self.commands:
            attrs: dict[str, Any] = {"help": GROUPS[name], "rich_help_panel": section, "context_settings": HELP_OPTIONS}
            self.add_command(TyperGroup(name=name, no_args_is_help=True, **attrs))
        return self.commands[name]  # type: ignore[return-value]


app = typer.Typer(
    name="link-peer",
    cls=Commands,
    help="Open the internal network between Alibaba Cloud ECS instances, safely and automatically.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
    epilog="`link-peer COMMAND --help` ends with examples. Without an account: `link-peer demo`.",
)


def _print_versions(ctx: typer.Context, is_requested: bool) -> None:
    """Those of link-peer, of Python and of the SDKs."""
    if not is_requested or ctx.resilient_parsing:
        return
    import platform  # they take longer to import than help to print
    from importlib.metadata import requires, version

    needed = (re.split(r"[^\w-]", requirement)[0] for requirement in requires("link-peer") or [])
    sdks = (name for name in needed if name.startswith(("alibabacloud", "aliyun")))
    versions = {name: version(name) for name in ("link-peer", *sdks)} | {"python": platform.python_version()}
    if ctx.params["as_json"]:
        print_answer(versions)
    else:
        print("\n".join(f"{name} {number}" for name, number in versions.items()))
    raise typer.Exit


def _choose(ctx: typer.Context, param: typer.CallbackParam, value: str) -> None:
    """Note `--profile` or `--region`. What is given after the command beats what is given before it."""
    if value or ctx.parent is None:
        keys.CHOSEN[param.opts[0].lstrip("-")] = value


_choosing = functools.partial(typer.Option, callback=_choose, expose_value=False)


@app.callback()
def _options(
    ctx: typer.Context,
    _versions: Annotated[
        bool, typer.Option("--version", help="Print the versions, for a bug report.", callback=_print_versions)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --version: print JSON.", is_eager=True)] = False,
    _profile: Annotated[
        str, _choosing("--profile", help="Use the keys and the region of this profile of the `aliyun` CLI.")
    ] = "",
    _region: Annotated[
        str,
        _choosing("--region", help="Work in this region. Default: LINK_PEER_REGION, else the region of the profile."),
    ] = "",
) -> None:
    """Options of `link-peer` itself."""
    identity.forget()
    if as_json:
        ctx.fail("--json comes after the command")
    instant.begin()


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command by its full name, with its parameters and its help; imports all of them. For the reference, and for
    tests."""
    group: Any = typer.main.get_command(app)
    for row in (row for rows in TABLE.values() for row in rows):
        command = group
        for word in row.name.split():
            command = command.commands[word]
        yield row.name, command.loaded


def main(args: list[str] | None = None) -> NoReturn:
    """Run one command with these arguments (default: the process's own) and exit.

    Raises SystemExit: 0 done, 1 denied or failed, 2 usage, 130 Ctrl-C, 143 SIGTERM. Errors are printed on stderr, as
    JSON with `--json`.
    """
    run(app, sys.argv[1:] if args is None else args)
