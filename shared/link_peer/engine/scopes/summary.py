"""The one record that sums up a sweep, and what it skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from link_peer.domain.denial import NOTHING
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.apply import Report, held_record
from link_peer.engine.records import why_fields
from link_peer.runtime.ports import Record


def summary_record(
    snapshot: Snapshot, report: Report, outcomes: Counter[str], skipped: Iterable[str], limit: int
) -> Record:
    """Counts of what was read and changed, and what was skipped and why. `limit` is that of removals in one run."""
    outcome: Record = {"outcome": "applied" if report.changed else "unchanged", **why_fields(NOTHING)}
    if report.held:
        outcome = held_record(report.held, limit)
    return {
        **outcome,
        "record": "summary",
        "action": "repair",
        "detail": "; ".join([*filter(None, [outcome["detail"]]), *skipped]),
        "instances": str(len(snapshot.instances)),
        "groups": str(len(snapshot.rules)),
        "changed": str(report.changed),
        "removed": str(report.removed),
        "held": str(report.held),
        "denied": str(outcomes["denied"]),
    }


def skipped(snapshot: Snapshot, doubted_accounts: Iterable[str], unread: int) -> dict[str, str]:
    """What a sweep could not look at, or left alone, and why: by account, and by a number of groups."""
    found = {account: f"{account}: {why}" for account, why in sorted(snapshot.failed_accounts.items())}
    found |= {a: f"{a}: no access ({error.code})" for a, error in sorted(snapshot.refused_accounts.items())}
    for account in sorted(doubted_accounts):
        found.setdefault(account, f"{account}: shows no instances, so nothing there is treated as gone")
    if unread:
        found[f"{unread} groups"] = f"{unread} groups: no time was left to read them; the next runs start elsewhere"
    return found
