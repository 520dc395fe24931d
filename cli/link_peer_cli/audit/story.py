"""The whole life of a request or a link, as the audit log has it."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.runtime.ports import Record

from link_peer_cli.audit.log import AuditReader
from link_peer_cli.audit.query import condition

BATCH = 20  # links in one query; it would grow too long otherwise


def story(log: AuditReader, name: str, since: float) -> list[Record]:
    """Return every record of a request or link id, oldest first: its own, and all others about the links that these name,
    such as later removals. `since` is in epoch seconds. Raises LinkPeerError if the log cannot be read."""
    found = log.read(_any([("request_id", name), ("link", name)]), since)
    links = sorted({record["link"] for record in found if record.get("link")})
    for start in range(0, len(links), BATCH):
        found += log.read(_any(("link", link) for link in links[start : start + BATCH]), since)
    whole = {(record.get("key") or str(record)): record for record in found}
    return sorted(whole.values(), key=lambda record: record.get("time", ""))


def _any(terms: Iterable[tuple[str, str]]) -> str:
    return " or ".join(condition({field: value}) for field, value in terms)
