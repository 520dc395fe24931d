"""`link-peer account list`: the accounts that take part, and whether each can be entered."""

from __future__ import annotations

import typer
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.retry import Retry

from link_peer_cli.access.environment import load_environment
from link_peer_cli.answers.deployment import ListedAccount
from link_peer_cli.ui.console import console, print_answer
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import print_table


def list_accounts(as_json: JsonLines = False) -> None:
    """List the accounts of the policy file, and whether each can be entered."""
    env = load_environment(reading=True)
    retry = Retry(env.clock, env.clock.now() + 60)
    cloud = env.accounts("account", retry)
    found = []
    for uid, account in env.policy.accounts.items():
        try:
            with waiting(f"entering account {uid}"):
                owner, arn = cloud.identity(uid)
            problem = "" if owner == uid else f"the keys belong to account {owner}"
        except LinkPeerError as error:
            arn, problem = "", str(error)
        known = (uid, account.name, account.role, account.queue, list(account.ranges))
        found.append(ListedAccount(*known, not problem, arn, problem))
        if as_json:
            print_answer(found[-1])
    if not as_json:
        rows = [(a.uid, a.name, a.role or "", a.queue, " ".join(a.ranges), a.problem or a.entered_as) for a in found]
        print_table(console(), "accounts", ("uid", "name", "role", "queue", "ranges", "entered as"), rows)
    if any(one.problem for one in found):
        raise typer.Exit(Exit.REFUSED)
