"""A fleet that halves in a minute, under the platform's limit of calls: what the releases cost, and whether others'
links open late.

`python -m benchmarks.figures.fleet [instances] [calls a minute]` prints it as JSON; with `python -m benchmarks fleet
--before REF` it is measured with the sources of another commit, too.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable

import msgspec
from msgspec import Struct

from benchmarks import events, ref, virtual, worlds
from benchmarks.runner import Bench, Row

INSTANCES, PER_MINUTE = 10_000, 200
OPENINGS = 6  # of others, spread over the minute
LATE = 600  # seconds: a sweep would have opened the link by then
END = 7_200  # seconds, after which what is not done counts as never
BATCH = 100  # events of one delivery, for what is prepared


class Halved(Struct, frozen=True):
    """`calls` by action, the minutes until nothing is left to do, how many seconds each opening took (None where it did
    not come), and how many rules of the fleet's link stand: one, since half of it still asks."""

    calls: dict[str, int]
    minutes: float
    openings: list[float | None]
    rules: int


def measure(bench: Bench) -> list[Row]:
    """Calls are exact; the minutes are those of a virtual clock."""
    before = None
    if bench.before:
        text = ref.output(bench.before, __name__, [str(INSTANCES), str(PER_MINUTE)])
        before = msgspec.json.decode(text, type=Halved)
    return rows(halved(), before)


def rows(now: Halved, before: Halved | None, instances: int = INSTANCES) -> list[Row]:
    """Of a fleet of so many, beside what it was before."""
    name = f"a fleet of {instances:,} that halves in a minute, {PER_MINUTE} calls a minute per API"

    def row(figure: str, value: Callable[[Halved], float | str], target: str = "", *, met: bool | None = None) -> Row:
        texts = [
            f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in map(value, filter(None, (now, before)))
        ]
        return Row(figure, "", texts[0], target, met, before=texts[1] if before else "–")

    def each(of: Halved) -> float:
        return of.calls["DescribeInstances"] / (instances / 2)

    latest = max(math.inf if seconds is None else seconds for seconds in now.openings)
    return [
        row(f"{name}: calls of DescribeInstances for each release", each, "≤ 3", met=each(now) <= 3 and now.rules == 1),
        row("… calls of all APIs", lambda of: f"{sum(of.calls.values()):,}"),
        row("… minutes until all is done", lambda of: of.minutes),
        row(f"… {OPENINGS} links of others, seconds until each opens", _seconds, f"≤ {LATE}", met=latest <= LATE),
    ]


def _seconds(of: Halved) -> str:
    return ", ".join("never" if seconds is None else f"{seconds:.0f}" for seconds in of.openings)


def halved(instances: int = INSTANCES, per_minute: int = PER_MINUTE) -> Halved:
    """The releases come evenly over a minute, and with them the openings. One process has seen the start of every
    instance."""
    with virtual.deployed() as deployment:
        cloud, clock = deployment.cloud, deployment.cloud.clock
        fleet = worlds.askers(cloud, 1, instances)
        openers = worlds.askers(cloud, OPENINGS, OPENINGS, asking=False)
        for first in range(0, instances, BATCH):
            starts = [json.loads(events.launched(asker.instance)) for asker in fleet[first : first + BATCH]]
            deployment.deliver(starts)
        deployment.work(clock.now() + 60)
        worlds.slow(cloud, 0.0, per_minute)
        worlds.calls(cloud)
        start, released = clock.now(), fleet[: instances // 2]
        asked_at, opened_at = dict[str, float](), dict[str, float]()

        def note() -> None:
            for asker in openers:
                if asker.group in asked_at and asker.group not in opened_at and worlds.standing(cloud, [asker.group]):
                    opened_at[asker.group] = clock.now()

        for second in range(60):
            for asker in released[len(released) * second // 60 : len(released) * (second + 1) // 60]:
                worlds.call(cloud, "DeleteInstance", InstanceId=asker.instance, Force="true")
            if second % (60 // OPENINGS) == 0:
                asker = openers[second * OPENINGS // 60]
                worlds.tag(cloud, asker.instance, asker.wish)
                asked_at[asker.group] = clock.now()
            deployment.work(start + second + 1, note)
        while not deployment.idle() and clock.now() < start + END:
            deployment.work(clock.now() + 5, note)
        note()
        return Halved(
            dict(Counter(call.action for call in worlds.calls(cloud))),
            (clock.now() - start) / 60,
            [opened_at[a.group] - asked_at[a.group] if a.group in opened_at else None for a in openers],
            worlds.standing(cloud, [fleet[0].group]),
        )


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(halved(*map(int, sys.argv[1:]))))
