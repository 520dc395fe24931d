"""`link-peer account`: let another account take part, list the accounts, and close one for good."""

from __future__ import annotations

import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import Json, JsonLines, Yes
from link_peer_cli.io.progress import counter, progress_bar, waiting
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from link_peer.domain.policy import AccountPolicy, Policy
    from link_peer.runtime.settings import Credentials

    from link_peer_cli.clients.closing import Closed
    from link_peer_cli.io.environment import Environment
    from link_peer_cli.setup import Change, Deployment
    from link_peer_cli.setup.peer import Peer

app = typer.Typer(
    help="Let another account take part, list the accounts, or close one for good.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Uid = Annotated[str, typer.Argument(help="The account's uid, or its name in the policy.")]
Profile = Annotated[
    str, typer.Option(help="A profile of the `aliyun` CLI with keys of that account, which may change its RAM.")
]


@app.command("add")
def add(
    uid: Uid,
    name: Annotated[str, typer.Option(help="A name to display. Default: the uid.")] = "",
    role: Annotated[str, typer.Option(help="The role there. Default: the deployment's prefix.")] = "",
    queue: Annotated[bool, typer.Option("--queue", help="Give the account a queue of its own for requests.")] = False,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", help="A network of its instances, such as 10.20.0.0/16; repeat for more."),
    ] = None,
    external_id: Annotated[str, typer.Option(help="Default: the one in use, else a random one.")] = "",
    profile: Profile = "",
    write: Annotated[bool, typer.Option("--write", help="Add the lines to the policy file.")] = False,
    as_json: Json = False,
) -> None:
    """Make an account's roles, with `--profile`, or print what its owner must run; and print its lines of the policy file.

    Home's policies then name the new roles, if the keys may change them. Safe to run again.
    """
    from link_peer.domain.errors import BadInput

    from link_peer_cli.io.environment import load_own
    from link_peer_cli.io.inputs import account_uid
    from link_peer_cli.io.policy_text import entry

    uid = account_uid(uid, "uid")
    if external_id and not re.fullmatch(r"[A-Za-z0-9+=,.@:/_-]{2,128}", external_id):
        raise BadInput("--external-id", "2 to 128 of A-Z, a-z, 0-9 and +=,.@:/_-")
    env = load_own(without_keys=True)
    if uid == env.policy.home:
        raise BadInput("uid", f"{uid} is the home account, which takes part already")
    known = env.policy.accounts.get(uid)
    peer = _peer(env, uid, role, external_id, known, profile)
    lines = entry(
        uid,
        name or (known.name if known else uid),
        peer.arn,
        peer.external_id,
        (known.queue if known else "") or (env.names.queue_of(uid) if queue else ""),
        ranges or (known.ranges if known else ()),
    )
    policy = _with_account(env, uid, lines)
    done = _carry_out(peer.deployment, peer.resources(), f"account {uid}", talk=not as_json) if profile else []
    home, problem = _update_home(env, policy, talk=not as_json)
    if write and known is None:
        _write(env, lines)
    if as_json:
        print_json(
            {
                "policy": lines,
                "written": write and known is None,
                "changes": [str(change) for change in [*done, *home]],
                "ros": "" if profile else peer.ros_command(),
                "commands": [] if profile else peer.commands(),
                "home": problem,
            }
        )
        return
    _explain(env, peer, lines, made=bool(profile), written=write and known is None, listed=known is not None)
    if problem:
        console().print(f"\n[yellow]Home was not changed:[/yellow] {escape(problem)}", soft_wrap=True)
        console().print("Run `link-peer setup` with keys of home when the policy file has the lines.")


@app.command("list")
def list_accounts(as_json: JsonLines = False) -> None:
    """List the accounts of the policy file, and whether each can be entered."""
    from link_peer.domain.errors import LinkPeerError
    from link_peer.runtime.retry import Retry

    from link_peer_cli.access.roles import PersonsAccounts
    from link_peer_cli.io.environment import load_environment

    env = load_environment(reading=True)
    retry = Retry(env.clock, env.clock.now() + 60)
    cloud = PersonsAccounts(env.settings, env.policy, env.clock, retry, "account", reading=True)
    rows, refused = [], False
    for uid, account in env.policy.accounts.items():
        try:
            with waiting(f"entering account {uid}"):
                owner, arn = cloud.identity(uid)
            problem = "" if owner == uid else f"the keys belong to account {owner}"
        except LinkPeerError as error:
            arn, problem = "", str(error)
        refused |= bool(problem)
        rows.append((uid, account.name, account.role or "", account.queue, " ".join(account.ranges), problem or arn))
        if as_json:
            fields = {"uid": uid, "name": account.name, "role": account.role, "queue": account.queue}
            print_json(
                {**fields, "ranges": list(account.ranges), "reached": not problem, "as": arn, "problem": problem}
            )
    if not as_json:
        print_table(console(), "accounts", ("uid", "name", "role", "queue", "ranges", "entered as"), rows)
    if refused:
        raise typer.Exit(Exit.REFUSED)


