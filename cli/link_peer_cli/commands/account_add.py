"""`link-peer account add` and `account list`: let another account take part, or many at once; those that do."""

from __future__ import annotations

import re
from typing import Annotated

import typer
from link_peer.domain.errors import BadInput
from link_peer_deploy.documents import PRINCIPAL

from link_peer_cli.access.environment import load_environment, load_own
from link_peer_cli.access.inputs import account_uid, matching
from link_peer_cli.answers.deployment import AccountAdded, ListedAccount
from link_peer_cli.checks.finding import FAILING, OK
from link_peer_cli.checks.runs import account_entry, read_runs
from link_peer_cli.inventory.shown import EXACT
from link_peer_cli.setup.member import (
    added_to,
    denying,
    make_resources,
    peer_of,
    tell_of_home,
    tell_of_lines,
    template_path,
    update_home,
    with_lines,
)
from link_peer_cli.setup.members import Stacks, add_many
from link_peer_cli.setup.peer import TOO_LONG, PeerAccount
from link_peer_cli.setup.policy_text import entry
from link_peer_cli.setup.roles import require_ours
from link_peer_cli.setup.undo import of_addition
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Adopt, Json, JsonLines, Output, PeerProfile, SortBy, Uid, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import print_undo
from link_peer_cli.ui.tables import Column, Table, TableForm, by_name, by_words, print_table


