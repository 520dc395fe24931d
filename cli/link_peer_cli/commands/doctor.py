"""`link-peer doctor`: what is missing, here and in each account, for the links that are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from link_peer_cli.io.console import Exit, console, print_table, show

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import Kept
    from link_peer_cli.io.inputs import Setting

FILTERS = frozenset({"record", "outcome", "reason", "link", "request_id", "event_id", "from", "to"})
"""Fields that `link-peer audit` searches by."""

NEARLY_FULL = 4  # rules that name a group: so few left are worth a word


class Finding(msgspec.Struct, frozen=True):
    """`state` is ok, warning or missing; `where` an account's uid, or empty for what belongs to link-peer itself."""

    state: str
    where: str
    what: str
    detail: str
    advice: str = ""


def doctor(
    account: Annotated[str, typer.Argument(help="An account's uid; none: all of the policy.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Check queue, log, roles, quotas, and every link that is asked for: consent, group types, VPCs. Changes nothing."""
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import suppose
    from link_peer_cli.io.inputs import account as uid
    from link_peer_cli.io.inputs import known, opened
    from link_peer_cli.io.records import print_advice

    asked = [uid(account, "account")] if account else []
    here = opened()
    known(here, asked, "account")
    delivery, _, kept = suppose(here, "doctor")
    sweep = Sweep(delivery, "doctor")
    sweep.run()
    found = [*_queue(here), *_log(here), *_accounts(here, sweep), *_quotas(sweep), *_denied(kept)]
    found = [finding for finding in found if not account or finding.where in ("", account)]
    if as_json:
        for finding in found:
            show(msgspec.to_builtins(finding))
    else:
        out = console()
        rows = [(finding.state, finding.where, finding.what, finding.detail) for finding in found]
        print_table(out, "doctor", ("state", "account", "what", "detail"), rows)
        print_advice(out, (finding.advice for finding in found))
    if any(finding.state == "missing" for finding in found):
        raise typer.Exit(Exit.REFUSED)


def _queue(here: Setting) -> Iterator[Finding]:
    from link_peer.alicloud.mns import account
    from mns.mns_exception import MNSExceptionBase

    name = here.settings.queue
    advice = "set LINK_PEER_QUEUE; run deploy/prepare.py"
    if not name:
        yield Finding("missing", "", "queue", "not set", advice)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK reads fields that it has itself deprecated
            account(here.settings, here.policy.home).get_queue(name).get_attributes()
    except MNSExceptionBase as error:
        yield Finding("missing", "", f"queue {name}", str(error.type), advice)
    else:
        yield Finding("ok", "", f"queue {name}", "is there")


def _log(here: Setting) -> Iterator[Finding]:
    from link_peer.alicloud.sls import AuditUnavailable, client

    from link_peer_cli.clients.log import meaning

    settings = here.settings
    what = f"log {settings.audit_project}/{settings.audit_logstore}"
    advice = "set LINK_PEER_AUDIT_PROJECT and _LOGSTORE; run deploy/prepare.py"
    if not settings.audit_project or not settings.audit_logstore:
        yield Finding("missing", "", what, "not set", advice)
        return
    log: Any = client(settings)
    try:
        index = log.get_index_config(settings.audit_project, settings.audit_logstore).get_index_config()
    except AuditUnavailable as error:
        yield Finding("missing", "", what, str(meaning(error)), advice)
        return
    lacking = sorted(FILTERS - set(index.key_config_list or {}))
    if lacking:
        yield Finding(
            "missing", "", what, f"not searchable by {', '.join(lacking)}", "index it as deploy/sls-index.json"
        )
    else:
        yield Finding("ok", "", what, "searchable")


def _accounts(here: Setting, sweep: Sweep) -> Iterator[Finding]:
    """Whether each could be read, and as whom."""
    from link_peer_cli.io.records import unread

    gaps = unread(sweep)
    for what in sorted(here.policy.accounts.keys() | gaps.keys()):
        if what not in here.policy.accounts:
            yield Finding("missing", "", what, gaps[what])
            continue
        owner, arn = _identity(here, what)
        instances = sum(party.account == what for party in sweep.view.instances)
        managed = sum(group.account == what for group in sweep.managed)
        seen = f"{instances} instances, {managed} groups with rules of ours, read as {arn}"
        if what in gaps:
            advice = "check that account's role, its trust policy and external id, and its permissions"
            yield Finding("missing", what, "access", f"{gaps[what]} (as {arn})" if owner else gaps[what], advice)
        elif owner not in ("", what):
            advice = "use keys of that account; home is the one without a role in the policy file"
            yield Finding("missing", what, "access", f"the keys are of account {owner}: {arn}", advice)
        elif instances:
            yield Finding("ok", what, "access", seen)
        else:
            advice = f"nothing there is taken for gone; if it really is empty: link-peer sweep --believe-empty {what}"
            yield Finding("warning", what, "access", seen, advice)


def _identity(here: Setting, account: str) -> tuple[str, str]:
    """(account, ARN) of those as whom an account is read, by STS; an empty account and why, where it cannot be told."""
    from alibabacloud_sts20150401.client import Client
    from link_peer.alicloud.sdk import call, client_config
    from link_peer.alicloud.sts import CACHE
    from link_peer.domain.errors import LinkPeerError

    entry, keys = here.policy.accounts[account], here.settings.credentials
    if entry.role is not None:
        session = CACHE.sessions.get((account, entry.role, entry.external_id or "", keys.access_key_id))
        if session is None:
            return "", "nobody"
        keys = session.credentials
    config = client_config(here.settings, "sts", keys)
    config.endpoint = config.endpoint or f"sts.{here.settings.region}.aliyuncs.com"
    try:
        found = call(lambda: Client(config).get_caller_identity()).body
    except LinkPeerError as error:
        return "", f"somebody unknown ({error})"
    return str(found.account_id), str(found.arn)


def _quotas(sweep: Sweep) -> Iterator[Finding]:
    from link_peer.planning.quota import GROUP_RULES

    for party, group in sorted(sweep.view.groups.items()):
        left = GROUP_RULES - group.group_rules
        if left <= NEARLY_FULL:
            state, advice = ("warning", "") if left > 0 else ("missing", "take away rules, or name instances (i-…)")
            detail = f"{group.group_rules} of {GROUP_RULES} rules that name a group"
            yield Finding(state, party.account, f"quota of {party.id}", detail, advice)


def _denied(kept: Kept) -> Iterator[Finding]:
    """Links that a sweep would deny now: no consent, groups and VPCs that do not fit."""
    for record in kept.outcomes:
        if record["outcome"] in ("denied", "failed") and record.get("to"):
            where = record.get("to_account") or record.get("from_account", "")
            yield Finding(
                "missing",
                where,
                f"{record.get('from', '')} to {record['to']}",
                f"{record['reason']}: {record.get('detail', '')}",
                record.get("advice", ""),
            )
