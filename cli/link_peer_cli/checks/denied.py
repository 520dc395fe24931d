"""Links that a sweep would deny now: no consent, or unsuitable groups or VPCs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from link_peer.domain.model import Party
from link_peer.runtime.ports import Record

from link_peer_cli.checks.finding import MISSING, CheckFinding
from link_peer_cli.checks.seen import CloudSeen


def check(seen: CloudSeen, records: Iterable[Record]) -> Iterator[CheckFinding]:
    """One finding for each link, in the account that must act."""
    for record in records:
        if record["outcome"] in ("denied", "failed") and record.get("to"):
            where = record.get("to_account") or record.get("from_account", "")
            what = f"{_titled(seen, record, 'from')} to {_titled(seen, record, 'to')}"
            detail = f"{record['reason']}: {record.get('detail', '')}"
            yield CheckFinding(MISSING, where, what, detail, record.get("advice", ""))


def _titled(seen: CloudSeen, record: Record, end: str) -> str:
    return seen.title(Party(record.get(f"{end}_account", ""), record.get(end, "")))