def add(
    uid: Uid = "",
    name: Annotated[str, typer.Option(help="A name to display. Default: the uid.")] = "",
    role: Annotated[str, typer.Option(help="The role there. Default: the deployment's prefix.")] = "",
    queue: Annotated[bool, typer.Option("--queue", help="Give the account a queue of its own for requests.")] = False,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="A network of its instances, such as 10.20.0.0/16; repeat for more."),
    ] = None,
    external_id: Annotated[str, typer.Option(help="Default: the one in use, else a random one.")] = "",
    closers: Annotated[
        list[str] | None,
        typer.Option(
            "--closer", help="Who may close there, with MFA: ARN of a role or user. Default: home's operators."
        ),
    ] = None,
    no_closer: Annotated[
        bool, typer.Option("--no-closer", help="Do not make the role with which home's operators may close there.")
    ] = False,
    profile: PeerProfile = "",
    adopt: Adopt = False,
    write: Annotated[bool, typer.Option("--write", help="Add the lines to the policy file.")] = False,
    listed: Annotated[
        str, typer.Option("--from", help="A file with accounts, one per line: uid and name; or - for stdin.")
    ] = "",
    stack_group: Annotated[
        str,
        typer.Option(help="A folder of the resource directory: print the ROS stack group that makes the roles in it."),
    ] = "",
    template: Annotated[
        str,
        typer.Option(
            help="Copy the ROS template to this file, for whoever runs the printed command. Default: it reads the installed one.",
            metavar="FILE",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Make an account's roles, with `--profile`, or print what its owner must run; and print its lines of the policy
    file.

    Home's policies then name the new roles, if the keys may change them. Safe to run again.
    """
    if external_id and not re.fullmatch(r"[A-Za-z0-9+=,.@:/_-]{2,128}", external_id):
        raise BadInput("--external-id", "2 to 128 of A-Z, a-z, 0-9 and +=,.@:/_-")
    closer_arns = _closers(closers, no_closer=no_closer)
    if listed:
        if uid or name or ranges or profile:
            raise BadInput("--from", "an account's uid, --name, --range and --profile are of one account")
        stacks = Stacks(template, matching(stack_group, "--stack-group", r"(fd|r)-[0-9A-Za-z]{1,32}"))
        add_many(listed, role, external_id, closer_arns, queue=queue, write=write, stacks=stacks, as_json=as_json)
        return
    if template and profile:
        raise BadInput("--template", "no command is printed with --profile, which makes the roles")
    if stack_group:
        raise BadInput("--stack-group", "goes with --from")
    uid = account_uid(uid, "uid")
    env = load_own(without_keys=True)
    if uid == env.policy.home:
        raise BadInput("uid", f"{uid} is the home account, which takes part already")
    account = env.policy.accounts.get(uid)
    peer = peer_of(env, uid, role, external_id, account, profile, closer_arns)
    lines = entry(
        uid,
        name or (account.name if account else uid),
        peer.arn,
        peer.external_id,
        (account.queue if account else "") or (env.names.queue_of(uid) if queue else ""),
        ranges or (account.ranges if account else ()),
    )
    policy = env.policy if account else added_to(env.policy, lines)
    peer = denying(env, peer)
    if profile:
        command = f"link-peer account add {uid} --profile {profile} --adopt"
        require_ours(peer.resources(), command, adopts=adopt)
    with with_lines(env, lines if write and account is None else "") as put:
        role_changes = (
            make_resources(peer.deployment, peer.resources(), f"account {uid}", talk=not as_json) if profile else []
        )
        home, problem = update_home(env, policy, talk=not as_json)
        put()
    is_written = write and account is None
    way_back = of_addition(peer, profile, role_changes, home, is_listed=account is not None, written=is_written)
    has_template = peer.fits_template and not profile
    ros = peer.ros_command(template_path(template)) if has_template else ""
    if as_json:
        print_answer(
            AccountAdded(
                policy=lines,
                written=is_written,
                changes=[str(change) for change in [*role_changes, *home]],
                ros=ros,
                commands=[] if profile else peer.commands(),
                home=problem,
                undo=way_back,
            )
        )
        return
    if not profile:
        _tell_owner(peer, ros)
    tell_of_lines(
        env, "" if write or account else lines, "" if account else "the account now", f"link-peer doctor {uid}"
    )
    tell_of_home(problem)
    print_undo(console(), way_back, lines_in=env.settings.policy_path if is_written else "")


def _tell_owner(peer: PeerAccount, ros: str) -> None:
    """Print what makes the roles: one command for ROS, where its template can hold the policies, or a command for each
    step."""
    out = console()
    if ros:
        out.print(f"\n[bold]The owner of account {peer.uid} runs one of these[/bold]:\n")
        print("\n".join([ros, "\n# or without ROS:", *peer.commands()]))
    else:
        out.print(f"\n[bold]The owner of account {peer.uid} runs these[/bold]; {TOO_LONG}:\n")
        print("\n".join(peer.commands()))


def _closers(arns: list[str] | None, *, no_closer: bool) -> list[str] | None:
    """Whom the closer role trusts, None for the default. Raises BadInput for what is no single role or user."""
    if arns and no_closer:
        raise BadInput("--no-closer", "--closer names who may close")
    return [] if no_closer else [matching(arn or " ", "--closer", PRINCIPAL) for arn in arns] if arns else None


ACCOUNTS = Table(
    ListedAccount,
    EXACT,
    "No accounts.",
    (
        Column("uid"),
        Column("name", short=by_name),
        Column("role", wide=True),
        Column("queue"),
        Column("ranges", lambda a, _: " ".join(a.ranges), short=by_words, dispensable=1),
        Column(
            "entered as",
            lambda a, _: a.problem or a.entered_as,
            lambda a, _: a.problem or a.entered_as.rpartition(":")[2],  # of an ARN, whose account is the row's
            short=by_words,
        ),
    ),
)


def list_accounts(output: Output = TableForm.TABLE, sort_by: SortBy = "", as_json: JsonLines = False) -> None:
    """List the accounts of the policy file, and whether the functions entered each at the last run that was due."""
    ACCOUNTS.column(sort_by or "uid")
    form = form_of(output, as_json=as_json)
    env = load_environment(reading=True)
    with waiting("reading the log"):
        runs = read_runs(env)
    accounts = []
    failing = False
    for uid, account in env.policy.accounts.items():
        finding = account_entry(env, runs, uid)
        failing |= finding.state in FAILING
        summary = runs.last("account", uid) if finding.state == OK else None
        role, problem = (summary["entered_as"], "") if summary else ("", finding.detail)
        policy_values = (uid, account.name, account.role, account.queue, list(account.ranges))
        accounts.append(ListedAccount(*policy_values, not problem, role, problem))
    print_table(ACCOUNTS, accounts, EXACT, form, sort_by)
    if failing:
        raise typer.Exit(Exit.REFUSED)
