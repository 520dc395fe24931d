"""`link-peer close` and `link-peer reopen`: lock groups and remove their rules at once, and take the locks off again."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.markup import escape

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from link_peer.domain.model import Group, Party
    from link_peer.runtime.ports import Ecs

    from link_peer_cli.clients.closing import Closed
    from link_peer_cli.clients.group_tags import GroupTags
    from link_peer_cli.io.environment import Environment

TAG_VALUE = 128  # characters

Groups = Annotated[list[str] | None, typer.Argument(help="sg-…, optionally with @<account>.", metavar="[GROUP]...")]
Account = Annotated[
    str, typer.Option(help="All groups of this account (uid or name) that hold rules of link-peer, or are locked.")
]
All = Annotated[bool, typer.Option("--all", help="The same for all accounts.")]
Profiles = Annotated[
    list[str] | None,
    typer.Option("--profile", help="A profile of the `aliyun` CLI with keys of another account; repeat for more."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would change.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]


class Chosen(msgspec.Struct):
    """The groups that a command is about, with their tags; and why an account could not be read."""

    tags: dict[Party, dict[str, str]]
    problems: dict[str, str]


def close(
    groups: Groups = None,
    account: Account = "",
    everything: All = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Lock groups (tag link-lock) and remove link-peer's rules from them now. Nothing is opened there until `reopen`.

    The tag in another account is written with keys of that account (`--profile`); without, its owner gets the command.
    """
    from link_peer.domain.denial import CLOSED_BY
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import iso, managed_tag

    from link_peer_cli.checks.running import other_policy
    from link_peer_cli.io.environment import load_environment

    env = load_environment(reading=dry_run)
    tags = _tags(env, profile)
    at_home = tags.own == env.policy.home
    managed = managed_tag(env.policy.deployment, env.policy.home)
    chosen = _choose(env, tags, groups, account, lambda ecs: ecs.tagged_groups(managed), everything=everything)
    if not (groups or dry_run or yes):
        if as_json or not sys.stdin.isatty():
            raise BadInput("--yes", "it would ask before it closes: give --yes, or --dry-run to see what")
        typer.confirm(f"Lock {len(chosen.tags)} groups and remove their rules?", abort=True)
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
    from link_peer.domain.tags import LOCK_TAG

    due = [group for group, found in groups.items() if LOCK_TAG not in found]
    commands = {group: tags.commands(group, {LOCK_TAG: value}, [])[0] for group in due}
    foreign = {group: commands[group] for group in due if group.account not in tags.accounts}
    problems: dict[str, str] = {}
    if not dry_run:
        mine = [group for group in due if group not in foreign]
        problems = _each_account(mine, lambda some: tags.put(some, {LOCK_TAG: value}))
    locks = {group: commands.get(group, "") if dry_run else "" for group in groups if group not in foreign}
    locks = {group: command for group, command in locks.items() if str(group.account) not in problems}
    at_home = tags.own == env.policy.home
    closed = _remove(env, locks, tags.caller, dry_run=dry_run, quiet=quiet) if at_home else None
    return Locked(list(locks), foreign, problems, closed)


