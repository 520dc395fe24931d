"""A fixed part of `make prove`: every history of a sixth of the smaller scenarios, every schedule with one switch of a
third of the races."""

from __future__ import annotations

import random
from itertools import chain

import pytest
from link_peer.domain.model import Party

from tests.sample import sample
from tests.simulation import invariants
from tests.simulation.driver import deliver, each_once
from tests.simulation.explore import explore
from tests.simulation.fingerprint import fingerprint, moment
from tests.simulation.interleave import at_once, race
from tests.simulation.messages import sweep_message
from tests.simulation.races import RACES
from tests.simulation.run import CHANGES
from tests.simulation.scenarios import SCENARIOS
from tests.simulation.scenarios.common import POLICY, two_accounts_and_a_tag
from tests.simulation.scenarios.instances import WEB, event
from tests.simulation.world import HOME, World

SLICE = {  # the least number of histories: fewer would mean that something is no longer tried
    "two requests, one link": 5300,
    "ports and mutual": 3900,
    "tag and request": 3900,
    "consent withdrawn during a delivery": 6800,
    "a manual rule": 230,
    "a manual rule and a refusal": 320,
    "a copied marker": 260,
    "partial authorize": 560,
    "a late duplicate": 420,
    "a batch": 550,
    "equal messages": 100,
    "paused": 100,
    "omitted once, sg-db:tcp/3306": 83_000,
    "omitted once, i-store": 130_000,
    "too many removals": 110,
    "moved, group port": 18_000,
    "moved, address": 11_000,
    "sg-app refuses": 13_000,
    "sg-db refuses": 4600,
    "a second home": 3400,
    "a hidden account": 1700,
    "a throttled peer": 4000,
    "removals of two accounts": 58,
    "a flood": 220,
    "a change during a delivery": 6000,
    "expiry during a delivery": 11,
    "events of a group": 110,
    "consent moves": 710,
    "a tag changes": 510,
    "closed and killed": 150,
    "put back": 52_000,
    "borrowed by address": 190,
    "a late instance": 370,
    "a look, lock": 6,
    "a look, withdraw": 6,
    "a look, refuse": 7,
    "a look, address": 7,
    "a look, leave": 7,
    "a look, left out": 11,
    "a look, too many": 110,
    "removals of two accounts, each swept alone": 360,
    "sg-db of both ends refuses": 700,
    "a refusal is no consent": 160,
    "a basic source": 96,
    "half of both ends": 480,
    "kept, consent ends": 5000,
    "kept, egress consent ends": 7300,
    "a lower limit": 60,
    "a request for more, basic groups": 270,
    "a request for more, advanced groups": 270,
    "full for more, basic groups": 370,
    "requests move, instances": 1400,
}

FIRST_CALLS = {"moved, group port": 10, "moved, address": 10, "sg-app refuses": 14, "consent moves": 14}
"""The largest have their faults at so many first calls of a delivery here, and at any in `make prove`."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sample(SLICE, 6))
def test_no_history_breaks_an_invariant(name: str) -> None:
    """Neither during its deliveries nor at its end."""
    assert explore(SCENARIOS[name], calls=FIRST_CALLS.get(name, 99)).histories >= SLICE[name]


def test_merging_equal_worlds_loses_no_final_state() -> None:
    """Run separately, the histories of a small scenario have the same number and the same final states."""
    merged = explore(SCENARIOS["two requests, one link"], calls=1)
    separate = explore(SCENARIOS["two requests, one link"], calls=1, merge=False)
    assert merged.histories == separate.histories
    assert merged.finals == separate.finals


def test_what_is_run_once_counts_as_if_it_were_run_again() -> None:
    """A delivery to an equal world leaves the same rules, records and clock, makes the same calls, and its checks
    count."""

    def sweep() -> tuple[object, ...]:
        before, world = invariants.checked.copy(), two_accounts_and_a_tag()
        calls = deliver(world, sweep_message(), POLICY).calls
        return fingerprint(world), world.records, moment(world), calls, invariants.checked - before

    alone = sweep()
    with each_once():
        assert [sweep(), sweep()] == [alone, alone]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sample(RACES, 3))
def test_no_race_breaks_an_invariant(name: str) -> None:
    """In no interleaving of the calls with one switch."""
    assert race(RACES[name], 1).schedules > 1


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
