"""`link-peer reopen`: take off the locks that `close` set."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from link_peer.domain.denials import CLOSED_BY
from link_peer.domain.model import Group, Party
from link_peer.runtime.ports import Ecs
from rich.markup import escape

from link_peer_cli.access.environment import load_environment
from link_peer_cli.access.noted import of_tags
from link_peer_cli.answers import CloudCall
from link_peer_cli.answers.changes import Reopening
from link_peer_cli.closing.locks import Chosen, choose, each_account, tags_of
from link_peer_cli.ui.changes import CHANGES
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import Account, All, DryRun, Groups, Json, Profiles
from link_peer_cli.ui.records import print_foreign


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
    env = load_environment(reading=dry_run)
    tags, keys = tags_of(env, profile), env.policy.keys

    def locked(ecs: Ecs) -> list[Group]:
        return [group for group in ecs.all_groups() if keys.lock_on(group.tags)]

    chosen = choose(env, tags, groups, account, locked, everything=everything)
    locks = {group: {key: found[key] for key in keys.own_locks(found)} for group, found in chosen.tags.items()}
    kept = {group: value for group, by in locks.items() if not force for value in by.values() if not _by_close(value)}
    due = {group: tuple(by) for group, by in locks.items() if by and group not in kept}
    commands = {group: tags.commands(group, {}, by)[0] for group, by in due.items()}
    # under another tag prefix, this one is not this deployment's: it locks the group for the others too
    common = {g: key for g, found in chosen.tags.items() if (key := keys.lock_on(found)) and key not in locks[g]}
    foreign = {group: commands[group] for group in due if group.account not in tags.accounts}
    mine = [group for group in due if group not in foreign]
    failed: frozenset[Party] = frozenset()
    if not dry_run:
        CHANGES.expect(of_tags("take off", due[group], group) for group in mine)
        for by in dict.fromkeys(due.values()):
            some = [group for group in mine if due[group] == by]
            not_done, problems = each_account(some, partial(tags.drop, keys=by))
            failed |= not_done
            chosen.problems |= problems
    done = [group for group in mine if group not in failed]
    if as_json:
        print_answer(
            Reopening(
                reopened=[] if dry_run else [str(group) for group in done],
                commands=[CloudCall(group.account, commands[group]) for group in due],
                foreign={str(group): command for group, command in foreign.items()},
                kept={str(g): value for g, value in {**kept, **{g: chosen.tags[g][common[g]] for g in common}}.items()},
                problems=chosen.problems,
            )
        )
    else:
        for group, key in common.items():
            command = tags.commands(group, {}, [key])[0]
            text = f"{group} stays locked: {key} locks it for every deployment. Its owner takes it off: {command}"
            console().print(escape(text), soft_wrap=True)
        _say_reopened(chosen, done, commands, foreign, kept, dry_run=dry_run)
    refused = chosen.problems or (foreign and not dry_run) or ((kept or common) and groups)
    raise typer.Exit(Exit.REFUSED if refused else Exit.DONE)


def _by_close(value: str) -> bool:
    return value.startswith(CLOSED_BY)


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
    print_foreign(foreign)
    if not dry_run:
        out.print(f"locks taken off: {len(done)}")
        if done:
            out.print("What tags ask for is opened again: at home within seconds, elsewhere by the next sweep.")
            out.print("Requests must be posted again.")
