"""Two deliveries at once: every schedule of their cloud calls with up to a number of switches between them.

Each delivery runs in a thread of its own, but only one at a time: before every call it hands over to the scheduler, so a
schedule is the same each time. Few switches find most races (context bounding, as in CHESS).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from link_peer.domain.policy import Policy

from tests.simulation.explore import fingerprint
from tests.simulation.invariants import Broken, hold
from tests.simulation.run import Message, Run, deliver, reset
from tests.simulation.world import World


class Race(msgspec.Struct, frozen=True):
    """`pair` runs at once on `world`; `end` judges what is left, given both runs, and says whether a reason was lost."""

    name: str
    world: Callable[[], World]
    policy: Policy
    pair: tuple[Message, Message]
    end: Callable[[World, Sequence[Run]], bool]
    may_lose: int = 0  # schedules, with three switches: the known limit, as the platform has no compare-and-set


class Outcome(msgspec.Struct):
    schedules: int = 0
    ends: int = 0
    lost: int = 0  # schedules in which a reason was lost: the known limit


def race(race: Race, switches: int) -> Outcome:
    """Tries every schedule. Raises Broken with the schedule that led there."""
    lengths = [len(deliver(_start(race), message, race.policy).calls) for message in race.pair]
    outcome = Outcome()
    ends: dict[object, bool] = {}
    for first, turns in _schedules(lengths, switches):
        world = _start(race)
        outcome.schedules += 1
        try:
            runs = _run(world, race, first, turns)
            key = (fingerprint(world), tuple(run.end for run in runs), tuple(str(_told(run)) for run in runs))
            if key not in ends:
                ends[key] = race.end(world, runs)
                hold("I6", bool(race.may_lose) or not ends[key], "both were applied, and a reason is lost")
        except Broken as broken:
            raise Broken(broken.invariant, f"{broken}\n  {race.name}: {first} first, turns {turns}") from None
        outcome.lost += ends[key]
    hold("I6", outcome.lost <= race.may_lose, f"{outcome.lost} schedules of {race.name} lose a reason")
    outcome.ends = len(ends)
    return outcome


def _start(race: Race) -> World:
    world = race.world()
    reset(world)
    return world


def _told(run: Run) -> list[tuple[str, str]]:
    return [(record["outcome"], record.get("reason", "")) for record in run.watch.outcomes]


def _schedules(lengths: Sequence[int], switches: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(who begins, after how many calls each turn ends); the last two turns run to their end."""
    for first in (0, 1):
        for count in range(1, switches + 1):
            ranges = [range(1, lengths[(first + turn) % 2] + 1) for turn in range(count)]
            for turns in itertools.product(*ranges):
                if sum(turns[0::2]) <= lengths[first] and sum(turns[1::2]) <= lengths[1 - first]:
                    yield first, turns


class _Lane(threading.Thread):
    """One delivery, which waits for its turn before every call."""

    def __init__(self, world: World, message: Message, policy: Policy) -> None:
        super().__init__(daemon=True)
        self.turn = threading.Semaphore(0)
        self.paused = threading.Semaphore(0)
        self.left = 0
        self.over = False
        self.ran: Run | None = None
        self.broken: BaseException | None = None
        self._deliver: Callable[[], Run] = lambda: deliver(world, message, policy, None, self._before_call)

    def go(self, calls: int) -> None:
        """Lets it make so many calls, or come to its end."""
        if not self.over:
            self.left = calls
            self.turn.release()
            self.paused.acquire()

    def run(self) -> None:
        self.turn.acquire()
        try:
            self.ran = self._deliver()
        except BaseException as broken:
            self.broken = broken
        self.over = True
        self.paused.release()

    def _before_call(self, _number: int) -> None:
        if self.left == 0:
            self.paused.release()
            self.turn.acquire()
        self.left -= 1


def _run(world: World, race: Race, first: int, turns: Sequence[int]) -> list[Run]:
    lanes = [_Lane(world, message, race.policy) for message in race.pair]
    for lane in lanes:
        lane.start()
    for number, calls in enumerate([*turns, 10_000, 10_000]):
        lanes[(first + number) % 2].go(calls)
    for lane in lanes:
        lane.join()
        if lane.broken is not None:
            raise lane.broken
    runs: list[Any] = [lane.ran for lane in lanes]
    return runs
