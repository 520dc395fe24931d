"""Following the audit log: new records as they become searchable, also across an outage of the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from link_peer.domain.errors import Transient
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Record

from link_peer_cli.audit.log import AuditReader

POLL_SECONDS = 1.0
LATE_SECONDS = 120  # a record may become searchable this long after its time
LONGEST_WAIT = 30.0  # seconds between reads while the log cannot be read; the wait doubles up to this


def follow(
    log: AuditReader, clock: Clock, query: str, start: float, on_trouble: Callable[[Transient, float], None]
) -> Iterator[list[Record]]:
    """Yield new records after every read, forever, each record once. A yielded list may be empty.

    `start` is in epoch seconds. When a read fails, `on_trouble` gets the error and the seconds until the next read; the
    next successful read also returns the records of the outage. Raises LinkPeerError if no later read can succeed.
    """
    seen: set[str] = set()
    wait = POLL_SECONDS
    while True:
        asked = clock.now()
        try:
            found = log.read_once(query, start)
        except Transient as error:
            wait = min(wait * 2, LONGEST_WAIT)
            on_trouble(error, wait)
        else:
            wait = POLL_SECONDS
            yield [record for record in found if json.dumps(record) not in seen]
            seen = {json.dumps(record) for record in found}
            start = max(start, asked - LATE_SECONDS)
        clock.sleep(wait)
