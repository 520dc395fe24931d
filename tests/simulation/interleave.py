"""Run two deliveries concurrently: every schedule of their calls with up to a given number of switches.

Each delivery has its own thread, but only one runs at a time: before every call it waits until the scheduler lets it go
on, so that a schedule always runs the same way. A few switches find most races (context bounding, as in CHESS).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec
from link_peer.domain.policy import Policy

from tests.simulation.driver import deliver, reset
from tests.simulation.fingerprint import fingerprint
from tests.simulation.invariants import Broken, hold, stripped
from tests.simulation.messages import Message
from tests.simulation.run import Run
from tests.simulation.world import World


class Race(msgspec.Struct, frozen=True):
    """`messages` are delivered concurrently. `end` checks the resulting world and returns whether a claim was lost."""

    name: str
    world: Callable[[], World]
    policy: Policy
    messages: tuple[Message, Message]
    end: Callable[[World, Sequence[Run]], bool]
    max_lost: int = 0  # schedules that may lose a claim: there is no compare-and-set (docs/guarantees.md, limits)


class Outcome(msgspec.Struct):
    """What was tried."""

    schedules: int = 0
    ends: int = 0  # different final states
    lost_claims: int = 0  # schedules in which a claim was lost


def race(race: Race, switches: int) -> Outcome:
    """Tries every schedule. Raises Broken, with the schedule in its text."""
    lengths = [len(deliver(_start(race), message, race.policy).calls) for message in race.messages]
    outcome = Outcome()
    ends: dict[object, bool] = {}
    for first, turns in _schedules(lengths, switches):
        world = _start(race)
        outcome.schedules += 1
        try:
            runs = _run(world, race, first, turns)
            has_tag = any(run.end != "acked" for run in runs) or not stripped(world, race.policy)
            hold("I9", has_tag, "both were acknowledged, and a group with a rule of ours has no managed tag")
            key = (fingerprint(world), tuple(run.end for run in runs), tuple(str(_outcomes(run)) for run in runs))
            if key not in ends:
                ends[key] = race.end(world, runs)
                hold("I6", bool(race.max_lost) or not ends[key], "both were applied, but a claim was lost")
        except Broken as broken:
            raise Broken(broken.invariant, f"{broken}\n  {race.name}: {first} first, turns {turns}") from None
        outcome.lost_claims += ends[key]
    hold("I6", outcome.lost_claims <= race.max_lost, f"{outcome.lost_claims} schedules of {race.name} lose a claim")
    outcome.ends = len(ends)
    return outcome


def at_once(world: World, messages: Sequence[Message], policy: Policy, took: Callable[[], float]) -> list[Run]:
    """Runs deliveries that begin at one moment, each call of which takes the seconds that `took` says. One that waits
    is overtaken by the others."""
    start, lanes = world.now, [_DeliveryThread(world, message, policy) for message in messages]
    due = dict.fromkeys(lanes, start)
    for lane in lanes:
        lane.start()
    while due:
        lane = min(due, key=due.__getitem__)
        world.now = due.pop(lane)
        lane.go(1)
        if not lane.finished:
            due[lane] = world.now + took()
    return [lane.ran() for lane in lanes]


def _start(race: Race) -> World:
    world = race.world()
    reset(world)
    return world


def _outcomes(run: Run) -> list[tuple[str, str]]:
    return [(record["outcome"], record.get("reason", "")) for record in run.watch.outcomes]


def _schedules(lengths: Sequence[int], switches: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """All (delivery that runs first, number of calls of each turn). After these turns both deliveries run to their
    end."""
    for first in (0, 1):
        for count in range(1, switches + 1):
            ranges = [range(1, lengths[(first + turn) % 2] + 1) for turn in range(count)]
            for turns in itertools.product(*ranges):
                if sum(turns[0::2]) <= lengths[first] and sum(turns[1::2]) <= lengths[1 - first]:
                    yield first, turns


class _DeliveryThread(threading.Thread):
    """The thread of one delivery, which waits for its turn before every call."""

    def __init__(self, world: World, message: Message, policy: Policy) -> None:
        super().__init__(daemon=True)
        self.turn = threading.Semaphore(0)
        self.paused = threading.Semaphore(0)
        self.calls_left = 0
        self.finished = False
        self.result: Run | None = None
        self.error: BaseException | None = None
        self._deliver: Callable[[], Run] = lambda: deliver(world, message, policy, None, self._before_call)

    def go(self, calls: int) -> None:
        """Lets it make this many calls; returns when it has, or is finished."""
        if not self.finished:
            self.calls_left = calls
            self.turn.release()
            self.paused.acquire()

    def run(self) -> None:
        self.turn.acquire()
        try:
            self.result = self._deliver()
        except BaseException as error:
            self.error = error
        self.finished = True
        self.paused.release()

    def ran(self) -> Run:
        """What came of it, once it is finished."""
        self.join()
        if self.error is not None:
            raise self.error
        assert self.result is not None
        return self.result

    def _before_call(self, _number: int) -> None:
        if self.calls_left == 0:
            self.paused.release()
            self.turn.acquire()
        self.calls_left -= 1


def _run(world: World, race: Race, first: int, turns: Sequence[int]) -> list[Run]:
    lanes = [_DeliveryThread(world, message, race.policy) for message in race.messages]
    for lane in lanes:
        lane.start()
    for number, calls in enumerate([*turns, 10_000, 10_000]):
        lanes[(first + number) % 2].go(calls)
    return [lane.ran() for lane in lanes]
