"""Who asked for a link, from the audit log."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.ports import Record

from link_peer_cli.access.environment import Environment
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.audit.query import condition

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
