"""What a sweep found out besides its changes: what it could not read, and wishes that stay denied."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.engine.records import Circumstances, decision_record
from link_peer.engine.scopes.everything import Sweep
from link_peer.runtime.audit import DECISION_FIELDS
from link_peer.runtime.ports import Record


def gaps_of(sweep: Sweep) -> dict[str, str]:
    """Return why each account (by uid) could not be read, and how many groups the sweep had no time to read."""
    found = sweep.unreadable
    for account, count in sweep.unread.items():
        found[f"{count} groups of {account}"] = "there was no time to read them"
    return dict(sorted(found.items()))


def denied_records(sweep: Sweep, recorded: Iterable[Record]) -> list[Record]:
    """Return the wishes that stay denied, as records: the sweep itself only counts them. Those that are among the records
    already are left out."""
    region = sweep.delivery.region
    known = {record.get("link") for record in recorded if record.get("outcome") in ("denied", "failed")}
    circumstances = Circumstances(sweep.fetch)
    found = [
        {**decision_record(decision, region, "outcome"), **circumstances.effect(decision)}
        for decision in sweep.denied.values()
    ]
    return [
        {**DECISION_FIELDS, **{name: value for name, value in record.items() if value}}
        for record in found
        if record["link"] not in known
    ]
