"""A fixed slice of `make prove`: every history of the smaller worlds, every schedule with one switch of the races."""

from __future__ import annotations

import itertools

import pytest

from tests.simulation import oracle
from tests.simulation.explore import explore
from tests.simulation.hunt import BY_NAME, SCENARIOS
from tests.simulation.interleave import race
from tests.simulation.lifecycle import ONE, STORE, born, event, home_world
from tests.simulation.run import deliver, sweep_message
from tests.simulation.scenarios import POLICY
from tests.simulation.world import World

SLICE = {  # the histories that there are: fewer means that something is not tried any more
    "two requests, one link": 2_000_000,
    "ports and mutual": 1_000_000,
    "tag and request": 1_000_000,
    "consent withdrawn meanwhile": 1_000,
    "a person's rule": 10_000,
    "a person's rule, and a refusal": 10_000,
    "a copied marker": 20_000,
    "made in part": 1_000,
    "a late duplicate": 1_000,
    "a batch": 1_000,
    "paused": 100,
    "left out, sg-db:tcp/3306": 1_000,
    "left out, i-store": 1_000,
    "too many at once": 10_000,
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


def test_a_tag_and_its_event_in_the_middle_of_a_sweep_keep_their_rule() -> None:
    """At every call of the sweep: what it reads of rules is older than what it reads of tags, so that a rule which it sees
    is not taken for unwanted."""

    def tagged(world: World) -> None:
        world.set_tag(ONE, "link-peer", "sg-db:tcp/3306")
        deliver(world, event("tagged", "tags"), POLICY)

    calls = 0
    for call in itertools.count():
        world = home_world("", "*")
        born("")(world)
        deliver(world, event("other", "tags", STORE), POLICY)
        ran = deliver(
            world,
            sweep_message(),
            POLICY,
            None,
            lambda number, at=call, there=world: tagged(there) if number == at else None,
        )
        if call >= len(ran.calls):
            break
        calls += 1
        assert oracle.owned(world, POLICY), f"the rule is gone after a tag at call {call}: {ran.calls}"
    assert calls > 5
