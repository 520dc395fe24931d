"""`link-peer doctor`: check that the deployment and each account have what the requested links need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import JsonLines
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.runtime.ports import Record

    from link_peer_cli.clients.whatif.cloud import WhatIf
    from link_peer_cli.io.environment import Environment

FILTERS = frozenset({"record", "outcome", "reason", "link", "request_id", "event_id", "from", "to"})
"""Fields that `link-peer audit` searches."""

NEARLY_FULL = 4  # warn if a group has room for this many or fewer rules with a group as source


class Finding(msgspec.Struct, frozen=True):
    """The result of one check.

    `state` is ok, warning or missing. `where` is an account's uid, or empty for link-peer itself.
    """

    state: str
    where: str
    what: str
    detail: str
    advice: str = ""


def doctor(
    account: Annotated[str, typer.Argument(help="An account's uid. Default: all accounts of the policy.")] = "",
    as_json: JsonLines = False,
) -> None:
    """Check queues, log, roles, quotas, and every requested link: consent, group types, VPCs. Changes nothing."""
    from link_peer.engine.scopes.everything import Sweep
    from link_peer.inbound.dispatch import run_sweep

    from link_peer_cli.clients.swept import denied_records
    from link_peer_cli.clients.whatif.delivery import suppose
    from link_peer_cli.io.environment import load_environment, require_known
    from link_peer_cli.io.inputs import account_uid
    from link_peer_cli.io.records import print_advice

    asked = [account_uid(account, "account")] if account else []
    env = load_environment(reading=True)
    require_known(env, asked, "account")
    delivery, cloud, kept = suppose(env, "doctor")
    sweep = Sweep(delivery, "doctor")
    run_sweep(sweep)
    refused = [*kept.outcomes, *denied_records(sweep, kept.outcomes)]
    found = [*_queues(env), *_log(env), *_policy(env), *_accounts(env, sweep, cloud)]
    found += [*_quotas(sweep), *_damaged(sweep), *_denied(refused)]
    found = [finding for finding in found if not account or finding.where in ("", account)]
    if as_json:
        for finding in found:
            print_json(msgspec.to_builtins(finding))
    else:
        out = console()
        rows = [(finding.state, finding.where, finding.what, finding.detail) for finding in found]
        print_table(out, "doctor", ("state", "account", "what", "detail"), rows)
        print_advice(out, (finding.advice for finding in found))
    if any(finding.state == "missing" for finding in found):
        raise typer.Exit(Exit.REFUSED)


def _queues(env: Environment) -> Iterator[Finding]:
    """The shared queue, and those of single accounts."""
    advice = "set LINK_PEER_QUEUE; run: link-peer setup"
    if env.settings.queue:
        yield _queue(env, env.settings.queue, "", advice)
    else:
        yield Finding("missing", "", "queue", "not set", advice)
    for name, account in sorted(env.policy.bound_queues.items()):
        yield _queue(
            env, name, account, f"create the queue {name} in the home account, with a trigger of its own (s.yaml)"
        )


def _queue(env: Environment, name: str, account: str, advice: str) -> Finding:
    from link_peer.domain.errors import LinkPeerError

    from link_peer_cli.clients.queue import check_queue

    try:
        check_queue(env.settings, env.policy.home, name)
    except LinkPeerError as error:
        return Finding("missing", account, f"queue {name}", str(error), advice)
    return Finding("ok", account, f"queue {name}", "exists")


def _policy(env: Environment) -> Iterator[Finding]:
    """Whether the policy pauses anything."""
    from link_peer.domain.policy import Pause

    what = {Pause.OPENING: "nothing is opened; closing goes on", Pause.ALL: "nothing is changed"}.get(env.policy.paused)
    if what:
        yield Finding("warning", "", f"paused: {env.policy.paused.value}", what, "set paused: false in the policy file")


def _log(env: Environment) -> Iterator[Finding]:
    from link_peer.domain.errors import LinkPeerError

    from link_peer_cli.clients.log import AuditLog

    settings = env.settings
    what = f"log {settings.audit_project}/{settings.audit_logstore}"
    advice = "set LINK_PEER_AUDIT_PROJECT and _LOGSTORE; run: link-peer setup"
    if not settings.audit_project or not settings.audit_logstore:
        yield Finding("missing", "", what, "not set", advice)
        return
    try:
        lacking = sorted(FILTERS - AuditLog(settings, env.clock).indexed_fields())
    except LinkPeerError as error:
        yield Finding("missing", "", what, str(error), advice)
        return
    if lacking:
        yield Finding(
            "missing", "", what, f"not searchable by {', '.join(lacking)}", "apply the index in deploy/sls-index.json"
        )
    else:
        yield Finding("ok", "", what, "searchable")


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
