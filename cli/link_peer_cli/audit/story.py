"""What the audit log tells of one link: its whole life, and who asked for it."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader, condition

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


IDS_PER_QUERY = 20


class Asked:
    """What the requests said of themselves, by request id. `problem` says why the log could not be read."""

    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.problem = ""

    def read(self, env: Environment, requests: Iterable[str], since: float) -> None:
        """Reads the first applied outcome of each request, from `since` (epoch seconds) on."""
        ids = sorted(set(requests))
        try:
            log = AuditReader(env.settings, env.clock, env.keys)
            for start in range(0, len(ids), IDS_PER_QUERY):
                named = " or ".join(condition({"request_id": one}) for one in ids[start : start + IDS_PER_QUERY])
                query = condition({"record": "outcome", "outcome": "applied"})
                for record in log.read(f"{query} and ({named})", since):
                    self.records.setdefault(record["request_id"], record)
        except LinkPeerError as error:
            self.problem = f"who asked is not known: {error}"

    def who(self, request: str) -> str:
        """Who asked, as far as the log tells: the name that the request gives, which nobody verified, and the queue that it
        came through, which the platform vouches for."""
        record = self.records.get(request, {})
        said, queue = record.get("claimed_by", ""), record.get("queue", "")
        through = f"through {queue}" if queue else ""
        return " ".join(filter(None, [said, through]))

    def why(self, request: str) -> str:
        """The reason that the request gives."""
        return self.records.get(request, {}).get("claimed_reason", "")
