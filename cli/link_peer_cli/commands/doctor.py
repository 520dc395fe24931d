"""`link-peer doctor`: check that the deployment and each account have what the requested links need."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from link_peer_cli.checks.finding import FAILING, MISSING, OK, Finding, unreadable
from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import JsonLines
from link_peer_cli.io.pager import paged
from link_peer_cli.io.progress import waiting
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.runtime.ports import Record

    from link_peer_cli.clients.whatif.cloud import WhatIf
    from link_peer_cli.inventory.wording import Wording
    from link_peer_cli.io.environment import Environment

FILTERS = frozenset({"record", "outcome", "reason", "link", "request_id", "event_id", "from", "to"})
"""Fields that `link-peer audit` searches."""

NEARLY_FULL = 4  # warn if a group has room for this many or fewer rules with a group as source


def doctor(
    account: Annotated[str, typer.Argument(help="An account's uid or name. Default: all accounts of the policy.")] = "",
    as_json: JsonLines = False,
) -> None:
    """Check every deployed piece, the access to each account, and every requested link. Changes nothing.

    States: ok; warning; differs from what is shipped; missing; unknown: it could not be read. The last three end the command
    with 1.
    """
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.inbound.dispatch import run_sweep

    from link_peer_cli.checks import functions, resources, running
    from link_peer_cli.clients.swept import denied_records
    from link_peer_cli.clients.whatif.delivery import suppose
    from link_peer_cli.inventory.wording import wording
    from link_peer_cli.io.environment import load_environment, require_known
    from link_peer_cli.io.inputs import account_uid

    account = account_uid(account, "account") if account else ""
    env = load_environment(reading=True)
    require_known(env, [account] if account else [], "account")
    delivery, cloud, kept = suppose(env, "doctor")
    sweep = Sweep(delivery, "doctor")
    with waiting("reading the accounts"):
        run_sweep(sweep)
    refused = [*kept.outcomes, *denied_records(sweep, kept.outcomes)]
    pieces = () if account else (functions, resources, running)
    with waiting("checking the deployment"):
        found = [finding for part in pieces for finding in part.check(env)]
    found += [*_queue(env), *_log(env), *_policy(env), *_accounts(env, sweep, cloud)]
    found += [*_quotas(sweep), *_damaged(sweep), *_denied(refused)]
    found = [finding for finding in found if not account or finding.where in ("", account)]
    if as_json:
        for finding in found:
            print_json(msgspec.to_builtins(finding))
    else:
        _print(found, wording(env.policy, env.clock.now()))
    if any(finding.state in FAILING for finding in found):
        raise typer.Exit(Exit.REFUSED)


def _print(found: list[Finding], words: Wording) -> None:
    """The findings, and below them what to do; for programs, that is a column."""
    from link_peer_cli.io.records import print_advice

    out, columns = console(), ("state", "account", "what", "detail")
    rows = [(finding.state, words.account(finding.where), finding.what, finding.detail) for finding in found]
    if not sys.stdout.isatty():
        advice = [(*row, finding.advice) for row, finding in zip(rows, found, strict=True)]
        print_table(out, "doctor", (*columns, "advice"), advice)
        return
    with paged():
        print_table(out, "doctor", columns, rows)
        print_advice(out, (finding.advice for finding in found))


def _queue(env: Environment) -> Iterator[Finding]:
    """The shared queue, if it is not the one that `setup` makes."""
    from link_peer.domain.errors import LinkPeerError

    from link_peer_cli.clients.queue import check_queue

    name = env.settings.queue
    if name == env.names.queue:
        return
    try:
        check_queue(env.settings, env.policy.home, name)
    except LinkPeerError as error:
        yield _refused(f"queue {name}", error, "LINK_PEER_QUEUE names another queue than `link-peer setup` makes")
    else:
        yield Finding(OK, "", f"queue {name}", "exists")


def _refused(what: str, error: Exception, advice: str) -> Finding:
    """What does not exist is missing; what could not be read for another reason is unknown."""
    gone = any(code in str(error) for code in ("NotExist", "NotFound"))
    return Finding(MISSING, "", what, str(error), advice) if gone else unreadable("", what, error)


def _policy(env: Environment) -> Iterator[Finding]:
    """Whether the policy pauses anything."""
    from link_peer.domain.policy import Pause

    what = {Pause.OPENING: "nothing is opened; closing goes on", Pause.ALL: "nothing is changed"}.get(env.policy.paused)
    if what:
        yield Finding("warning", "", f"paused: {env.policy.paused.value}", what, "set paused: false in the policy file")


def _log(env: Environment) -> Iterator[Finding]:
    """The audit log, if it is not the one that `setup` makes."""
    from link_peer.domain.errors import LinkPeerError

    from link_peer_cli.clients.log import AuditLog

    settings, names = env.settings, env.names
    if (settings.audit_project, settings.audit_logstore) == (names.audit_project, names.audit_logstore):
        return
    what = f"log {settings.audit_project}/{settings.audit_logstore}"
    try:
        lacking = sorted(FILTERS - AuditLog(settings, env.clock).indexed_fields())
    except LinkPeerError as error:
        yield _refused(
            what, error, "LINK_PEER_AUDIT_PROJECT and _LOGSTORE name another log than `link-peer setup` makes"
        )
        return
    if lacking:
        advice = "apply the index in deploy/sls-index.json"
        yield Finding(MISSING, "", what, f"not searchable by {', '.join(lacking)}", advice)
    else:
        yield Finding(OK, "", what, "searchable")


def _accounts(env: Environment, sweep: Sweep, cloud: WhatIf) -> Iterator[Finding]:
    """Whether each account could be read, and with which identity."""
    from link_peer_cli.clients.swept import gaps_of

    gaps, snapshot = gaps_of(sweep), sweep.reader.snapshot()
    for what in sorted(env.policy.accounts.keys() | gaps.keys()):
        if what not in env.policy.accounts:
            yield Finding("missing", "", what, gaps[what])
            continue
        owner, arn = _identity(cloud, what)
        instances = snapshot.instances_in(what)
        managed = sum(group.account == what for group in sweep.managed)
        seen = f"{instances} instances, {managed} groups with our rules, read as {arn}"
        if what in gaps:
            advice = "check the account's role: its trust policy, external id and permissions"
            yield Finding("missing", what, "access", f"{gaps[what]} (as {arn})" if owner else gaps[what], advice)
        elif owner not in ("", what):
            advice = "use keys of the home account: the one without a role in the policy file"
            yield Finding("missing", what, "access", f"the keys belong to account {owner}: {arn}", advice)
        elif instances:
            yield Finding("ok", what, "access", seen)
        else:
            advice = (
                f"no removals are made in account {what} because it shows no instances; "
                f"if it is really empty: link-peer sweep --believe-empty {what}"
            )
            yield Finding("warning", what, "access", seen, advice)


def _identity(cloud: WhatIf, account: str) -> tuple[str, str]:
    """The (account uid, ARN) of the keys that read an account, from STS; if unknown, an empty uid and a description."""
    from link_peer.domain.errors import LinkPeerError, NoAccess

    try:
        return cloud.identity(account)
    except NoAccess:
        return "", "no identity"
    except LinkPeerError as error:
        return "", f"an unknown identity ({error})"


def _quotas(sweep: Sweep) -> Iterator[Finding]:
    from link_peer.planning.quota import GROUP_SOURCES

    for party, group in sorted(sweep.reader.snapshot().groups.items()):
        left = GROUP_SOURCES - group.group_rules
        if left <= NEARLY_FULL:
            state, advice = (
                ("warning", "") if left > 0 else ("missing", "remove rules, or link instances (i-…) instead of groups")
            )
            detail = f"{group.group_rules} of {GROUP_SOURCES} rules with a group as source"
            yield Finding(state, party.account, f"quota of {party.id}", detail, advice)


def _damaged(sweep: Sweep) -> Iterator[Finding]:
    """Rules whose description names this deployment, but is not their marker. No function touches them."""
    for rule in sweep.damaged:
        advice = f"if nobody needs rule {rule.id}, remove it; links that are still wanted are opened again"
        yield Finding(
            "warning", rule.group.account, f"marker of {rule.id} on {rule.group.id}", rule.description, advice
        )


def _denied(records: Iterable[Record]) -> Iterator[Finding]:
    """Links that a sweep would deny now: no consent, or unsuitable groups or VPCs."""
    for record in records:
        if record["outcome"] in ("denied", "failed") and record.get("to"):
            where = record.get("to_account") or record.get("from_account", "")
            yield Finding(
                "missing",
                where,
                f"{record.get('from', '')} to {record['to']}",
                f"{record['reason']}: {record.get('detail', '')}",
                record.get("advice", ""),
            )
