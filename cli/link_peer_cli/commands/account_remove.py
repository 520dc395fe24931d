"""`link-peer account remove`: close every link of an account, and take it out of the deployment."""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec
import typer
from link_peer.domain.errors import BadInput
from link_peer.domain.policy import AccountPolicy, Policy
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment, load_own, require_known
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.inputs import account_uid
from link_peer_cli.answers.deployment import AccountClosed, AccountRemoved
from link_peer_cli.audit.undo import undo
from link_peer_cli.checks.runs import sweeps_of_a_day
from link_peer_cli.closing.renamed import close_commands, rule_text, signs_by_name
from link_peer_cli.closing.run import Closed, close
from link_peer_cli.inventory.shown import Wording, wording
from link_peer_cli.review.plans import print_closed
from link_peer_cli.setup import ResourceChange
from link_peer_cli.setup.engine import plan_removal
from link_peer_cli.setup.member import denying, make_changes, peer_of, update_home
from link_peer_cli.setup.peer import PeerAccount
from link_peer_cli.setup.roles import require_ours
from link_peer_cli.setup.undo import of_removal
from link_peer_cli.ui.console import console, may_ask, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Adopt, DryRun, Json, Output, PeerProfile, Uid, Yes, plan_form
from link_peer_cli.ui.progress import counter, progress_bar
from link_peer_cli.ui.records import print_records, print_undo
from link_peer_cli.ui.tables import TableForm


def remove(
    uid: Uid,
    profile: PeerProfile = "",
    adopt: Adopt = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    output: Output = TableForm.TABLE,
    as_json: Json = False,
) -> None:
    """Close every link of an account, delete its roles (with `--profile`), and take it out of home's policies.

    Stops before the roles as long as a rule is left. Then delete the account's lines from the policy file and deploy.
    """
    form = plan_form(output, as_json=as_json)
    as_json = form is TableForm.JSON
    uid = account_uid(uid, "uid")
    env = load_environment(reading=dry_run)
    require_known(env, [uid], "uid")
    if uid == env.policy.home:
        raise BadInput("uid", f"{uid} is the home account: link-peer setup --remove removes the deployment")
    mine = load_own()
    account = env.policy.accounts[uid]
    peer = peer_of(mine, uid, "", "", account, profile)
    if profile:
        command = f"link-peer account remove {uid} --profile {profile} --adopt"
        require_ours(peer.resources(), command, adopts=adopt)
    peer_keys = {uid: peer.keys} if profile else {}
    reader = None if dry_run else load_environment(reading=True)
    if not (dry_run or yes):
        may_ask("closes", as_json=as_json)
        typer.confirm(f"Close every link of account {uid} and take it out of the deployment?", abort=True)
    peer = peer if dry_run else denying(mine, peer)
    policy = _without(env.policy, uid)
    preview = functools.partial(_preview, mine, policy, peer, has_keys=bool(profile)) if dry_run else None
    closed = _close(env, uid, peer_keys, reader, preview, form=form)
    changes = _remove_roles(peer, talk=not as_json) if profile else []
    if profile:  # a function may have opened something between the closing and the end of its role
        _close(env, uid, peer_keys, reader, None, form=form)
    home, problem = update_home(mine, policy, talk=not as_json)
    changed = [*changes, *home]
    way_back = [of_removal(peer, profile, changes)] if changed else []
    way_back += undo(closed.records, env.policy.keys, env.now)
    words = _wording(env, closed, form)
    _finish(peer, account, closed, changed, problem, way_back, words, roles_are_deleted=bool(profile), form=form)


def _without(policy: Policy, uid: str) -> Policy:
    accounts = {remaining_uid: account for remaining_uid, account in policy.accounts.items() if remaining_uid != uid}
    return msgspec.structs.replace(policy, accounts=accounts)


