"""Accounts take turns: work of one account never waits for all of another's."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from link_peer.runtime.clock import Clock

T = TypeVar("T")


def in_turns(items: Iterable[T], account: Callable[[T], str]) -> list[T]:
    """The items, one of each account in turn; those of one account in the order given."""
    lanes: dict[str, list[T]] = {}
    for item in items:
        lanes.setdefault(account(item), []).append(item)
    rounds = itertools.zip_longest(*([[item] for item in lane] for lane in lanes.values()), fillvalue=())
    return [item for row in rounds for entry in row for item in entry]


class Turns:
    """The order of jobs of several accounts. The next one is of the account that has used the least time so far (in
    seconds, for as long as this lives), or has had the fewest turns: one with many jobs, or slow ones, delays another
    by one job. `used` are the seconds of each."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.used: defaultdict[str, float] = defaultdict(float)
        self._had: Counter[str] = Counter()

    def each(self, jobs: Iterable[T], account: Callable[[T], str]) -> Iterator[T]:
        """Each job, which is done until the next one is asked for: that time is its account's."""
        lanes: dict[str, deque[T]] = {}
        for job in jobs:
            lanes.setdefault(account(job), deque()).append(job)
        while lanes:
            chosen = min(lanes, key=lambda lane: (self.used[lane], self._had[lane]))
            job = lanes[chosen].popleft()
            if not lanes[chosen]:
                del lanes[chosen]
            start = self._clock.now()
            yield job
            self.used[chosen] += self._clock.now() - start
            self._had[chosen] += 1
