"""A fixed part of `make prove`: every history of the smaller scenarios, every schedule with one switch of the races."""

from __future__ import annotations

import pytest

from tests.simulation.explore import explore
from tests.simulation.hunt import RACE_BY_NAME
from tests.simulation.interleave import race
from tests.simulation.scenarios import SCENARIOS

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
    "moved, address": 10_000_000,
    "sg-app refuses": 4_000_000,
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


@pytest.mark.parametrize("name", SLICE)
def test_no_history_breaks_an_invariant(name: str) -> None:
    """Neither during its deliveries nor at its end."""
    assert explore(SCENARIOS[name]()).histories >= SLICE[name]


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
