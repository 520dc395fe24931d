"""`link-peer reopen`: take off the locks that `close` set."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated

import msgspec
import typer
from link_peer.domain.denials import CLOSED_BY
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Group, Party
from rich.markup import escape

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.access.noted import of_tags
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import Reopening
from link_peer_cli.audit.undo import undo
from link_peer_cli.closing.locks import (
    OPENS_AGAIN,
    GroupsByAccount,
    by_account,
    change_tags,
    enter,
    in_each,
    pages,
    requested_groups,
    tags_of,
)
from link_peer_cli.closing.pair_run import reopen_pair
from link_peer_cli.consent.group_tags import GroupTags, record_tags, tag_records
from link_peer_cli.inventory.shown import scene_of, wording
from link_peer_cli.review.plans import print_changes
from link_peer_cli.ui import aliyun
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Account, All, Between, DryRun, Groups, Json, Profiles
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.records import print_undo
from link_peer_cli.ui.remedies import message
from link_peer_cli.ui.tables import print_list


class LockedGroups(msgspec.Struct):
    """The groups with locks: the keys of the locks that are taken off, and those that stay, with their values; and why
    an account or group is not as it should be; and the groups that are due, as they were read."""

    due: dict[Party, tuple[str, ...]]
    foreign_locks: dict[Party, str]
    common: dict[Party, tuple[str, str]]
    problems: dict[str, str]
    groups: dict[Party, Group]


def reopen(
    groups: Groups = None,
    account: Account = "",
    all_accounts: All = False,
    between: Between = False,
    force: Annotated[bool, typer.Option("--force", help="Also remove locks that `close` did not set.")] = False,
    profile: Profiles = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove the locks that `close` set. What tags still ask for is opened again; requests must be posted again.

    Another account is entered as by `close`; by its closer role, only locks that home set are removed. With
    `--between`, the refusals that `close --between` set for these two are removed, and no lock.
    """
    env = load_environment(reading=dry_run, anywhere=True)
    tags = tags_of(env, profile)
    if between:
        if account or all_accounts or force:
            raise BadInput("--between", "give it with two groups, instances or accounts alone")
        reopen_pair(env, tags, groups, dry_run=dry_run, as_json=as_json)
    accounts = requested_groups(env, tags.own_account, groups, account, all_accounts=all_accounts, opens=True)
    accounts_with_keys = set(tags.accounts)
    refused = enter(env, tags, accounts)
    locked_groups = _find(env, tags, accounts, accounts_with_keys, force=force)
    mine = {uid: due_groups for uid, due_groups in by_account(locked_groups.due).items() if uid in tags.accounts}
    reopened_groups = [] if dry_run else _take_off(tags, mine, locked_groups)
    tags_before = {party: group.tags for party, group in locked_groups.groups.items()}
    records = tag_records(env, tags, "reopen", tags_before)
    way_back = undo(records, env.policy.keys, env.now)
    if records and (problem := record_tags(env, tags, "reopen", records)) and tags.own_account == env.policy.home:
        locked_groups.problems["the audit log"] = f"it has no record of this: {problem}"
    calls = [
        CloudCall(uid, text)
        for uid, due_groups in by_account(locked_groups.due).items()
        for text in _calls(env, due_groups, locked_groups.due)
    ]
    foreign = [call for call in calls if call.account not in tags.accounts]
    if as_json:
        remaining_locks = {
            **locked_groups.foreign_locks,
            **{group: value for group, (_, value) in locked_groups.common.items()},
        }
        print_answer(
            Reopening(
                [str(group) for group in reopened_groups],
                calls,
                foreign,
                {str(group): value for group, value in remaining_locks.items()},
                locked_groups.problems,
                way_back,
            )
        )
    else:
        planned = [call for call in calls if call not in foreign]
        _say(env, locked_groups, reopened_groups, planned, dry_run=dry_run)
        for uid, account_groups in [] if dry_run else by_account(locked_groups.due).items():
            if uid in refused:
                out = f"account {uid}: not reopened, since it was not entered ({refused[uid]}). Its owner runs this command, or use --profile:"
                console().print("\n".join(map(escape, (out, *_calls(env, account_groups, locked_groups.due)))))
        print_undo(console(), way_back)
    failed = (
        locked_groups.problems
        or (foreign and not dry_run)
        or ((locked_groups.foreign_locks or locked_groups.common) and groups)
    )
    raise typer.Exit(Exit.REFUSED if failed else Exit.DONE)