@app.command("remove")
def remove(
    uid: Uid,
    profile: Profile = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be closed.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Close every link of an account, delete its roles (with `--profile`), and take it out of home's policies.

    Stops before the roles as long as a rule is left. Then delete the account's lines from the policy file and deploy.
    """
    from link_peer.domain.errors import BadInput

    from link_peer_cli.io.environment import load_environment, load_own, require_known
    from link_peer_cli.io.inputs import account_uid

    uid = account_uid(uid, "uid")
    env = load_environment(reading=dry_run)
    require_known(env, [uid], "uid")
    if uid == env.policy.home:
        raise BadInput("uid", f"{uid} is the home account: link-peer setup --remove removes the deployment")
    mine = load_own()
    account = env.policy.accounts[uid]
    peer = _peer(mine, uid, "", "", account, profile)
    own = {uid: peer.deployment.settings.credentials} if profile else {}
    if not (dry_run or yes):
        if as_json or not sys.stdin.isatty():
            raise BadInput("--yes", "it would ask before it closes: give --yes, or --dry-run to see what")
        typer.confirm(f"Close every link of account {uid} and take it out of the deployment?", abort=True)
    closed = _close(env, uid, own, dry_run=dry_run, quiet=as_json)
    if dry_run or closed.left or closed.problems:
        _report(closed, dry_run=dry_run, as_json=as_json)
        raise typer.Exit(Exit.REFUSED if closed.left or closed.problems else Exit.DONE)
    changes = _remove_roles(peer, talk=not as_json) if profile else []
    if profile:  # a function may have opened something between the closing and the end of its role
        again = _close(env, uid, own, dry_run=False, quiet=as_json)
        if again.left or again.problems:
            _report(again, dry_run=False, as_json=as_json)
            raise typer.Exit(Exit.REFUSED)
    home, problem = _update_home(mine, _without(env.policy, uid), talk=not as_json)
    _finish(peer, account, closed, [*changes, *home], problem, made=bool(profile), as_json=as_json)


def _peer(env: Environment, uid: str, role: str, external_id: str, known: AccountPolicy | None, profile: str) -> Peer:
    """The account as it is to be: what the policy file says of it, else what is given, else what its role says already."""
    import os

    from link_peer.domain.errors import BadInput

    from link_peer_cli.access.keys import own_keys
    from link_peer_cli.io.environment import NO_KEYS
    from link_peer_cli.setup import Deployment
    from link_peer_cli.setup.peer import Peer, caller_of, external_id_of

    keys = own_keys(os.environ, profile)() if profile else NO_KEYS
    settings = msgspec.structs.replace(env.settings, credentials=keys)
    deployment = Deployment(settings, env.policy, env.names, env.clock)
    if profile and (owner := caller_of(deployment)) != uid:
        raise BadInput("--profile", f"the keys of {profile} belong to account {owner}, not to {uid}")
    listed = (known.role or "").partition(":role/")[2] if known else ""
    if role and listed and role != listed:
        raise BadInput("--role", f"the policy file names {listed}")
    role = role or listed or env.names.peer_role
    in_use = (known.external_id or "") if known else ""
    if external_id and in_use and external_id != in_use:
        raise BadInput("--external-id", "the policy file has another: change it there and run this again without it")
    standing = external_id_of(deployment, role) if profile and not (external_id or in_use) else ""
    return Peer(deployment, uid, role, external_id or in_use or standing or secrets.token_hex(16))


def _with_account(env: Environment, uid: str, lines: str) -> Policy:
    """The policy with the account. Raises PolicyError if its lines are not valid: a range, say."""
    from link_peer.inbound.policy_file import parse

    if uid in env.policy.accounts:
        return env.policy
    home = f'deployment: {env.policy.deployment}\naccounts:\n  "{env.policy.home}": {{name: home}}\n'
    added = parse(home + lines, "the new account").accounts[uid]
    return msgspec.structs.replace(env.policy, accounts={**env.policy.accounts, uid: added})


def _without(policy: Policy, uid: str) -> Policy:
    accounts = {other: account for other, account in policy.accounts.items() if other != uid}
    return msgspec.structs.replace(policy, accounts=accounts)


def _update_home(env: Environment, policy: Policy, *, talk: bool) -> tuple[list[Change], str]:
    """Bring home's role policies, and the accounts' own queues, to this policy. Returns what was changed, and why not."""
    from link_peer.domain.errors import LinkPeerError

    from link_peer_cli.io.environment import NO_KEYS
    from link_peer_cli.setup import Deployment, queues, roles
    from link_peer_cli.setup.peer import caller_of

    if env.settings.credentials == NO_KEYS:
        return [], "there are no keys of it"
    deployment = Deployment(env.settings, policy, env.names, env.clock)
    try:
        if (owner := caller_of(deployment)) != policy.home:
            return [], f"the keys belong to account {owner}"
        wanted = [one for one in roles.resources(deployment) if one.kind == "policy"]
        wanted += [one for one in queues.resources(deployment) if one.name in policy.bound_queues]
        return _carry_out(deployment, wanted, "home", talk=talk), ""
    except LinkPeerError as error:
        return [], str(error)


def _carry_out(deployment: Deployment, wanted: Sequence[object], where: str, *, talk: bool) -> list[Change]:
    """Create and update resources, and print each change."""
    from link_peer_cli.setup import plan
    from link_peer_cli.setup.engine import carry_out

    changes = [one for one in plan(wanted, deployment.clock) if one.action.value in ("create", "update")]  # type: ignore[arg-type]
    carry_out(changes, deployment.clock, lambda change: _print_change(change, where, talk=talk))
    return changes


def _remove_roles(peer: Peer, *, talk: bool) -> list[Change]:
    from link_peer_cli.setup.engine import carry_out, plan_removal

    clock = peer.deployment.clock
    changes = plan_removal(peer.resources(), clock, with_logs=True)
    carry_out(changes, clock, lambda change: _print_change(change, f"account {peer.uid}", talk=talk))
    return changes


def _print_change(change: Change, where: str, *, talk: bool) -> None:
    if talk:
        sign = {"create": "+", "update": "~", "delete": "-"}.get(change.action.value, " ")
        console().print(escape(f"{sign} {where}: {change}"), soft_wrap=True)


def _write(env: Environment, lines: str) -> None:
    from link_peer.inbound.policy_file import parse

    from link_peer_cli.io.policy_text import with_entry

    path = Path(env.settings.policy_path)
    text = with_entry(path.read_text(encoding="utf-8"), lines)
    parse(text, path.name)  # so that an invalid file is never written
    path.write_text(text, encoding="utf-8")


def _explain(env: Environment, peer: Peer, lines: str, *, made: bool, written: bool, listed: bool) -> None:
    """Print what the owner of the account must run, and the lines of the policy file."""
    out = console()
    if not made:
        out.print(f"\n[bold]The owner of account {peer.uid} runs one of these[/bold], with {escape(peer.template)}:\n")
        print(peer.ros_command())
        print("\n# or without ROS:")
        print("\n".join(peer.commands()))
    path = env.settings.policy_path
    if written:
        out.print(f"\n{escape(path)} has the account now.", soft_wrap=True)
    elif not listed:
        out.print(f"\n[bold]Add to `accounts` of {escape(path)}[/bold] (or run this with --write):\n", soft_wrap=True)
        print(lines, end="")
    out.print(f"\nThen: make package; s deploy -y; link-peer doctor {peer.uid}", soft_wrap=True)


def _close(env: Environment, uid: str, own: dict[str, Credentials], *, dry_run: bool, quiet: bool) -> Closed:
    """Run the closing sweep, and show its progress."""

    from link_peer_cli.clients.closing import close

    with progress_bar(unless=quiet) as bar:
        count = counter(bar, "accounts read", "groups read")
        return close(
            env,
            uid,
            own,
            count,
            dry_run=dry_run,
        )


def _report(closed: Closed, *, dry_run: bool, as_json: bool) -> None:
    """Print what was or would be closed, and what stands in the way of going on."""
    from link_peer_cli.io.lines import PLANNED
    from link_peer_cli.io.records import print_changes, print_records

    left = [f"{rule.id} on {rule.group}" for rule in closed.left]
    if as_json:
        commands = [msgspec.to_builtins(change) for change in closed.changes]
        print_json({"decisions": closed.records, "commands": commands, "left": left, "problems": closed.problems})
        return
    out, err = console(), console(stderr=True)
    print_records(out, "planned" if dry_run else "decisions", closed.records, PLANNED if dry_run else None)
    if dry_run:
        print_changes(out, closed.changes)
    for text in left:
        err.print(f"[red]still open: rule {escape(text)}[/red]", soft_wrap=True)
    for account, why in closed.problems.items():
        err.print(f"[red]could not read {account}: {escape(why)}[/red]", soft_wrap=True)
    if left or closed.problems:
        err.print("Nothing was removed but rules. Run the same command again when this is settled.")


def _finish(
    peer: Peer,
    account: AccountPolicy,
    closed: Closed,
    changes: list[Change],
    problem: str,
    *,
    made: bool,
    as_json: bool,
) -> None:
    """Say what is left for people to do."""
    from link_peer_cli.io.records import print_records
    from link_peer_cli.setup.peer import removal_commands

    commands = [] if made else removal_commands(peer.role)
    if as_json:
        names = [str(change) for change in changes]
        print_json({"decisions": closed.records, "changes": names, "commands": commands, "home": problem})
        return
    out = console()
    print_records(out, "decisions", closed.records)
    out.print(f"No rule of link-peer is left that account {peer.uid} has a part in.")
    if problem:
        out.print(f"[yellow]Home was not changed:[/yellow] {escape(problem)}: run `link-peer setup`", soft_wrap=True)
    out.print(
        f'Now delete "{peer.uid}" from `accounts` and `allow` of the policy file, then: make package; s deploy -y'
    )
    if commands:
        out.print(f"\n[bold]After that, the owner of account {peer.uid} runs:[/bold]\n")
        print("\n".join(commands))
    if account.queue:
        out.print(f"\nThe queue {account.queue} is not needed any more; delete it after the deploy.", soft_wrap=True)
