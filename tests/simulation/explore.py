"""All histories of a tiny world: every order of the deliveries, each of them clean or with a fault at any call.

Worlds that are equal in everything that a later delivery or a check can see are explored once and counted as often as they
are reached, as a model checker does; `merge=False` walks every history by itself, and a test compares the two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec
from link_peer.domain.policy import Policy

from tests.simulation import invariants, run
from tests.simulation.invariants import Broken
from tests.simulation.run import Message, deliver, kinds_for
from tests.simulation.world import World

Fact = tuple[str, ...]
Facts = frozenset[Fact]
"""What later checks need of the past: ("acked", message), ("fault", kind), (message, outcome, reason)."""

Plan = tuple[tuple[int, str], ...]
"""Faults of one delivery: (call number, kind)."""


class Act(msgspec.Struct, frozen=True):
    """Something a person does between deliveries."""

    name: str
    do: Callable[[World], None]


Step = Message | Act


class Scenario(msgspec.Struct, frozen=True):
    """`lanes` are sequences of steps; every interleaving of them is tried. `end` judges a finished history."""

    name: str
    world: Callable[[], World]
    policy: Policy
    lanes: tuple[tuple[Step, ...], ...]
    end: Callable[[World, Facts], None]
    kinds: tuple[str, ...] = ("kill", "kill-after")
    faults: int = 1  # at most so many in one delivery
    calls: int = 99  # faults at the first so many calls of a delivery


class Result(msgspec.Struct):
    """What was tried. `ends` are the different final states."""

    histories: int = 0
    deliveries: int = 0
    ends: int = 0
    calls: int = 0  # of the longest delivery
    checked: dict[str, int] = {}
    finals: frozenset[object] = frozenset()


def explore(scenario: Scenario, *, merge: bool = True) -> Result:
    """Tries every history. Raises Broken, with the history that led there."""
    before = Counter(invariants.checked)
    result = Result()
    start = scenario.world()
    level: dict[object, tuple[int, World, Facts, tuple[int, ...], tuple[str, ...]]] = {
        0: (1, start, frozenset(), (0,) * len(scenario.lanes), ())
    }
    finals: set[object] = set()
    for _ in range(sum(map(len, scenario.lanes))):
        following: dict[object, tuple[int, World, Facts, tuple[int, ...], tuple[str, ...]]] = {}
        for count, world, facts, at, trace in level.values():
            for lane, steps in enumerate(scenario.lanes):
                if at[lane] == len(steps):
                    continue
                there = (*at[:lane], at[lane] + 1, *at[lane + 1 :])
                for plan, after, learnt, calls in _outcomes(scenario, steps[at[lane]], world, trace):
                    result.deliveries += 1
                    result.calls = max(result.calls, calls)
                    known = facts | learnt
                    key = (there, fingerprint(after), known) if merge else len(following)
                    if key in following:
                        old = following[key]
                        following[key] = (old[0] + count, *old[1:])
                    else:
                        said = f"{steps[at[lane]].name}{_shown(plan)}"
                        following[key] = (count, after, known, there, (*trace, said))
        level = following
    for count, world, facts, _, trace in level.values():
        result.histories += count
        key = (fingerprint(world), facts)
        if key in finals:
            continue
        finals.add(key)
        try:
            scenario.end(world.copy(), facts)
        except Broken as broken:
            raise _told(broken, trace) from None
    result.ends = len(finals)
    result.finals = frozenset(finals)
    result.checked = dict(invariants.checked - before)
    return result


def _outcomes(
    scenario: Scenario, step: Step, world: World, trace: Sequence[str]
) -> Iterator[tuple[Plan, World, Facts, int]]:
    """Every way in which one step can go."""
    if isinstance(step, Act):
        after = world.copy()
        step.do(after)
        yield (), after, frozenset(), 0
        return
    todo: list[Plan] = [()]
    while todo:
        plan = todo.pop()
        after = world.copy()
        run.reset(after, step.after)
        try:
            ran = deliver(after, step, scenario.policy, dict(plan))
        except Broken as broken:
            raise _told(broken, [*trace, step.name + _shown(plan)]) from None
        facts: set[Fact] = {(step.name, r["outcome"], r.get("reason", "")) for r in ran.watch.outcomes}
        facts |= {("fault", kind) for _, kind in plan if kind in ("forbidden", "stale", "empty", "short", "withdrawn")}
        if ran.end == "acked":
            facts.add(("acked", step.name))
        yield plan, after, frozenset(facts), len(ran.calls)
        if len(plan) < scenario.faults and ran.end != "killed":
            first = plan[-1][0] + 1 if plan else 0
            for number, name in enumerate(ran.calls[: scenario.calls]):
                if number >= first:
                    todo += [(*plan, (number, kind)) for kind in kinds_for(name) if kind in scenario.kinds]


def _told(broken: Broken, trace: Sequence[str]) -> Broken:
    """The break with the history that led to it."""
    return Broken(broken.invariant, f"{broken}\n  after: {'; '.join(trace)}")


def fingerprint(world: World) -> object:
    """Everything in a world that a later delivery or a check can see; not rule ids, which are opaque, nor time."""
    rules = frozenset(
        (rule.key, rule.policy, rule.priority, rule.description, rule.id in world.human)
        for standing in world.rules.values()
        for rule in standing.values()
    )
    before = frozenset(
        (rule.key, rule.policy, rule.priority, rule.description)
        for old in world.before.values()
        for rule in old.values()
    )
    tags = frozenset((party, key, value) for party, group in world.groups.items() for key, value in group.tags.items())
    instances = frozenset((i.party, i.ip, i.groups, tuple(sorted(i.tags.items()))) for i in world.instances.values())
    return rules, before, tags, instances, tuple(world.queue), frozenset(world.hidden)


def _shown(plan: Plan) -> str:
    return "[" + ",".join(f"{kind}@{number}" for number, kind in plan) + "]" if plan else ""
