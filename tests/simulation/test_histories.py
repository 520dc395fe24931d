"""A fixed slice of `make prove`: every history of the smaller worlds, every schedule with one switch of the races."""

from __future__ import annotations

import pytest

from tests.simulation.explore import explore
from tests.simulation.hunt import BY_NAME, SCENARIOS
from tests.simulation.interleave import race

SLICE = {  # the histories that there are: fewer means that something is not tried any more
    "two requests, one link": 2_000_000,
    "ports and mutual": 1_000_000,
    "tag and request": 1_000_000,
    "consent withdrawn meanwhile": 1_000,
    "a person's rule": 10_000,
    "a person's rule, and a refusal": 10_000,
    "a copied marker": 20_000,
    "sg-app refuses": 4_000_000,
    "sg-db refuses": 400_000,
}


@pytest.mark.parametrize("name", SLICE)
def test_every_history_ends_well(name: str) -> None:
    """No invariant breaks on the way or at the end."""
    assert explore(SCENARIOS[name]()).histories >= SLICE[name]


def test_merging_equal_worlds_loses_no_end() -> None:
    """Explored one by one, the histories of a small world are as many and end the same."""
    merged = explore(SCENARIOS["two requests, one link"](calls=1))
    single = explore(SCENARIOS["two requests, one link"](calls=1), merge=False)
    assert merged.histories == single.histories
    assert merged.finals == single.finals


@pytest.mark.parametrize("name", BY_NAME)
def test_two_deliveries_at_once_end_well(name: str) -> None:
    """However their calls interleave, with one switch."""
    assert race(BY_NAME[name], 1).schedules > 1
