"""Try all histories of a small world: every order of the deliveries, each without a fault or with one at any call.

Worlds that are equal in everything a later delivery or check can see are explored once and counted as often as they are
reached, as a model checker does. A delivery to equal worlds is run once, whatever happened before: its outcomes, and
the checks made in it, count as often. With `merge=False` every history is run separately; a test compares the two.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec
from link_peer.domain.policy import Policy

from tests.simulation import invariants
from tests.simulation.driver import deliver, each_once, reset
from tests.simulation.fingerprint import fingerprint, moment
from tests.simulation.invariants import Broken
from tests.simulation.messages import Message, from_queue
from tests.simulation.run import READS, SLOW, kinds_for
from tests.simulation.world import World

Fact = tuple[str, ...]
Facts = frozenset[Fact]
"""What happened so far, for the final check: ("acked", message), ("fault", kind), (message, outcome, reason)."""

Plan = tuple[tuple[int, str], ...]
"""The faults of one delivery, as (call number, kind)."""


NOTED = frozenset({"forbidden", "stale", "empty", "omit-one", "omit-group", *SLOW})
"""Faults after which a history may end otherwise."""


class Act(msgspec.Struct, frozen=True):
    """Something that changes the world between deliveries: a person or an instance does it."""

    name: str
    do: Callable[[World], None]


class NextQueued(msgspec.Struct, frozen=True):
    """Delivers what is next on the queues, if anything is."""

    name: str = "next on the queue"


Step = Message | Act | NextQueued


class Scenario(msgspec.Struct, frozen=True):
    """A small world and the steps to try on it.

    The steps of one lane keep their order; all interleavings of the lanes are tried. `end` checks a finished history.
    """

    name: str
    world: Callable[[], World]
    policy: Policy
    lanes: tuple[tuple[Step, ...], ...]
    end: Callable[[World, Facts], None]
    kinds: tuple[str, ...] = ("kill", "kill-after")
    faults: int = 1  # the most faults in one delivery
    calls: int = 99  # faults are injected only at this many first calls of a delivery


class Outcome(msgspec.Struct, frozen=True):
    """One way in which a step can go: the faults, the world after it and its fingerprint, what it adds to the facts,
    its calls."""

    plan: Plan
    world: World
    fingerprint: object
    facts: Facts
    calls: int


class Result(msgspec.Struct):
    """What was tried."""

    histories: int = 0
    deliveries: int = 0  # from different worlds or after different facts, which are fewer than all histories contain
    ends: int = 0  # different final states
    calls: int = 0  # of the longest delivery
    checked: dict[str, int] = {}
    finals: frozenset[object] = frozenset()


def explore(scenario: Scenario, *, merge: bool = True, most: int = 0, seed: int = 0, **fields: Any) -> Result:
    """Tries every history, with other `fields` of the scenario (kinds, faults, calls). Raises Broken, with the history
    in its text.

    With `most`, it goes on from that many worlds after each step, chosen by `seed`, instead of from all of them.
    """
    scenario = msgspec.structs.replace(scenario, **fields)
    chosen = random.Random(seed)
    before = Counter(invariants.checked)
    result = Result()
    start = scenario.world()
    tried = _Tried(scenario) if merge else None
    # all states after the same number of steps: (histories that reach it, world and its fingerprint, facts, steps done
    # per lane, trace)
    level: dict[object, tuple[int, World, object, Facts, tuple[int, ...], tuple[str, ...]]] = {
        0: (1, start, fingerprint(start), frozenset(), (0,) * len(scenario.lanes), ())
    }
    finals: set[object] = set()
    for _ in range(sum(map(len, scenario.lanes))):
        following: dict[object, tuple[int, World, object, Facts, tuple[int, ...], tuple[str, ...]]] = {}
        for count, world, world_print, facts, steps_done, trace in level.values():
            for lane, steps in enumerate(scenario.lanes):
                if steps_done[lane] == len(steps):
                    continue
                step = steps[steps_done[lane]]
                now_done = (*steps_done[:lane], steps_done[lane] + 1, *steps_done[lane + 1 :])
                outcomes = (
                    _outcomes(scenario, step, world, trace)
                    if tried is None
                    else tried.outcomes(step, world, world_print, trace)
                )
                for outcome in outcomes:
                    result.deliveries += 1
                    result.calls = max(result.calls, outcome.calls)
                    all_facts = facts | outcome.facts
                    key: object = (now_done, outcome.fingerprint, all_facts) if merge else len(following)
                    if key in following:
                        old = following[key]
                        following[key] = (old[0] + count, *old[1:])
                    else:
                        entry = f"{step.name}{_plan_text(outcome.plan)}"
                        following[key] = (
                            count,
                            outcome.world,
                            outcome.fingerprint,
                            all_facts,
                            now_done,
                            (*trace, entry),
                        )
        sample = chosen.sample(list(following), most) if 0 < most < len(following) else following
        level = {key: following[key] for key in sample}
    with each_once() if merge else contextlib.nullcontext():
        for count, world, world_print, facts, _, trace in level.values():
            result.histories += count
            final = (world_print, facts)
            if final in finals:
                continue
            finals.add(final)
            try:
                scenario.end(world.copy(), facts)
            except Broken as broken:
                raise _with_history(broken, trace) from None
    result.ends = len(finals)
    result.finals = frozenset(finals)
    result.checked = dict(invariants.checked - before)
    return result


class _Tried:
    """The outcomes of the deliveries tried so far, with the checks that were made in them, by the message, the world's
    fingerprint, and its queues: what is due first comes next. A step that is no delivery is carried out again, which
    takes no time."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._outcomes: dict[object, tuple[list[Outcome], Counter[str]]] = {}
        self._worlds: dict[object, World] = {}

    def outcomes(self, step: Step, world: World, world_print: object, trace: Sequence[str]) -> list[Outcome]:
        """Every way a step can go, as `_outcomes` says."""
        if isinstance(step, Act) or (isinstance(step, NextQueued) and not world.queue):
            return self._shared(_outcomes(self._scenario, step, world, trace))
        key = (step, world_print, tuple(world.queue))
        if key in self._outcomes:
            outcomes, checks = self._outcomes[key]
            invariants.checked.update(checks)
            return outcomes
        before = Counter(invariants.checked)
        outcomes = self._shared(_outcomes(self._scenario, step, world, trace))
        self._outcomes[key] = outcomes, invariants.checked - before
        return outcomes

    def _shared(self, outcomes: Iterable[Outcome]) -> list[Outcome]:
        """The same outcomes; equal worlds at one time are one object."""
        return [msgspec.structs.replace(each, world=self._world(each)) for each in outcomes]

    def _world(self, outcome: Outcome) -> World:
        return self._worlds.setdefault((outcome.fingerprint, *moment(outcome.world)), outcome.world)


