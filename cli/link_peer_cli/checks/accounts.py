"""Whether the functions entered each account, and what was read of it here."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.errors import LinkPeerError, NoAccess
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.views.standing import Standing
from msgspec.structs import replace

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.finding import MISSING, OK, UNKNOWN, WARNING, CheckFinding
from link_peer_cli.checks.runs import Runs, account_entry
from link_peer_cli.consent.prefixes import on_groups
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.edits import gaps_of
from link_peer_cli.ui.console import number
from link_peer_cli.ui.remedies import DOCTOR, remedy

THREADS = 16


def check(
    env: Environment, runs: Runs, swept: SweptAccounts, cloud: WhatIf, links: Sequence[Standing]
) -> Iterator[CheckFinding]:
    """One finding for each account: whether the functions' own role entered it, with how many groups have rules of
    these links. One more for each that could not be read here, and for what there was no time to read. An account that
    shows no instances is a warning where a link has an end in it."""
    gaps, snapshot = gaps_of(swept), swept.snapshot
    ours = Counter(group.account for group in {rule.group for link in links for rule in link.rules})
    accounts = sorted(env.policy.accounts)
    linked = {end.account for link in links for end in (link.source, link.target)}
    with ThreadPoolExecutor(min(THREADS, len(accounts))) as pool:  # one that gives no answer takes seconds
        readers = dict(zip(accounts, pool.map(functools.partial(_reader, cloud), accounts), strict=True))
    for account in accounts:
        entered = account_entry(env, runs, account)
        reader, instances = readers[account], snapshot.instances_in(account)
        contents = (
            f"{number(instances, 'instance')}, {number(ours[account], 'group')} with our rules, read here as {reader}"
        )
        if account in gaps:
            error = swept.fetch.store.unreadable.get(account)
            advice = remedy(error, account).removesuffix(f": {DOCTOR}") if error else ""  # the command is this one
            yield entered
            yield CheckFinding(UNKNOWN, account, "contents", f"not read here: {gaps[account]} ({reader})", advice)
        elif entered.state == OK and not instances and account in linked:
            advice = f"no removals are made in account {account} because it shows no instances; if it is really empty: "
            advice += f"link-peer sweep --believe-empty {account}"
            yield replace(entered, state=WARNING, detail=f"{entered.detail}; {contents}", advice=advice)
        else:
            yield replace(entered, detail=f"{entered.detail}; {contents}")
        if (summary := runs.last("account", account)) and summary["outcome"] == "failed":
            yield CheckFinding(WARNING, account, "sweep", summary.get("detail", ""), summary.get("advice", ""))
    for gap in sorted(gaps.keys() - env.policy.accounts.keys()):
        yield CheckFinding(MISSING, "", gap, gaps[gap])


def check_prefixes(env: Environment, snapshot: Snapshot) -> Iterator[CheckFinding]:
    """One finding for each account but home where groups have tags of other deployments: `of_home` reads what home's
    roles are denied."""
    policy, own_prefix = env.policy, env.settings.tag_prefix
    for uid in sorted(policy.accounts.keys() - {policy.home}):
        groups = [group for group in snapshot.groups.values() if group.party.account == uid]
        if prefixes := sorted(on_groups(groups).keys() - {own_prefix}):
            detail = f"{', '.join(prefixes)} in use by other deployments; whether our roles there are denied their consent is not seen"
            advice = f"link-peer account add {uid} --profile PROFILE denies it, and changes nothing if it is denied"
            yield CheckFinding(WARNING, uid, "tag prefixes", f"{detail}: home's keys read no policy there", advice)


def check_sets(policy: Policy) -> Iterator[CheckFinding]:
    """One finding for each account with sets: who there may move groups in and out of them, which no key of link-peer
    can read."""
    for uid in sorted({group_set.account for group_set in policy.sets.values()}):
        sets = [group_set for group_set in policy.sets.values() if group_set.account == uid]
        keys = ", ".join(sorted({key for group_set in sets for key in group_set.tags}))
        detail = f"not seen: who else may change {keys} on groups, because the reader's role may not read the policies of people"
        advice = "link-peer check --deny-sets FILE writes the policy that denies it to the owners of groups"
        yield CheckFinding(OK, uid, "tags of sets", f"{detail}: {advice}")


def read_here(env: Environment, swept: SweptAccounts) -> frozenset[str]:
    """The accounts that were read completely, and show instances: what these do not show does not exist."""
    gaps, snapshot = gaps_of(swept), swept.snapshot
    return frozenset(uid for uid in env.policy.accounts if uid not in gaps and snapshot.instances_in(uid))


def _reader(cloud: WhatIf, account: str) -> str:
    """The ARN of the keys that read an account here, from STS; else why there is none."""
    try:
        return cloud.identity(account)[1]
    except NoAccess:
        return "no role was entered"
    except LinkPeerError as error:
        return f"an identity that could not be read: {error}"
