"""The records that SLS received from an instant on, with the time at which it did. Shards are read by cursors: the time
of a cursor is that of the server, and no field that a writer sends replaces it [doc GetCursorTime]. It needs no
index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

EXACT_SECONDS = 5  # groups that came within these have one time: far less than what clocks may differ by
MOST_GROUPS = 256  # of one call; the platform gives at most 1,000 [doc PullLogs]


class Shard(Protocol):
    """What is asked of one shard. A cursor is opaque, but for being equal or not."""

    def cursor(self, moment: str) -> str:
        """That of the first group that was received at an epoch second or later; or `end`."""

    def received_at(self, cursor: str) -> int:
        """When the group at a cursor was received, in epoch seconds."""

    def groups(self, cursor: str, count: int, end: str) -> tuple[list[Any], str]:
        """At most so many groups from a cursor on, and the next cursor."""


def received_groups(shard: Shard, since: float, now: float) -> Iterator[tuple[int, Any]]:
    """Each group of logs since an instant (epoch seconds), with the second in which SLS received it, or at most
    EXACT_SECONDS earlier. `now` is the present (epoch seconds).

    Groups that came alone cost two calls each; of those that came together, as many as possible are read in one."""
    cursor, end = shard.cursor(str(int(since))), shard.cursor("end")
    count, moment = 1, None
    while cursor != end:
        moment = shard.received_at(cursor) if moment is None else moment
        groups, next_cursor = shard.groups(cursor, count, end)
        if next_cursor == cursor:
            return
        next_moment = None if next_cursor == end else shard.received_at(next_cursor)
        last_moment = now if next_moment is None else next_moment
        if len(groups) > 1 and last_moment - moment > EXACT_SECONDS:
            count = len(groups) // 2
            continue
        yield from ((moment, group) for group in groups)
        count = min(count * 2, MOST_GROUPS) if last_moment - moment <= EXACT_SECONDS else 1
        cursor, moment = next_cursor, next_moment