def _find(
    env: Environment, tags: GroupTags, accounts: GroupsByAccount, mine: Container[str], *, force: bool
) -> LockedGroups:
    """The groups with locks in each account, side by side. None waits for one that throttles every call, unless there
    are keys of it. `mine` are the accounts of the person's keys: a closer role is given to close, and takes off what
    home locked."""
    keys, peer_keys = (
        env.policy.keys,
        {uid: account_keys for uid, account_keys in tags.accounts.items() if uid != env.policy.home},
    )

    def read(uid: str) -> list[Group] | str:
        if tags.own_account != env.policy.home and uid not in peer_keys:
            return "you have no keys of this account"
        try:
            ecs, named_groups = env.accounts("reopen", env.patient_retry(), peer_keys).ecs(uid), accounts[uid]
            groups = (
                ecs.all_groups() if named_groups is None else ecs.groups([group.id for group in sorted(named_groups)])
            )
            if missing := (named_groups or frozenset()) - {group.party for group in groups}:
                return f"{min(missing).id} does not exist"
            return [group for group in groups if keys.lock_on(group.tags)]
        except LinkPeerError as error:
            return message(error, uid)

    with waiting("reading the groups"):
        read_ = in_each(accounts, read)
    locked_groups = LockedGroups(
        {}, {}, {}, {uid: problem for uid, problem in read_.items() if isinstance(problem, str)}, {}
    )
    for read_group in (group for groups in read_.values() if not isinstance(groups, str) for group in groups):
        group, group_tags = read_group.party, read_group.tags
        locks = {key: group_tags[key] for key in keys.own_locks(group_tags)}
        closer = group.account in tags.accounts and group.account not in mine
        account = f"::{env.policy.home}:" if closer else ""  # in the ARN of who closed
        closed = {value for value in locks.values() if value.startswith(CLOSED_BY) and account in value}
        remaining_locks = [] if force and not closer else [value for value in locks.values() if value not in closed]
        if remaining_locks:
            locked_groups.foreign_locks[group] = remaining_locks[-1]
        elif locks:
            locked_groups.due[group], locked_groups.groups[group] = tuple(locks), read_group
        # under another tag prefix, this one is not this deployment's: it locks the group for the others too
        if (key := keys.lock_on(group_tags)) not in locks:
            locked_groups.common[group] = (key, group_tags[key])
    return locked_groups


def _take_off(tags: GroupTags, mine: Mapping[str, list[Party]], locked_groups: LockedGroups) -> list[Party]:
    """Take locks off in all accounts side by side, and note what failed. Returns the groups without a lock."""
    CHANGES.expect(of_tags("take off", locked_groups.due[group], group) for groups in mine.values() for group in groups)

    def change(uid: str) -> dict[Party, LinkPeerError]:
        failed: dict[Party, LinkPeerError] = {}
        for by, groups in grouped((locked_groups.due[group], group) for group in mine[uid]).items():
            failed |= change_tags(groups, lambda batch, by=by: tags.drop(batch, by))  # type: ignore[misc]
        return failed

    failed = {group: error for failures in in_each(mine, change).values() for group, error in failures.items()}
    locked_groups.problems |= {str(group): str(error) for group, error in failed.items()}
    return [group for groups in mine.values() for group in groups if group not in failed]


def _calls(env: Environment, groups: list[Party], due: Mapping[Party, tuple[str, ...]]) -> list[str]:
    """The commands that take these locks off, for groups of one account."""
    region, commands = env.settings.region, []
    for by, batch in grouped((due[group], group) for group in groups).items():
        commands += pages(batch, lambda ids, by=by: aliyun.untag(region, ids, by))  # type: ignore[misc]
    return commands


def _say(
    env: Environment,
    locked_groups: LockedGroups,
    reopened_groups: list[Party],
    planned: list[CloudCall],
    *,
    dry_run: bool,
) -> None:
    out, err = console(), console(stderr=True)
    for group, (key, _) in locked_groups.common.items():
        command = aliyun.untag(env.settings.region, [group.id], [key])
        text = f"{group} stays locked: {key} locks it for every deployment. Its owner removes it: {command}"
        out.print(escape(text))
    if dry_run:
        words = wording(env.policy, env.now, scene_of(locked_groups.groups.values()))
        print_list(out, "groups to unlock", [words.worded(str(group)) for group in locked_groups.due])
        print_changes(out, planned)
    for group, value in locked_groups.foreign_locks.items():
        text = f"{group} stays locked ({value}): with keys of its account, --force removes this lock, too"
        out.print(escape(text))
    for where, problem in locked_groups.problems.items():
        err.print(f"[red]{escape(where)}: {escape(problem)}[/red]")
    if not dry_run:
        out.print(f"locks removed: {len(reopened_groups)}")
        if reopened_groups:
            out.print(OPENS_AGAIN)
