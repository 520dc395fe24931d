"""`link-peer setup`: create, check and remove what a deployment needs besides its functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from link_peer.app import compose
from link_peer.domain.errors import BadInput, LinkPeerError, Transient
from link_peer_deploy.documents import PRINCIPAL
from msgspec import UNSET
from rich.console import Console
from rich.markup import escape

from link_peer_cli.access.environment import exported, names_in_use, settings_in_use
from link_peer_cli.access.inputs import matching
from link_peer_cli.answers.deployment import Caution, Fault, ResourceAnswer, SetupUndone
from link_peer_cli.setup import plan, resources
from link_peer_cli.setup.engine import Stopped, carry_out, patiently, plan_removal, say_wait
from link_peer_cli.setup.entrances import require_own_entrance
from link_peer_cli.setup.faults import faults
from link_peer_cli.setup.in_use import InUse, clean, elsewhere, functions_of, in_use
from link_peer_cli.setup.prefixes import of_home
from link_peer_cli.setup.resource import ResourceChange, SetupTarget
from link_peer_cli.setup.roles import REMOVE, not_ours
from link_peer_cli.setup.services import require_home
from link_peer_cli.setup.undo import of_setup
from link_peer_cli.ui.console import console, may_ask, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Adopt, DryRun, JsonLines, Prefix, Yes
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import print_undo

SIGNS = {
    "create": "[green]+[/green]",
    "update": "[yellow]~[/yellow]",
    "delete": "[red]-[/red]",
    "skip": "[dim]![/dim]",
    "keep": "[dim]=[/dim]",
}


def setup(
    prefix: Prefix = "",
    notify: Annotated[str, typer.Option(help="The e-mail address that the alerts notify.")] = "",
    action_policy: Annotated[
        str, typer.Option(help="The id of an existing action policy of SLS, for the alerts.")
    ] = "",
    retention: Annotated[
        int,
        typer.Option(
            min=0, max=3650, metavar="DAYS", help="Keep the audit log for at least this many days. A new one: 365."
        ),
    ] = 0,
    operators: Annotated[
        list[str] | None,
        typer.Option(
            help="Who may operate: ARNs of RAM users (with MFA) and roles, separated by commas. Default: who may now."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also replace what a person changed: searches, charts, alerts, queues.")
    ] = False,
    adopt: Adopt = False,
    dry_run: DryRun = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove all but the logs.")] = False,
    with_logs: Annotated[
        bool, typer.Option("--with-logs", help="With --remove: also delete the audit log and the functions' log.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --remove: even if functions or rules of the deployment are left.")
    ] = False,
    yes: Yes = False,
    as_json: JsonLines = False,
) -> None:
    """Create the roles, queues, logs and alerts of a deployment, or update what differs. Safe to run again."""
    if (with_logs or force) and not remove:
        raise BadInput("--with-logs" if with_logs else "--force", "only together with --remove")
    deployment = _deployment(prefix, notify, action_policy)
    operator_arns = _operators(operators)
    deployment = msgspec.structs.replace(
        deployment, retention=retention, replace=replace, operators=operator_arns, adopt=adopt
    )
    out, talk = console(), _Talk(as_json)
    require_home(deployment, talk.wait)
    require_own_entrance(deployment)
    if remove:
        _remove(deployment, out, talk, dry_run=dry_run, with_logs=with_logs, force=force, yes=yes)
    else:
        _create(deployment, out, talk, dry_run=dry_run)


def _deployment(prefix: str, notify: str, action_policy: str) -> SetupTarget:
    """The deployment that the options and the environment name, with the person's own keys."""
    if notify and "@" not in notify:
        raise BadInput("--notify", f"{notify!a} is not an e-mail address")
    settings, policy, _ = settings_in_use()
    return SetupTarget(
        settings=settings,
        policy=policy,
        names=names_in_use(policy.home, prefix),
        clock=compose.clock_for_functions(),
        notify=notify,
        action_policy=action_policy,
    )


def _operators(texts: list[str] | None) -> tuple[str, ...]:
    """Who is to operate; empty for those who may now. Raises BadInput for what is no single user or role."""
    arns = [arn.strip() for text in texts or () for arn in text.split(",") if arn.strip()]
    return tuple(matching(arn, "--operators", PRINCIPAL) for arn in arns)


