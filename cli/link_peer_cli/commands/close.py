"""`link-peer close`: lock groups, and remove their rules at once."""

from __future__ import annotations

import sys

import msgspec
import typer
from link_peer.domain.denials import CLOSED_BY
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Party
from link_peer.domain.tags import iso
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.noted import of_tags
from link_peer_cli.answers.changes import Closing
from link_peer_cli.checks.former import require_former
from link_peer_cli.checks.running import other_policy
from link_peer_cli.closing.locks import Chosen, choose, each_account, tags_of
from link_peer_cli.closing.renamed import close_deployment
from link_peer_cli.closing.run import Closed, close_locked, untagged
from link_peer_cli.consent.group_tags import GroupTags
from link_peer_cli.review.plans import print_changes
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Account, All, Deployment, DryRun, EvenIfAlive, Groups, Json, Profiles, Yes
from link_peer_cli.ui.progress import progress_bar
from link_peer_cli.ui.records import PLANNED, print_foreign, print_records

TAG_VALUE = 128  # characters


def close(
    groups: Groups = None,
    account: Account = "",
    everything: All = False,
    deployment: Deployment = "",
    even_if_alive: EvenIfAlive = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Lock groups with a tag and remove link-peer's rules from them now. Nothing is opened there until `reopen`.

    The tag in another account is written with keys of that account (`--profile`); without, its owner gets the command.
    """
    if deployment and (groups or account or everything):
        raise BadInput(
            "--deployment", "it closes what that name has in all accounts: give no groups, --account or --all"
        )
    env = load_environment(reading=dry_run)
    if deployment:
        require_former(env, deployment, insists=even_if_alive)
        close_deployment(env, deployment, profile, dry_run=dry_run, yes=yes, as_json=as_json)
    tags = tags_of(env, profile)
    at_home = tags.own == env.policy.home
    managed = env.policy.keys.managed
    chosen = choose(env, tags, groups, account, lambda ecs: ecs.tagged_groups(managed), everything=everything)
    if not (groups or dry_run or yes):
        if as_json or not sys.stdin.isatty():
            raise BadInput("--yes", "it would ask before it closes: give --yes, or --dry-run to see what")
        typer.confirm(
            f"Lock {len(chosen.tags)} groups, and any other that holds rules of link-peer, and remove their rules?",
            abort=True,
        )
    value = f"{CLOSED_BY}{tags.caller[: TAG_VALUE - len(CLOSED_BY) - 21]} {iso(env.clock.now())}"
    done = _lock(env, tags, chosen.tags, value, dry_run=dry_run, quiet=as_json)
    if at_home and not groups:
        lost, problems = _untagged(env, [account] if account else sorted(env.policy.accounts), chosen.tags, as_json)
        done = done.plus(_lock(env, tags, lost, value, dry_run=dry_run, quiet=as_json))
        chosen.problems |= problems
    _report(env, chosen, done, other_policy(env) if at_home else "", dry_run, as_json)


class Locked(msgspec.Struct, frozen=True):
    """What was or would be done: the groups that are locked; the command for the owner, for groups of which there are no
    keys; why an account refused; and what was closed, None where the keys cannot enter home."""

    groups: list[Party]
    foreign: dict[Party, str]
    problems: dict[str, str]
    closed: Closed | None

    def plus(self, other: Locked) -> Locked:
        """Both, one after the other."""
        closed = self.closed + other.closed if self.closed and other.closed else self.closed
        return Locked(self.groups + other.groups, self.foreign | other.foreign, self.problems | other.problems, closed)


def _lock(
    env: Environment, tags: GroupTags, groups: dict[Party, dict[str, str]], value: str, *, dry_run: bool, quiet: bool
) -> Locked:
    """Lock groups, given with their tags, and remove the rules of link-peer from them."""
    key = env.policy.keys.lock

    due = [group for group, found in groups.items() if not env.policy.keys.own_locks(found)]
    commands = {group: tags.commands(group, {key: value}, [])[0] for group in due}
    foreign = {group: commands[group] for group in due if group.account not in tags.accounts}
    failed: frozenset[Party] = frozenset()
    problems: dict[str, str] = {}
    if not dry_run:
        mine = [group for group in due if group not in foreign]
        CHANGES.expect(of_tags("put", [key], group) for group in mine)
        failed, problems = each_account(mine, lambda some: tags.put(some, {key: value}))
    locks = {group: commands.get(group, "") if dry_run else "" for group in groups if group not in foreign}
    locks = {group: command for group, command in locks.items() if group not in failed}
    at_home = tags.own == env.policy.home
    closed = _remove(env, locks, tags.caller, dry_run=dry_run, quiet=quiet) if at_home else None
    return Locked(list(locks), foreign, problems, closed)


def _untagged(
    env: Environment, accounts: list[str], known: dict[Party, dict[str, str]], quiet: bool
) -> tuple[dict[Party, dict[str, str]], dict[str, str]]:
    """The groups with rules of link-peer that lost their managed tag, with their tags; and why an account could not be
    read. Shows the progress: the rules of every group are read."""

    with progress_bar(unless=quiet) as bar:
        task = bar.add_task("groups without the managed tag read", total=None)
        found, problems = untagged(
            env, accounts, known, lambda done, all_: bar.update(task, completed=done, total=all_)
        )
    return {group.party: dict(group.tags) for group in found}, problems


def _remove(env: Environment, locks: dict[Party, str], caller: str, *, dry_run: bool, quiet: bool) -> Closed:
    """Remove the rules of locked groups, and show the progress."""

    with progress_bar(unless=quiet) as bar:
        task = bar.add_task("groups closed", total=len(locks))
        return close_locked(env, locks, caller, lambda: bar.advance(task), dry_run=dry_run)


def _report(
    env: Environment,
    chosen: Chosen,
    done: Locked,
    warning: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Print what was or would be closed, and what is left."""
    closed, locked, foreign = done.closed, done.groups, done.foreign
    problems = {**chosen.problems, **done.problems, **(closed.problems if closed else {})}
    records, changes = (closed.records, closed.changes) if closed else ([], [])
    left = [f"{rule.id} on {rule.group}" for rule in closed.left] if closed else []
    if as_json:
        print_answer(
            Closing(
                locked=[] if dry_run else [str(group) for group in locked],
                decisions=records,
                commands=changes,
                foreign={str(group): command for group, command in foreign.items()},
                left=left if closed else None,
                problems=problems,
                warning=warning,
            )
        )
    else:
        out, err = console(), console(stderr=True)
        if records:
            print_records(out, "planned decisions" if dry_run else "decisions", records, PLANNED if dry_run else None)
        if dry_run:
            print_changes(out, changes)
        for text in left:
            err.print(f"[red]still open: rule {escape(text)}[/red]", soft_wrap=True)
        for where, why in problems.items():
            err.print(f"[red]{escape(where)}: {escape(why)}[/red]", soft_wrap=True)
        print_foreign(foreign)
        if warning:
            err.print(f"[yellow]the functions have another policy: {escape(warning)}[/yellow]", soft_wrap=True)
        if not dry_run:
            _say_closed(env, done, sum(record["outcome"] == "removed" for record in records))
    raise typer.Exit(Exit.REFUSED if left or problems or foreign else Exit.DONE)


def _say_closed(env: Environment, done: Locked, removed: int) -> None:
    """Say how many groups were locked, and what is known of their rules."""
    out = console()
    locked = f"groups locked: {len(done.groups)}"
    if done.closed is None:
        text = f"{locked}. The keys are not of account {env.policy.home}: the next sweep removes the rules."
        out.print(text, soft_wrap=True)
    else:
        out.print(f"{locked}; links closed: {removed}; rules left: {len(done.closed.left)}", soft_wrap=True)
    if done.foreign:
        out.print(f"groups not locked: {len(done.foreign)}. Their rules may stay until their owners lock them.")
    if done.closed and done.groups:  # a person who sees 0 alone would look for what went wrong
        out.print("The functions close locked groups, too, and may be first: link-peer audit --reason locked")
