"""A fixed part of `make prove`: every history of the smaller scenarios, every schedule with one switch of the races."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from link_peer.domain.model import Party

from tests.simulation.explore import explore
from tests.simulation.hunt import RACE_BY_NAME
from tests.simulation.interleave import at_once, race
from tests.simulation.run import CHANGES
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.scenarios.common import POLICY
from tests.simulation.scenarios.instances import WEB, event
from tests.simulation.world import HOME, World

SLICE = {  # the least number of histories: fewer would mean that something is no longer tried
    "two requests, one link": 2_000_000,
    "ports and mutual": 1_000_000,
    "tag and request": 1_000_000,
    "consent withdrawn during a delivery": 25_000,
    "a manual rule": 14_000,
    "a manual rule and a refusal": 17_000,
    "a copied marker": 15_000,
    "partial authorize": 25_000,
    "a late duplicate": 7_000,
    "a batch": 50_000,
    "equal messages": 1_500,
    "paused": 9_000,
    "omitted once, sg-db:tcp/3306": 300_000,
    "omitted once, i-store": 500_000,
    "too many removals": 16_000,
    "moved, group port": 7_000_000,
    "moved, address": 5_000_000,
    "sg-app refuses": 3_000_000,
    "sg-db refuses": 400_000,
    "a second home": 500_000,
    "a hidden account": 50_000,
    "a throttled peer": 200_000,
    "removals of two accounts": 1_500,
    "a flood": 6_000,
    "a change during a delivery": 5_000,
    "expiry during a delivery": 10,
    "events of a group": 2_000,
    "consent moves": 50_000,
    "a tag changes": 50_000,
    "closed and killed": 100,
    "put back": 50_000,
    "borrowed by address": 3_000,
    "a late instance": 2_000,
    "a look, lock": 25,
    "a look, withdraw": 25,
    "removals of two accounts, each swept alone": 400,
}

FIRST_CALLS = {"moved, address": 10, "sg-app refuses": 14, "consent moves": 14}
"""The largest have their faults at so many first calls of a delivery here, and at any in `make prove`."""


@pytest.mark.parametrize("name", SLICE)
def test_no_history_breaks_an_invariant(name: str) -> None:
    """Neither during its deliveries nor at its end."""
    assert explore(SCENARIOS[name](calls=FIRST_CALLS.get(name, 99))).histories >= SLICE[name]


def test_merging_equal_worlds_loses_no_final_state() -> None:
    """Run separately, the histories of a small scenario have the same number and the same final states."""
    merged = explore(SCENARIOS["two requests, one link"](calls=1))
    separate = explore(SCENARIOS["two requests, one link"](calls=1), merge=False)
    assert merged.histories == separate.histories
    assert merged.finals == separate.finals


@pytest.mark.parametrize("name", RACE_BY_NAME)
def test_no_race_breaks_an_invariant(name: str) -> None:
    """In no interleaving of the calls with one switch."""
    assert race(RACE_BY_NAME[name], 1).schedules > 1


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.05])
def test_eight_that_start_at_once_write_at_most_four_changes(seconds: float) -> None:
    """Rules and tags, where each call takes half as long to half as long again."""
    chance = random.Random(seconds)
    for number in range(8):
        world = World()
        world.add_group(HOME, "web", "*")
        world.add_group(HOME, "db", "*")
        names = [f"{number}x{n}" for n in range(8)]
        for name in names:
            world.add_instance(HOME, name, WEB, peer="sg-db:tcp/3306")
        events = [event(name, "Running", Party(HOME, f"i-{name}")) for name in names]
        runs = at_once(world, events, POLICY, lambda: seconds * chance.uniform(0.5, 1.5))
        assert sum(call in CHANGES for call in chain.from_iterable(run.calls for run in runs)) <= 4
