"""Try all histories of a small world: every order of the deliveries, each without a fault or with one at any call.

Worlds that are equal in everything a later delivery or check can see are explored once and counted as often as they are
reached, as a model checker does. With `merge=False` every history is run separately; a test compares the two.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import msgspec
from link_peer.domain.model import Rule
from link_peer.domain.policy import Policy

from tests.simulation import invariants
from tests.simulation.driver import deliver, reset
from tests.simulation.invariants import Broken
from tests.simulation.messages import Message, from_queue
from tests.simulation.run import READS, SLOW, kinds_for
from tests.simulation.world import START, World

PERIOD = 60  # seconds

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


class Result(msgspec.Struct):
    """What was tried."""

    histories: int = 0
    deliveries: int = 0  # that were run, which is fewer than all histories contain
    ends: int = 0  # different final states
    calls: int = 0  # of the longest delivery
    checked: dict[str, int] = {}
    finals: frozenset[object] = frozenset()


def explore(scenario: Scenario, *, merge: bool = True, most: int = 0, seed: int = 0, **fields: Any) -> Result:
    """Tries every history, with other `fields` of the scenario (kinds, faults, calls). Raises Broken, with the history in its text.

    With `most`, it goes on from that many worlds after each step, chosen by `seed`, instead of from all of them.
    """
    scenario = msgspec.structs.replace(scenario, **fields)
    chosen = random.Random(seed)
    before = Counter(invariants.checked)
    result = Result()
    start = scenario.world()
    # all states after the same number of steps: (histories that reach it, world, facts, steps done per lane, trace)
    level: dict[object, tuple[int, World, Facts, tuple[int, ...], tuple[str, ...]]] = {
        0: (1, start, frozenset(), (0,) * len(scenario.lanes), ())
    }
    finals: set[object] = set()
    for _ in range(sum(map(len, scenario.lanes))):
        following: dict[object, tuple[int, World, Facts, tuple[int, ...], tuple[str, ...]]] = {}
        for count, world, facts, steps_done, trace in level.values():
            for lane, steps in enumerate(scenario.lanes):
                if steps_done[lane] == len(steps):
                    continue
                now_done = (*steps_done[:lane], steps_done[lane] + 1, *steps_done[lane + 1 :])
                for plan, after, new_facts, calls in _outcomes(scenario, steps[steps_done[lane]], world, trace):
                    result.deliveries += 1
                    result.calls = max(result.calls, calls)
                    all_facts = facts | new_facts
                    key: object = (now_done, fingerprint(after), all_facts) if merge else len(following)
                    if key in following:
                        old = following[key]
                        following[key] = (old[0] + count, *old[1:])
                    else:
                        entry = f"{steps[steps_done[lane]].name}{_plan_text(plan)}"
                        following[key] = (count, after, all_facts, now_done, (*trace, entry))
        sample = chosen.sample(list(following), most) if 0 < most < len(following) else following
        level = {key: following[key] for key in sample}
    for count, world, facts, _, trace in level.values():
        result.histories += count
        final = (fingerprint(world), facts)
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


def _outcomes(
    scenario: Scenario, step: Step, world: World, trace: Sequence[str]
) -> Iterator[tuple[Plan, World, Facts, int]]:
    """Every way a step can go: without a fault, and with each plan of faults; with what it adds to the facts."""
    if isinstance(step, Act):
        after = world.copy()
        step.do(after)
        yield (), after, frozenset(), 0
        return
    queued = min(world.queue, key=lambda message: message.due) if world.queue and isinstance(step, NextQueued) else None
    if isinstance(step, NextQueued):
        if queued is None:
            yield (), world.copy(), frozenset(), 0
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
        yield plan, after, frozenset(facts), len(run.calls)
        if len(plan) < scenario.faults and run.end != "killed":
            first = plan[-1][0] + 1 if plan else 0
            for number in range(first, len(run.calls[: scenario.calls])):
                todo += [(*plan, (number, kind)) for kind in _kinds(scenario.kinds, run.calls, number, first)]


def _kinds(kinds: Collection[str], calls: Sequence[str], number: int, first: int) -> Iterator[str]:
    """The faults to try at a call, none of which is tried before `first`. A process that dies leaves the world as the last call
    that changed something did: of the kills between two of these, one is tried."""
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


def fingerprint(world: World) -> object:
    """Everything in a world that a later delivery or check can see. Leaves out rule ids, which are opaque, and the time;
    when a rule was made, and when a message is due, counts by periods only."""
    rules = frozenset(
        (rule.key or rule.unmanaged_traffic, rule.policy, rule.priority, rule.description, *_history(world, rule))
        for by_id in world.rules.values()
        for rule in by_id.values()
    )
    previous = frozenset(
        (rule.key or rule.unmanaged_traffic, rule.policy, rule.priority, rule.description)
        for by_id in world.previous_rules.values()
        for rule in by_id.values()
    )
    tags = frozenset((party, key, value) for party, group in world.groups.items() for key, value in group.tags.items())
    instances = frozenset((i.party, i.ip, i.groups, tuple(sorted(i.tags.items()))) for i in world.instances.values())
    queue = tuple(sorted((message.body, message.queue, (message.due - START) // PERIOD) for message in world.queue))
    barred = frozenset(world.barred.items())
    hidden = (frozenset(world.hidden), frozenset(world.revoked), barred, frozenset(world.interfaces))
    return rules, previous, tags, instances, queue, *hidden


def _history(world: World, rule: Rule) -> tuple[bool, str]:
    """Whether a person has added or edited a rule, and in which period it was made."""
    return rule.id in world.manual_rules, rule.created[:15]


def _plan_text(plan: Plan) -> str:
    return "[" + ",".join(f"{kind}@{number}" for number, kind in plan) + "]" if plan else ""
