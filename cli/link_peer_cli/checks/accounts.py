"""Whether each account could be read, and with which identity."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from link_peer.domain.denials import ACCESS_ADVICE, parts
from link_peer.domain.errors import LinkPeerError, NoAccess
from link_peer.engine.scopes.accounts import SweptAccounts
from link_peer.planning.standing import Standing

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.finding import MISSING, OK, WARNING, CheckFinding
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.edits import gaps_of

THREADS = 16


def check(env: Environment, swept: SweptAccounts, cloud: WhatIf, links: Sequence[Standing]) -> Iterator[CheckFinding]:
    """One finding for each account, with how many groups have rules of these links, and for what there was no time to read. Where it is ok, the account was read completely,
    and shows instances."""
    gaps, snapshot = gaps_of(swept), swept.snapshot
    ours = Counter(group.account for group in {rule.group for link in links for rule in link.rules})
    accounts = sorted(env.policy.accounts)
    with ThreadPoolExecutor(min(THREADS, len(accounts))) as pool:  # one that gives no answer takes seconds
        identities = dict(zip(accounts, pool.map(functools.partial(_identity, cloud), accounts), strict=True))
    for what in sorted(env.policy.accounts.keys() | gaps.keys()):
        if what not in env.policy.accounts:
            yield CheckFinding(MISSING, "", what, gaps[what])
            continue
        owner, arn = identities[what]
        instances = snapshot.instances_in(what)
        seen = f"{instances} instances, {ours[what]} groups with our rules, read as {arn}"
        if what in gaps:
            advice, _ = parts(ACCESS_ADVICE)  # the command is this one
            yield CheckFinding(MISSING, what, "access", f"{gaps[what]} (as {arn})" if owner else gaps[what], advice)
        elif owner not in ("", what):
            advice = "use keys of the home account: the one without a role in the policy file"
            yield CheckFinding(MISSING, what, "access", f"the keys belong to account {owner}: {arn}", advice)
        elif instances:
            yield CheckFinding(OK, what, "access", seen)
        else:
            advice = f"no removals are made in account {what} because it shows no instances; if it is really empty: "
            yield CheckFinding(WARNING, what, "access", seen, f"{advice}link-peer sweep --believe-empty {what}")


def _identity(cloud: WhatIf, account: str) -> tuple[str, str]:
    """The (account uid, ARN) of the keys that read an account, from STS; if unknown, an empty uid and a description."""
    try:
        return cloud.identity(account)
    except NoAccess:
        return "", "no identity"
    except LinkPeerError as error:
        return "", f"an unknown identity ({error})"