def _close(
    env: Environment,
    uid: str,
    peer_keys: dict[str, AccountKeys],
    reader: Environment | None,
    preview: Callable[[bool], list[ResourceChange]] | None,
    *,
    form: TableForm,
) -> Closed:
    """Run the closing sweep, and show its progress. If something is left, or in a dry run, which has a `preview` of
    what else would change, print what was or would be closed and what prevents the next steps, and exit."""
    dry_run = preview is not None
    with progress_bar(unless=form is TableForm.JSON) as bar:
        count = counter(bar, "accounts read", "groups read")
        closed = close(env, uid, peer_keys, count, dry_run=dry_run, reader=reader)
    name, marked = env.policy.deployment, [rule for rule in closed.remaining_rules if rule.marker]
    signs = signs_by_name(env, marked, sweeps_of_a_day)  # what is alive closes its rules by itself
    remaining = [rule for rule in marked if not signs.get(rule.deployment)]
    code = Exit.REFUSED if remaining or closed.problems else Exit.DONE
    if code is Exit.DONE and not dry_run:
        return closed
    standing = [
        ": ".join([rule_text(rule, name), *close_commands([rule] if rule.deployment != name else [])])
        for rule in remaining
    ]
    if form is TableForm.JSON:
        changes = [str(change) for change in preview(False)] if preview else []
        print_answer(AccountClosed(closed.records, closed.changes, standing, closed.problems, changes))
        raise typer.Exit(code)
    unread = {f"could not read {account}": problem for account, problem in closed.problems.items()}
    names, wide = _wording(env, closed, form).called, form is TableForm.WIDE
    print_closed(closed.records, closed.changes, standing, unread, names, dry_run=dry_run, wide=wide)
    if preview:
        preview(True)
    if standing or unread:
        console(stderr=True).print("Nothing was removed but rules. Run the same command again when this is settled.")
    raise typer.Exit(code)


def _wording(env: Environment, closed: Closed, form: TableForm) -> Wording:
    return wording(env.policy, env.now, closed.scene if form is TableForm.TABLE else None)


def _preview(
    mine: Environment, policy: Policy, peer: PeerAccount, talk: bool, *, has_keys: bool
) -> list[ResourceChange]:
    """The roles that would be deleted, with keys of the account, and what would change at home."""
    roles = _remove_roles(peer, talk=talk, dry_run=True) if has_keys else []
    home, problem = update_home(mine, policy, talk=talk, dry_run=True)
    if problem and talk:
        console().print(f"[yellow]Home would not be changed:[/yellow] {escape(problem)}")
    return [*roles, *home]


def _remove_roles(peer: PeerAccount, *, talk: bool, dry_run: bool = False) -> list[ResourceChange]:
    """Delete the roles of link-peer in the account, unless it is a `dry_run`, and print each."""
    clock = peer.deployment.clock
    changes = plan_removal(peer.resources(), clock, with_logs=True)
    return make_changes(changes, clock, f"account {peer.uid}", talk=talk, dry_run=dry_run)


def _finish(
    peer: PeerAccount,
    account: AccountPolicy,
    closed: Closed,
    changes: list[ResourceChange],
    problem: str,
    way_back: list[str],
    words: Wording,
    *,
    roles_are_deleted: bool,
    form: TableForm,
) -> None:
    """Say what is left for people to do."""
    commands = [] if roles_are_deleted else peer.removal_commands()
    if form is TableForm.JSON:
        names = [str(change) for change in changes]
        print_answer(AccountRemoved(closed.records, names, commands, problem, way_back))
        return
    out = console()
    print_records(out, "decisions", closed.records, names=words.called, wide=form is TableForm.WIDE)
    out.print(f"No rule of link-peer is left that account {peer.uid} has a part in.")
    if problem:
        out.print(f"[yellow]Home was not changed:[/yellow] {escape(problem)}: run `link-peer setup`")
    out.print(
        f'Now delete "{peer.uid}" from `accounts` and `allow` of the policy file, then: link-peer package; s deploy -y'
    )
    if commands:
        out.print(f"\n[bold]After that, the owner of account {peer.uid} runs:[/bold]\n")
        print("\n".join(commands))
    if account.queue:
        out.print(f"\nThe queue {account.queue} is not needed any more; delete it after the deploy.")
    print_undo(out, way_back)