class _Talk:
    """What is printed while the changes are carried out: one line, or with `--json` one object, for each."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def change(self, out: Console, change: ResourceChange, result: str, problem: str = "") -> None:
        """Print one change and what became of it: planned, done, failed, or missing."""
        if self.as_json:
            print_answer(_answer(change, result, problem))
        elif change.action.value != "keep" or change.detail:
            out.print(f"{SIGNS[change.action.value]} {escape(str(change))}")

    def wait(self, seconds: float, problem: Transient) -> None:
        """Say that a wait begins, and why."""
        if not self.as_json:
            say_wait(seconds, problem)

    def line(self, out: Console, text: str) -> None:
        """Print a line for people."""
        if not self.as_json:
            out.print(escape(text))

    def undo(self, out: Console, commands: list[str], remaining: list[str]) -> None:
        """Print the commands that take the changes back, and which of the changes they do not."""
        if self.as_json and (commands or remaining):
            print_answer(SetupUndone(commands, len(remaining)))
        elif not self.as_json:
            print_undo(out, commands, most=len(commands))
            if any(" UpdateLogStore " in text for text in commands):
                self.line(out, "UpdateLogStore deletes the records that are older than the days that it sets.")
            if remaining:
                text = f"No command takes back: {', '.join(remaining)}. Run setup with the policy file and the version of before"
                self.line(out, f"{text}; it keeps what was created.")


def _answer(change: ResourceChange, result: str, problem: str) -> ResourceAnswer:
    return ResourceAnswer(
        change.resource.kind,
        change.resource.name,
        change.action.value,
        result,
        fields=list(change.fields) or UNSET,
        detail=change.detail or UNSET,
        problem=problem or UNSET,
    )


def _create(deployment: SetupTarget, out: Console, talk: _Talk, *, dry_run: bool) -> None:
    with waiting("checking the account"):
        problems = list(faults(deployment, talk.wait))
    _refuse(problems, talk)
    with waiting("reading what is there"):
        other_prefixes = patiently(lambda: of_home(deployment), deployment.clock, talk.wait)
        deployment = msgspec.structs.replace(deployment, other_prefixes=other_prefixes.denied)
        changes = plan(resources(deployment), deployment.clock, talk.wait)
    _refuse(list(other_prefixes.cautions(deployment.policy.home)), talk)
    if dry_run:
        for change in changes:
            talk.change(out, change, "planned")
    else:
        changes = _carry_out(deployment, out, talk, changes)
    counts = {action: sum(change.action.value == action for change in changes) for action in SIGNS}
    kept_count = sum(bool(change.detail) for change in changes if change.action.value == "keep")
    remainder = f"as wanted: {counts['keep'] - kept_count}, kept as they are: {kept_count}, left out: {counts['skip']}."
    if dry_run:
        talk.line(out, f"To create: {counts['create']}, to update: {counts['update']}, {remainder}")
        return
    if counts["create"] or counts["update"]:
        outcome = f"Created: {counts['create']}, updated: {counts['update']}"
    else:
        outcome = "Nothing to change"
    talk.line(out, f"{outcome}; {remainder}")
    talk.undo(out, *of_setup(changes, deployment))
    talk.line(
        out,
        f"Next: export {exported(deployment.settings.region, deployment.names.prefix, deployment.settings.tag_prefix)}; "
        f"link-peer package{'' if _is_deployed(deployment) else ' --first'}; s deploy -y",
    )


def _is_deployed(deployment: SetupTarget) -> bool:
    """Whether a function exists, also where that cannot be read: `package` says what it misses."""
    try:
        return bool(functions_of(deployment))
    except LinkPeerError:
        return True


def _refuse(problems: Sequence[Fault | Caution], talk: _Talk) -> None:
    """Name all problems, and exit with 1 if there is a fault among them."""
    for problem in problems:
        if talk.as_json:
            print_answer(problem)
        else:
            colour = "red" if isinstance(problem, Fault) else "yellow"
            console(stderr=True).print(f"[{colour}]{escape(str(problem))}[/]")
    if any(isinstance(problem, Fault) for problem in problems):
        talk.line(console(stderr=True), "Nothing was changed.")
        raise typer.Exit(Exit.REFUSED)


def _carry_out(
    deployment: SetupTarget, out: Console, talk: _Talk, changes: Sequence[ResourceChange]
) -> list[ResourceChange]:
    """Carry out the changes, and return them as they were made. Exit with 1 after naming what is missing, if one
    fails."""
    made_changes: list[ResourceChange] = []

    def note(change: ResourceChange) -> None:
        made_changes.append(change)
        talk.change(out, change, "done")

    try:
        carry_out(changes, deployment.clock, note, talk.wait)
    except Stopped as stopped:
        _report(out, talk, stopped)
        raise typer.Exit(Exit.REFUSED) from None
    return made_changes


def _report(out: Console, talk: _Talk, stopped: Stopped) -> None:
    """Print what failed and what is missing because of it."""
    open_changes = [
        change for change in stopped.remaining_changes if change.action.value in ("create", "update", "delete")
    ]
    if talk.as_json:
        talk.change(out, stopped.failed, "failed", str(stopped))
        for change in open_changes:
            talk.change(out, change, "missing")
        return
    err = console(stderr=True)
    err.print(f"[red]{stopped.failed.action.value} failed:[/red] {escape(str(stopped))}")
    for change in open_changes:
        err.print(f"not done: {change.action.value} {escape(change.resource.label)}")
    err.print("Run the same command again to continue.")


def _remove(
    deployment: SetupTarget,
    out: Console,
    talk: _Talk,
    *,
    dry_run: bool,
    with_logs: bool,
    force: bool,
    yes: bool,
) -> None:
    if not (yes or dry_run):
        may_ask("deletes", as_json=talk.as_json)
    with waiting("reading what is there, here and in other regions"):
        use_elsewhere = elsewhere(deployment, sure=force)
        changes = plan_removal(
            resources(deployment), deployment.clock, talk.wait, with_logs=with_logs, elsewhere=use_elsewhere
        )
    going = [change for change in changes if change.action.value == "delete"]
    with waiting("reading the rules of every group"):
        usage = in_use(deployment) if going and not force else InUse([], [])
        roles_to_delete = [change.resource for change in going]
        in_the_way = [*usage.faults, *not_ours(roles_to_delete, REMOVE, adopts=deployment.adopt)]
    if dry_run or not going:
        for change in changes:
            talk.change(out, change, "planned")
        for problem in in_the_way:
            talk.line(out, f"in the way: {problem}")
        talk.line(out, f"To delete: {len(going)}." if going else "Nothing is left to delete.")
        return
    _refuse(in_the_way, talk)
    if not yes:
        for change in going:
            talk.change(out, change, "planned")
        typer.confirm(f"Delete these {len(going)}?", abort=True)
    for sentence in clean(deployment, usage.tagged):
        talk.line(out, sentence)
    _carry_out(deployment, out, talk, changes)
    talk.line(out, f"Deleted: {len(going)}, kept: {len(changes) - len(going)}.")
    talk.line(out, "Accounts that are not in the policy file were not looked at.")
    talk.undo(out, *of_setup(changes, deployment))
