"""What a sweep records beside its decisions: the accounts that it could not read, and one record that sums it up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from link_peer.domain.denials import NOTHING, removals_held, sweep_no_access
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.records import denied_record, why_fields
from link_peer.engine.write.work import Report
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.ports import Record


def summary_record(
    snapshot: Snapshot, report: Report, reasons: Counter[tuple[str, str]], skipped: Iterable[str], limit: int
) -> Record:
    """Counts of what was read and changed, and what was skipped and why. `reasons` counts decisions by (outcome, reason),
    those that were not recorded one by one too; `limit` is that of removals in one run."""
    held = [removals_held(unseen.account, count, limit) for unseen, count in sorted(report.held.items())]
    accounts = snapshot.listings.keys() | {party.account for party in snapshot.instances}
    outcome: Record = {"outcome": "applied" if report.changed else "unchanged", **why_fields(NOTHING)}
    if held:
        outcome = {"outcome": "failed", **why_fields(held[0])}
    counts = {" ".join(filter(None, pair)): count for pair, count in sorted(reasons.items())}
    return {
        **outcome,
        "record": "summary",
        "action": "repair",
        "detail": "; ".join([*(one.detail for one in held), *skipped]),
        "instances": str(sum(snapshot.instances_in(account) for account in accounts)),
        "groups": str(len(snapshot.rules)),
        "changed": str(report.changed),
        "removed": str(report.removed),
        "held": str(sum(report.held.values())),
        "denied": str(sum(count for (result, _), count in reasons.items() if result == "denied")),
        "counts": json.dumps(counts),
    }


def turns_record(posted: int, policy: Policy, dead_letters: Callable[[], int] | None) -> Record:
    """The summary of a run of the timer that had so many accounts swept by messages of their own."""
    letters, uncounted = count_letters(dead_letters)
    said = f"a message was posted for each of {posted} of {len(policy.accounts)} accounts"
    return {
        "record": "summary",
        "action": "repair",
        "outcome": "unchanged",
        **why_fields(NOTHING),
        "progress": said,
        "detail": "; ".join(uncounted),
        "policy": policy.digest,
        "dead_letters": letters,
    }


def skipped(
    snapshot: Snapshot,
    doubted_accounts: Iterable[str],
    unread: Mapping[str, int],
    undone: int,
    refused_tags: Mapping[str, str],
) -> dict[str, str]:
    """What a sweep could not look at, or left alone, and why: by account, by a number of groups or changes, and by the
    account or group whose managed tags are refused."""
    found = {account: f"{account}: {why}" for account, why in sorted(snapshot.failed_accounts.items())}
    found |= {a: f"{a}: no access ({error.code})" for a, error in sorted(snapshot.refused_accounts.items())}
    for account in sorted(doubted_accounts):
        found.setdefault(account, f"{account}: shows no instances, so nothing there is treated as gone")
    for account, count in sorted(unread.items()):
        what = f"{count} groups of {account}"
        found[what] = f"{what}: no time was left to read them; the next runs start elsewhere"
    if undone:
        found[f"{undone} changes"] = f"{undone} changes: no time was left to make them; the next run does"
    return {**found, **{f"tags of {where}": why for where, why in sorted(refused_tags.items())}}


def record_unreadable(audit: AuditWriter, snapshot: Snapshot, accounts: Collection[str]) -> None:
    """One record for each of these accounts that was not read: refused access is denied; an outage is a transient error, and the next
    sweep tries again."""
    audit.write(
        [
            denied_record(sweep_no_access(account, error.code), "repair", from_account=account)
            for account, error in sorted(snapshot.refused_accounts.items())
            if account in accounts
        ]
    )
    audit.attempts(
        [
            (f"account {account} could not be read: {problem}", {"action": "repair", "from_account": account})
            for account, problem in sorted(snapshot.failed_accounts.items())
            if account in accounts
        ]
    )


def count_letters(dead_letters: Callable[[], int] | None) -> tuple[str, list[str]]:
    """The number of dead letters, or none and why. Without a number the sweep is as good as with it."""
    try:
        return str(dead_letters()) if dead_letters else "", []
    except LinkPeerError as error:
        return "", [f"dead letters were not counted: {error.code or error}"]
