"""Options that several commands share."""

from __future__ import annotations

import copy
from typing import Annotated, Any

import typer
from link_peer.domain.errors import BadInput
from typer._coercion import RuntimeParam, build_runtime_param
from typer.core import TyperCommand

from link_peer_cli.ui.exits import Ended
from link_peer_cli.ui.panels import grouped_options
from link_peer_cli.ui.tables import TableForm

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
Output = Annotated[
    TableForm,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT",
        help="table, wide (all columns), csv or json. In a pipe, a table is tab-separated values.",
    ),
]
SortBy = Annotated[str, typer.Option("--sort-by", metavar="COLUMN", help="Sort by this column.")]
Service = Annotated[str, typer.Option(help="The FC 2.0 service that holds the functions. Default: FC 3.0.")]
Commands = Annotated[bool, typer.Option("--commands", help="Also print the equivalent aliyun commands.")]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request.")]
WholePlanFile = Annotated[
    str,
    typer.Option(
        "--rest", help="With --markdown: write the whole plan to this file; a long one does not fit in a comment."
    ),
]
Detailed = Annotated[
    bool,
    typer.Option("--detailed-exitcode", help="Exit with 0 if nothing would change, with 2 if something would."),
]
Ports = Annotated[
    list[str] | None,
    typer.Option(
        "--port", metavar="PORT", help="tcp/3306, tcp/8000-8010, udp/53 or icmp; several with +, or repeated."
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Argument(
        help="sg-… (`close`: or a name), optionally with @<account>; or an account.", metavar="[GROUP|ACCOUNT]..."
    ),
]
Account = Annotated[
    str, typer.Option(help="All groups of this account (uid or name) that hold rules of link-peer or are locked.")
]
Deployment = Annotated[
    str,
    typer.Option(
        help="Instead of locking: remove the rules that were made under this former name of the deployment; without groups and "
        "accounts, in all.",
        metavar="NAME",
    ),
]
EvenIfAlive = Annotated[
    bool, typer.Option("--even-if-alive", help="With --deployment: even if its functions may still exist.")
]
All = Annotated[bool, typer.Option("--all", help="The same for all accounts.")]
Between = Annotated[
    bool,
    typer.Option(
        "--between",
        help="Only between two: groups, instances (i-…) or accounts, which refuse each other, or no longer do.",
    ),
]
Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", help="A profile of the `aliyun` CLI with keys of another account; repeat for more."),
]
Uid = Annotated[str, typer.Argument(help="The account's uid, or its name in the policy.")]
PeerProfile = Annotated[
    str,
    typer.Option(
        "--profile", help="A profile of the `aliyun` CLI with keys of that account, which may change its RAM."
    ),
]
Tagged = Annotated[
    bool,
    typer.Option("--tagged", help="Read only the groups with link-peer's tag, and say how many were not read."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would change.")]
Adopt = Annotated[
    bool,
    typer.Option(
        "--adopt", help="Take for ours also roles that link-peer did not make; it shows what they trust and hold."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Until = Annotated[str, typer.Option(help="When it ends: 2099-12-31T08:00:00+08:00 (…Z for UTC), or in 12h, 30d.")]
Prefix = Annotated[str, typer.Option(help="The prefix of every name. Default: LINK_PEER_PREFIX, else link-peer.")]
Out = Annotated[
    str, typer.Option("--out", help="Save what is shown in this file, for `link-peer apply`.", metavar="FILE")
]


def form_of(output: TableForm, *, as_json: bool) -> TableForm:
    """How to print a table: `--output`, or its short form `--json`. Raises BadInput if they contradict."""
    if as_json and output not in (TableForm.TABLE, TableForm.JSON):
        raise BadInput("--output", "give one of --output and --json")
    return TableForm.JSON if as_json else output


def plan_form(output: TableForm, *, as_json: bool) -> TableForm:
    """How to print a plan, which has no cells. Raises BadInput for CSV."""
    if output is TableForm.CSV:
        raise BadInput("--output", "a plan is not a table: give wide or json")
    return form_of(output, as_json=as_json)


class Converting(RuntimeParam):
    """Converts a value of a parameter. What has its type is left as it is; the rest typer converts with pydantic, which
    takes longer to import than the command itself."""

    def _coerce_value(self, value: Any, param: Any, ctx: Any) -> Any:
        if type(value) is self.annotation and str(value).isascii():
            return value
        return build_runtime_param(param.type_descriptor)._coerce_value(value, param, ctx)


def _hidden(param: Any) -> Any:
    """A parameter that `link-peer --help` explains once for all commands."""
    param = copy.copy(param)
    param.hidden = True
    return param


def _plain(param: Any) -> Any:
    """A parameter of which help prints no type where it is a switch, which takes no value, and no range of numbers
    where its value has a name: the error names the range."""
    param = copy.copy(param)
    if getattr(param, "is_flag", False):
        param.display_type_rich = lambda **_: None
    if param.metavar:
        param._get_number_range_help_str = lambda: ""
    return param


class Command(TyperCommand):
    """A command that takes `--profile` and `--region` of `link-peer` after its name, too, unless it has one of its
    own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters of the command, and those two."""
        params = super().get_params(ctx)
        used_names = {name for param in params for name in param.opts}
        shared = [param for param in ctx.find_root().command.params if param.opts[0] in ("--profile", "--region")]
        params = [*params, *(_hidden(param) for param in shared if param.opts[0] not in used_names)]
        return grouped_options(str(self.name), [_plain(param) for param in params])

    def invoke(self, ctx: Any) -> Any:
        """Run it. Raises Ended where a signal stops it, or a file or a stream fails: typer would end the process at
        some of them without a word."""
        try:
            return super().invoke(ctx)
        except (OSError, KeyboardInterrupt) as error:
            raise Ended(error) from error
        except typer.Abort as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # at a question
                raise Ended(error.__context__) from error
            raise
