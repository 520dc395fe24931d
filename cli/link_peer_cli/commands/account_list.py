"""`link-peer account list`: the accounts that take part, and whether each can be entered."""

from __future__ import annotations

import typer
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.retry import Retry

from link_peer_cli.access.environment import load_environment
from link_peer_cli.answers.deployment import ListedAccount
from link_peer_cli.inventory.shown import EXACT
from link_peer_cli.ui.exits import Exit
from link_peer_cli.ui.options import JsonLines, Output, SortBy, form_of
from link_peer_cli.ui.progress import waiting
from link_peer_cli.ui.tables import Column, Table, TableForm, by_name, by_words, print_table

ACCOUNTS = Table(
    ListedAccount,
    EXACT,
    "No accounts.",
    (
        Column("uid"),
        Column("name", short=by_name),
        Column("role", wide=True),
        Column("queue"),
        Column("ranges", lambda a, _: " ".join(a.ranges), short=by_words),
        Column("entered as", lambda a, _: a.problem or a.entered_as, short=by_words),
    ),
)


def list_accounts(output: Output = TableForm.TABLE, sort_by: SortBy = "", as_json: JsonLines = False) -> None:
    """List the accounts of the policy file, and whether each can be entered."""
    ACCOUNTS.column(sort_by or "uid")
    form = form_of(output, as_json=as_json)
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
    print_table(ACCOUNTS, found, EXACT, form, sort_by)
    if any(one.problem for one in found):
        raise typer.Exit(Exit.REFUSED)