def _untagged(
    env: Environment, accounts: list[str], known: dict[Party, dict[str, str]], quiet: bool
) -> tuple[dict[Party, dict[str, str]], dict[str, str]]:
    """The groups with rules of link-peer that lost their managed tag, with their tags; and why an account could not be
    read. Shows the progress: the rules of every group are read."""
    from rich.progress import Progress

    from link_peer_cli.clients.closing import untagged

    err = console(stderr=True)
    with Progress(console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task("groups without the managed tag read", total=None)
        found, problems = untagged(
            env, accounts, known, lambda done, all_: bar.update(task, completed=done, total=all_)
        )
    return {group.party: dict(group.tags) for group in found}, problems


def reopen(
    groups: Groups = None,
    account: Account = "",
    everything: All = False,
    force: Annotated[bool, typer.Option("--force", help="Take off locks that `close` did not set, too.")] = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take off the locks that `close` set. What tags still ask for is opened again; requests must be posted again."""
    from link_peer.domain.denial import CLOSED_BY
    from link_peer.domain.tags import LOCK_TAG

    from link_peer_cli.io.environment import load_environment

    env = load_environment(reading=dry_run)
    tags = _tags(env, profile)

    def locked(ecs: Ecs) -> list[Group]:
        return [group for group in ecs.all_groups() if LOCK_TAG in group.tags]

    chosen = _choose(env, tags, groups, account, locked, everything=everything)
    values = {group: found[LOCK_TAG] for group, found in chosen.tags.items() if LOCK_TAG in found}
    kept = {group: value for group, value in values.items() if not (force or value.startswith(CLOSED_BY))}
    due = [group for group in values if group not in kept]
    commands = {group: tags.commands(group, {}, [LOCK_TAG])[0] for group in due}
    foreign = {group: commands[group] for group in due if group.account not in tags.accounts}
    mine = [group for group in due if group not in foreign]
    if not dry_run:
        chosen.problems |= _each_account(mine, lambda some: tags.drop(some, [LOCK_TAG]))
    done = [group for group in mine if group.account not in chosen.problems]
    if as_json:
        print_json(
            {
                "reopened": [] if dry_run else [str(group) for group in done],
                "commands": [{"account": group.account, "command": commands[group]} for group in due],
                "foreign": {str(group): command for group, command in foreign.items()},
                "kept": {str(group): value for group, value in kept.items()},
                "problems": chosen.problems,
            }
        )
    else:
        _say_reopened(chosen, done, commands, foreign, kept, dry_run=dry_run)
    refused = chosen.problems or (foreign and not dry_run) or (kept and groups)
    raise typer.Exit(Exit.REFUSED if refused else Exit.DONE)


def _tags(env: Environment, profiles: list[str] | None) -> GroupTags:
    """The tags of groups, written in the home account as the operator."""
    from link_peer_cli.clients.group_tags import GroupTags

    made = GroupTags(env, profiles or [])
    if made.own == env.policy.home:
        made.accounts[made.own] = env.settings.credentials
    return made


def _choose(
    env: Environment,
    tags: GroupTags,
    groups: list[str] | None,
    account: str,
    of_account: Callable[[Ecs], list[Group]],
    *,
    everything: bool,
) -> Chosen:
    """The groups that are named; or those of one account, or of all, that `of_account` gives."""
    from link_peer.domain.errors import BadInput, LinkPeerError
    from link_peer.runtime.retry import Retry

    from link_peer_cli.access.roles import PersonsAccounts
    from link_peer_cli.clients.whatif.delivery import LONGEST_WAIT, SECONDS
    from link_peer_cli.io.environment import require_known
    from link_peer_cli.io.inputs import account_uid, party

    if bool(groups) + bool(account) + everything != 1:
        raise BadInput("groups", "give groups, or --account, or --all")
    if groups:
        parties = [party(text, "group", tags.own) for text in groups]
        for one in parties:
            if not one.is_group:
                raise BadInput("group", f"{one.id} is an instance: a lock is a tag of a group")
        require_known(env, [one.account for one in parties], "group")
        return Chosen({one: tags.read(one) for one in dict.fromkeys(parties)}, {})
    if account:
        account = account_uid(account, "--account")
        require_known(env, [account], "--account")
    retry = Retry(env.clock, env.clock.now() + SECONDS, LONGEST_WAIT)
    cloud = PersonsAccounts(env.settings, env.policy, env.clock, retry, "close", reading=env.reading)
    chosen = Chosen({}, {})
    for uid in [account] if account else env.policy.accounts:
        try:
            chosen.tags |= {group.party: dict(group.tags) for group in of_account(cloud.ecs(uid))}
        except LinkPeerError as error:
            chosen.problems[uid] = str(error)
    return chosen


def _each_account(groups: Iterable[Party], change: Callable[[list[Party]], None]) -> dict[str, str]:
    """Make a change to the groups of each account. Returns what went wrong, by account."""
    from link_peer.domain.errors import LinkPeerError

    problems: dict[str, str] = {}
    by_account: dict[str, list[Party]] = {}
    for group in groups:
        by_account.setdefault(group.account, []).append(group)
    for account, some in by_account.items():
        try:
            change(some)
        except LinkPeerError as error:
            problems[account] = str(error)
    return problems


def _remove(env: Environment, locks: dict[Party, str], caller: str, *, dry_run: bool, quiet: bool) -> Closed:
    """Remove the rules of locked groups, and show the progress."""
    from rich.progress import Progress

    from link_peer_cli.clients.closing import close_locked

    err = console(stderr=True)
    with Progress(console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
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
    from link_peer_cli.io.lines import PLANNED
    from link_peer_cli.io.records import print_changes, print_records

    closed, locked, foreign = done.closed, done.groups, done.foreign
    problems = {**chosen.problems, **done.problems, **(closed.problems if closed else {})}
    records, changes = (closed.records, closed.changes) if closed else ([], [])
    left = [f"{rule.id} on {rule.group}" for rule in closed.left] if closed else []
    if as_json:
        print_json(
            {
                "locked": [] if dry_run else [str(group) for group in locked],
                "decisions": records,
                "commands": [msgspec.to_builtins(change) for change in changes],
                "foreign": {str(group): command for group, command in foreign.items()},
                "left": left,
                "problems": problems,
                "warning": warning,
            }
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
        _print_foreign(foreign)
        if warning:
            err.print(f"[yellow]the functions have another policy: {escape(warning)}[/yellow]", soft_wrap=True)
        if not dry_run:
            removed = sum(record["outcome"] == "removed" for record in records)
            if locked and not removed:  # a person who sees 0 alone would look for what went wrong
                out.print("This command found no rule left to remove. The functions close locked groups, too.")
            out.print(f"groups locked: {len(locked)}; links closed: {removed}; rules left: {len(left)}")
            out.print("The functions close locked groups, too. All removals: link-peer audit --reason locked")
        if closed is None:
            out.print(f"The keys are not of account {env.policy.home}: the next sweep removes the rules.")
    raise typer.Exit(Exit.REFUSED if left or problems or foreign else Exit.DONE)


def _say_reopened(
    chosen: Chosen,
    done: list[Party],
    commands: dict[Party, str],
    foreign: dict[Party, str],
    kept: dict[Party, str],
    *,
    dry_run: bool,
) -> None:
    out, err = console(), console(stderr=True)
    for group in done if dry_run else ():
        out.print(escape(f"# account {group.account}\n{commands[group]}"), soft_wrap=True)
    for group, value in kept.items():
        out.print(escape(f"{group} stays locked ({value}): --force takes this lock off, too"), soft_wrap=True)
    for where, why in chosen.problems.items():
        err.print(f"[red]{escape(where)}: {escape(why)}[/red]", soft_wrap=True)
    _print_foreign(foreign)
    if not dry_run:
        out.print(f"locks taken off: {len(done)}")
        if done:
            out.print("What tags ask for is opened again: at home within seconds, elsewhere by the next sweep.")
            out.print("Requests must be posted again.")


def _print_foreign(foreign: dict[Party, str]) -> None:
    for group, command in foreign.items():
        text = f"not changed; the owner of account {group.account} runs, or give --profile: {command}"
        console().print(escape(text), soft_wrap=True)
