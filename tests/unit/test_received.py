"""The time at which SLS received a record is that of a cursor."""

from __future__ import annotations

import random

import pytest
from link_peer_cli.audit.received import EXACT_SECONDS, received_groups


class Shard:
    """A shard that received a group at each of these seconds. A cursor is the number of the group at it."""

    def __init__(self, times: list[int]) -> None:
        self.times, self.calls = times, 0

    def cursor(self, moment: str) -> str:
        """The first group from then on."""
        self.calls += 1
        return str(len(self.times) if moment == "end" else sum(time < int(moment) for time in self.times))

    def received_at(self, cursor: str) -> int:
        """No cursor at the end is asked for its time: no page says what it has."""
        self.calls += 1
        return self.times[int(cursor)]

    def groups(self, cursor: str, count: int, end: str) -> tuple[list[int], str]:
        """The server may give fewer than it is asked for."""
        self.calls += 1
        stop = min(int(cursor) + min(count, 50), int(end))
        return list(range(int(cursor), stop)), str(stop)


@pytest.mark.parametrize("seed", range(200))
def test_each_group_has_the_time_of_its_receipt(seed: int) -> None:
    """Of any mixture of groups that came alone and together: each since the instant once, in order, within
    EXACT_SECONDS."""
    draw = random.Random(seed)
    times = [1000]
    for _ in range(draw.randrange(200)):
        times.append(times[-1] + draw.choice([0, 0, 0, 1, 2, 40, 900]))
    shard, since = Shard(times), draw.choice([0, 1000, times[-1] - 50, times[-1] + 1])
    groups = list(received_groups(shard, since, times[-1] + draw.choice([0, 5000])))
    assert [number for _, number in groups] == [number for number, time in enumerate(times) if time >= since]
    assert all(0 <= times[number] - moment <= EXACT_SECONDS for moment, number in groups)


def test_groups_that_came_together_cost_few_calls() -> None:
    assert len(list(received_groups(shard := Shard([7] * 5_000), 0, 7.0))) == 5_000
    assert shard.calls < 5_000 / 10
