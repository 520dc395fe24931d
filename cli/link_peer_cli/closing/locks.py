"""The groups that `close` and `reopen` are about, and the locks on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.model import Group, Party
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry

from link_peer_cli.access.environment import SECONDS, Environment, require_known
from link_peer_cli.access.inputs import account_uid, party
from link_peer_cli.consent.group_tags import PAGE, GroupTags
from link_peer_cli.ui.progress import waiting


class Chosen(msgspec.Struct):
    """The groups that a command is about, with their tags; and why an account could not be read."""

    tags: dict[Party, dict[str, str]]
    problems: dict[str, str]


def tags_of(env: Environment, profiles: list[str] | None) -> GroupTags:
    """The tags of groups, written in the home account as the operator."""
    made = GroupTags(env, profiles or [])
    if made.own == env.policy.home:
        made.first_as(env.settings.credentials)
    return made


def choose(
    env: Environment,
    tags: GroupTags,
    groups: list[str] | None,
    account: str,
    of_account: Callable[[Ecs], list[Group]],
    *,
    everything: bool,
) -> Chosen:
    """The groups that are named; or those of one account, or of all, that `of_account` gives.

    Only for accounts of which there are keys it waits until a throttled API takes calls again: nothing is written in others.
    """
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
    clouds = [
        env.accounts("close", retry) for retry in (Retry(env.clock, env.clock.now() + SECONDS), env.patient_retry())
    ]
    chosen = Chosen({}, {})
    with waiting("reading the groups"):
        for uid in [account] if account else env.policy.accounts:
            try:
                chosen.tags |= {
                    group.party: dict(group.tags) for group in of_account(clouds[uid in tags.accounts].ecs(uid))
                }
            except LinkPeerError as error:
                chosen.problems[uid] = str(error)
    return chosen


def each_account(
    groups: Iterable[Party], change: Callable[[list[Party]], None]
) -> tuple[frozenset[Party], dict[str, str]]:
    """Make a change to the groups of each account. Returns those that it failed for, and why, by account or by group.

    One group for which it fails, such as one that was deleted a moment ago or whose tags are full, fails for no other.
    """
    problems: dict[str, str] = {}
    failed: dict[Party, str] = {}
    by_account: dict[str, list[Party]] = {}
    for group in groups:
        by_account.setdefault(group.account, []).append(group)
    for account, some in by_account.items():
        found: dict[Party, str] = {}
        for start in range(0, len(some), PAGE):
            found |= _in_halves(some[start : start + PAGE], change)
        whole = len(found) == len(some)
        problems |= {account: next(iter(found.values()))} if whole else {str(one): why for one, why in found.items()}
        failed |= found
    return frozenset(failed), problems


def _in_halves(groups: list[Party], change: Callable[[list[Party]], None]) -> dict[Party, str]:
    """Make a change to groups together and, where that fails, to each half. Returns what went wrong, by group."""
    try:
        change(groups)
    except LinkPeerError as error:
        if len(groups) == 1:
            return {groups[0]: str(error)}
        half = len(groups) // 2
        return _in_halves(groups[:half], change) | _in_halves(groups[half:], change)
    return {}
