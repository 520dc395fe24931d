"""The groups that `close` and `reopen` are about, the keys of their accounts, and the locks on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from link_peer.domain.errors import BadInput, LinkPeerError, NoAccess, Transient
from link_peer.domain.grouped import grouped
from link_peer.domain.model import Party
from link_peer.domain.tags import is_account_uid
from link_peer.runtime.delivery import LANES

from link_peer_cli.access.environment import Environment, require_known
from link_peer_cli.access.identity import AccountKeys
from link_peer_cli.access.inputs import BY_ID, account_uid, by_id, party
from link_peer_cli.access.roles import acting, as_closer
from link_peer_cli.consent.group_tags import PAGE, GroupTags
from link_peer_cli.review.delivery import by_cloud_name
from link_peer_cli.ui.changes import STOPPED

T = TypeVar("T")

OPENS_AGAIN = (
    "What tags ask for is opened again by the next full sweep; in the account of the functions when their events arrive, if that is "
    "sooner.\nRequests must be posted again."
)
"""What follows where a group is no longer locked, or no longer refuses."""

GroupsByAccount = Mapping[str, frozenset[Party] | None]
"""The accounts that a command is about, each with the groups that are named in it; None for all that it finds there."""


def tags_of(env: Environment, profiles: list[str] | None) -> GroupTags:
    """The tags of groups, written in the home account as the operator."""
    tags = GroupTags(env, profiles or [])
    if tags.own_account == env.policy.home:
        tags.first_as(env.keys)
    return tags


def requested_groups(
    env: Environment,
    default_account: str,
    names: list[str] | None,
    account: str,
    *,
    all_accounts: bool,
    opens: bool = False,
) -> GroupsByAccount:
    """What is named: groups (in `default_account` unless they say another account) and accounts; or one account, or
    all. The names that groups have in the cloud count unless the command `opens`. Raises BadInput."""
    if bool(names) + bool(account) + all_accounts != 1:
        raise BadInput("groups", "give groups or accounts, or --account, or --all")
    if all_accounts:
        return dict.fromkeys(env.policy.accounts)
    groups_by_account: dict[str, frozenset[Party] | None] = {account_uid(account, "--account"): None} if account else {}
    uids = {*env.policy.accounts, *(entry.name for entry in env.policy.accounts.values())}
    for text in names or ():
        if is_account_uid(text) or (by_id(text) == text and text in uids):
            groups_by_account[account_uid(text, "group")] = None
            continue
        named_party = (
            party(text, "group", default_account, BY_ID)
            if opens
            else party(by_cloud_name(env, text, "group"), "group", default_account)
        )
        if not named_party.is_group:
            raise BadInput(
                "group",
                f"{named_party.id} is an instance: a lock is a tag of a group; `link-peer who {named_party.id} -o wide` names its groups",
            )
        groups = groups_by_account.get(named_party.account, frozenset())
        groups_by_account[named_party.account] = None if groups is None else groups | {named_party}
    require_known(env, groups_by_account, "--account" if account else "group")
    return groups_by_account


def enter(env: Environment, tags: GroupTags, accounts: Iterable[str]) -> dict[str, str]:
    """Take on the closer role of each of these accounts of which there are no keys: then `tags` has keys of it, too.
    Returns why not, by account."""
    lacking = [uid for uid in accounts if uid not in tags.accounts]
    if tags.own_account != env.policy.home:
        return dict.fromkeys(lacking, "you have no keys of this account")
    # a closer role asks for MFA, which a person's own session may have, and one of the operator's role may not
    operator = (
        acting(env.person_keys, env.settings, env.policy, env.clock, env.names.operator_role)
        if env.reading
        else env.keys
    )
    identities = (env.person_keys, operator)

    def entered(uid: str) -> AccountKeys | str:
        try:
            return as_closer(env.settings, env.policy, env.clock, uid, identities)
        except LinkPeerError as error:
            return str(error)

    results = in_each(lacking, entered)
    tags.accounts |= {uid: keys for uid, keys in results.items() if isinstance(keys, AccountKeys)}
    return {uid: problem for uid, problem in results.items() if isinstance(problem, str)}


def in_each(accounts: Iterable[str], work: Callable[[str], T]) -> dict[str, T]:
    """What `work` returns for each account, side by side. A signal, or what one raises, stops the others at their next
    change."""
    accounts = list(accounts)
    if len(accounts) < 2:
        return {uid: work(uid) for uid in accounts}
    with ThreadPoolExecutor(min(len(accounts), LANES)) as pool:
        try:
            return dict(zip(accounts, pool.map(work, accounts), strict=True))
        except BaseException:
            STOPPED.set()
            raise


def change_tags(groups: Sequence[Party], change: Callable[[list[Party]], None]) -> dict[Party, LinkPeerError]:
    """Make a change to groups of one account. Returns those that it failed for, and why.

    One group for which it fails, such as one that was deleted a moment ago or whose tags are full, fails for no other.
    """
    failed: dict[Party, LinkPeerError] = {}
    for start in range(0, len(groups), PAGE):
        failed |= _in_halves(list(groups[start : start + PAGE]), change)
    return failed


def _in_halves(groups: list[Party], change: Callable[[list[Party]], None]) -> dict[Party, LinkPeerError]:
    """Make a change to groups together and, where that fails for good, to each half. Returns what went wrong, by
    group."""
    try:
        change(groups)
    except (Transient, NoAccess) as error:
        return dict.fromkeys(groups, error)
    except LinkPeerError as error:
        if len(groups) == 1:
            return {groups[0]: error}
        half = len(groups) // 2
        return _in_halves(groups[:half], change) | _in_halves(groups[half:], change)
    return {}


def by_account(groups: Iterable[Party]) -> dict[str, list[Party]]:
    """The groups of each account, sorted."""
    return grouped((group.account, group) for group in sorted(groups))


def pages(groups: Iterable[Party], command: Callable[[list[str]], str]) -> list[str]:
    """A command for each as many groups of one account as a call may name."""
    ids = sorted(group.id for group in groups)
    return [command(ids[start : start + PAGE]) for start in range(0, len(ids), PAGE)]
