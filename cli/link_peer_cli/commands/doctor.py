"""`link-peer doctor`: check that the deployment and each account have what the requested links need."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from link_peer_cli.io.console import console, print_json
from link_peer_cli.io.exits import Exit
from link_peer_cli.io.options import JsonLines
from link_peer_cli.io.tables import print_table

if TYPE_CHECKING:
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import Kept
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
    """Check queue, log, roles, quotas, and every requested link: consent, group types, VPCs. Changes nothing."""
    from link_peer.engine.scopes.everything import Sweep

    from link_peer_cli.clients.whatif import suppose
    from link_peer_cli.io.environment import load_environment, require_known
    from link_peer_cli.io.inputs import account_uid
    from link_peer_cli.io.records import print_advice

    asked = [account_uid(account, "account")] if account else []
    env = load_environment()
    require_known(env, asked, "account")
    delivery, _, kept = suppose(env, "doctor")
    sweep = Sweep(delivery, "doctor")
    sweep.run()
    found = [*_queue(env), *_log(env), *_accounts(env, sweep), *_quotas(sweep), *_denied(kept)]
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


def _queue(env: Environment) -> Iterator[Finding]:
    from link_peer.alicloud.mns import account
    from mns.mns_exception import MNSExceptionBase

    name = env.settings.queue
    advice = "set LINK_PEER_QUEUE; run deploy/prepare.py"
    if not name:
        yield Finding("missing", "", "queue", "not set", advice)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the SDK reads its own deprecated fields
            account(env.settings, env.policy.home).get_queue(name).get_attributes()
    except MNSExceptionBase as error:
        yield Finding("missing", "", f"queue {name}", str(error.type), advice)
    else:
        yield Finding("ok", "", f"queue {name}", "exists")


def _log(env: Environment) -> Iterator[Finding]:
    from link_peer.alicloud.sls import AuditUnavailable, client

    from link_peer_cli.clients.log import read_error

    settings = env.settings
    what = f"log {settings.audit_project}/{settings.audit_logstore}"
    advice = "set LINK_PEER_AUDIT_PROJECT and _LOGSTORE; run deploy/prepare.py"
    if not settings.audit_project or not settings.audit_logstore:
        yield Finding("missing", "", what, "not set", advice)
        return
    log: Any = client(settings)
    try:
        index = log.get_index_config(settings.audit_project, settings.audit_logstore).get_index_config()
    except AuditUnavailable as error:
        yield Finding("missing", "", what, str(read_error(error)), advice)
        return
    lacking = sorted(FILTERS - set(index.key_config_list or {}))
    if lacking:
        yield Finding(
            "missing", "", what, f"not searchable by {', '.join(lacking)}", "apply the index in deploy/sls-index.json"
        )
    else:
        yield Finding("ok", "", what, "searchable")


def _accounts(env: Environment, sweep: Sweep) -> Iterator[Finding]:
    """Whether each account could be read, and with which identity."""
    from link_peer_cli.clients.unread import unread

    gaps = unread(sweep)
    for what in sorted(env.policy.accounts.keys() | gaps.keys()):
        if what not in env.policy.accounts:
            yield Finding("missing", "", what, gaps[what])
            continue
        owner, arn = _identity(env, what)
        instances = sum(party.account == what for party in sweep.view.instances)
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


def _identity(env: Environment, account: str) -> tuple[str, str]:
    """The (account uid, ARN) of the keys that read an account, from STS; if unknown, an empty uid and a description."""
    from alibabacloud_sts20150401.client import Client
    from link_peer.alicloud.sdk import call, client_config
    from link_peer.alicloud.sts import CACHE
    from link_peer.domain.errors import LinkPeerError

    entry, keys = env.policy.accounts[account], env.settings.credentials
    if entry.role is not None:
        session = CACHE.sessions.get((account, entry.role, entry.external_id or "", keys.access_key_id))
        if session is None:
            return "", "no identity"
        keys = session.credentials
    config = client_config(env.settings, "sts", keys)
    config.endpoint = config.endpoint or f"sts.{env.settings.region}.aliyuncs.com"
    try:
        found = call(lambda: Client(config).get_caller_identity()).body
    except LinkPeerError as error:
        return "", f"an unknown identity ({error})"
    return str(found.account_id), str(found.arn)


def _quotas(sweep: Sweep) -> Iterator[Finding]:
    from link_peer.planning.quota import GROUP_RULES

    for party, group in sorted(sweep.view.groups.items()):
        left = GROUP_RULES - group.group_rules
        if left <= NEARLY_FULL:
            state, advice = (
                ("warning", "") if left > 0 else ("missing", "remove rules, or link instances (i-…) instead of groups")
            )
            detail = f"{group.group_rules} of {GROUP_RULES} rules with a group as source"
            yield Finding(state, party.account, f"quota of {party.id}", detail, advice)


def _denied(kept: Kept) -> Iterator[Finding]:
    """Links that a sweep would deny now: no consent, or unsuitable groups or VPCs."""
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