def _outcomes(scenario: Scenario, step: Step, world: World, trace: Sequence[str]) -> Iterator[Outcome]:
    """Every way a step can go: without a fault, and with each plan of faults; with what it adds to the facts."""
    if isinstance(step, Act):
        after = world.copy()
        step.do(after)
        yield Outcome((), after, fingerprint(after), frozenset(), 0)
        return
    queued = min(world.queue, key=lambda message: message.due) if world.queue and isinstance(step, NextQueued) else None
    if isinstance(step, NextQueued):
        if queued is None:
            yield Outcome((), world.copy(), fingerprint(world), frozenset(), 0)
            return
        step = from_queue(queued)
    todo: list[Plan] = [()]
    while todo:
        plan = todo.pop()
        after = world.copy()
        reset(after, step.after)
        if queued:
            after.queue.remove(queued)
            after.now = max(after.now, queued.due)
        try:
            run = deliver(after, step, scenario.policy, dict(plan))
        except Broken as broken:
            raise _with_history(broken, [*trace, step.name + _plan_text(plan)]) from None
        facts: set[Fact] = {(step.name, r["outcome"], r.get("reason", "")) for r in run.watch.outcomes}
        facts |= {("fault", kind) for _, kind in plan if kind in NOTED}
        if run.end == "acked":
            facts.add(("acked", step.name))
        elif queued:
            after.queue.append(queued)
        yield Outcome(plan, after, fingerprint(after), frozenset(facts), len(run.calls))
        if len(plan) < scenario.faults and run.end != "killed":
            first = plan[-1][0] + 1 if plan else 0
            for number in range(first, len(run.calls[: scenario.calls])):
                todo += [(*plan, (number, kind)) for kind in _kinds(scenario.kinds, run.calls, number, first)]


def _kinds(kinds: Collection[str], calls: Sequence[str], number: int, first: int) -> Iterator[str]:
    """The faults to try at a call, none of which is tried before `first`. A process that dies leaves the world as the
    last call that changed something did: of the kills between two of these, one is tried."""
    for kind in kinds_for(calls[number]):
        if kind == "kill" and number > first:
            skipped = "kill-after" in kinds or calls[number - 1] in READS
        else:
            skipped = kind == "kill-after" and calls[number] in READS and (number > first or "kill" in kinds)
        if kind in kinds and not skipped:
            yield kind


def _with_history(broken: Broken, trace: Sequence[str]) -> Broken:
    """The same error with the history in its text."""
    return Broken(broken.invariant, f"{broken}\n  after: {'; '.join(trace)}")


def _plan_text(plan: Plan) -> str:
    return "[" + ",".join(f"{kind}@{number}" for number, kind in plan) + "]" if plan else ""
