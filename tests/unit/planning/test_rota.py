"""When each account is swept, however many there are."""

from __future__ import annotations

import itertools

import pytest
from link_peer.planning.rota import (
    AT_ONCE,
    MOST_RUNS,
    RUN_SECONDS,
    goes_on,
    last_turn,
    next_look,
    whose_turn,
)

from tests.unit.small_world import HOME, NOW, PEER


@pytest.mark.parametrize(("accounts", "runs"), [(2, 1), (42, 1), (43, 2), (500, 12), (1_002, 24), (2_000, 24)])
def test_each_account_has_its_turn_and_is_looked_at_between(accounts: int, runs: int) -> None:
    """The timer posts each account once in so many of its runs; what it says of the next look and the last turn
    agrees."""
    names = [f"{n:016}" for n in range(accounts)]
    turns = [whose_turn(names, NOW + run * RUN_SECONDS) for run in range(runs)]
    assert sorted(itertools.chain(*turns)) == names
    assert max(map(len, turns)) < 2 * max(AT_ONCE, accounts / MOST_RUNS)
    for run, turn in enumerate(turns):
        began = NOW + run * RUN_SECONDS
        for account in turn[:5]:
            looks = [next_look(accounts, began, began + n * RUN_SECONDS) for n in range(runs + 1)]
            assert looks == [540] * runs + [None]
            last = began + runs * RUN_SECONDS - 540  # the timer comes before a look at that very moment
            assert [next_look(accounts, began, last - early) for early in (0, 1)] == [None, 540]
            ends = [goes_on(account, accounts, began, began + n * RUN_SECONDS, listed=True) for n in range(runs + 2)]
            assert ends == [True] * (runs + 1) + [False]


def test_an_account_keeps_its_turn() -> None:
    """Its uid alone decides in which of 24 runs that is, whatever version of the functions is deployed."""
    assert [NOW - last_turn(account, 1_000, NOW) for account in (HOME, PEER)] == [3_600, 5_400]


@pytest.mark.parametrize(("accounts", "between"), [(43, 2), (200, 5), (600, 15)])
def test_a_first_message_that_comes_late_is_of_the_turn_before(accounts: int, between: int) -> None:
    """So that it does not matter for whether the listing may take long."""
    turns = [NOW + run * RUN_SECONDS for run in range(300) if _is_turn(run, accounts)]
    long = (between + 1) * RUN_SECONDS
    for late in range(0, between * RUN_SECONDS, RUN_SECONDS):
        goes_on_by_turn = [goes_on(HOME, accounts, turn + late, turn + late + long, listed=False) for turn in turns]
        assert goes_on_by_turn == [goes_on(HOME, accounts, turn, turn + long, listed=False) for turn in turns]


def test_a_long_listing_goes_on_beside_newer_ones_once_in_four_hours() -> None:
    """The others end with the second run after theirs, so that few share an account's calls."""
    instants = [NOW + run * RUN_SECONDS for run in range(24)]
    for runs, going in ((2, 24), (3, 1), (24, 1), (25, 0)):
        goes_on_by_instant = [
            goes_on(HOME, 2, instant, instant + runs * RUN_SECONDS, listed=False) for instant in instants
        ]
        assert sum(goes_on_by_instant) == going


@pytest.mark.parametrize("accounts", [43, 200, 400, 600, 950, 1_000])
@pytest.mark.parametrize("late", [1, RUN_SECONDS])
def test_an_account_that_is_never_all_listed_is_looked_at_in_every_run(accounts: int, late: int) -> None:
    """Whatever number of runs lies between its turns, and though its first message comes in the run after the
    timer's."""
    instants = [NOW + run * RUN_SECONDS for run in range(300) if _is_turn(run, accounts)]
    for run in range(100, 300):
        now = NOW + run * RUN_SECONDS + late
        assert any(
            goes_on(HOME, accounts, instant + late, now, listed=False) for instant in instants if instant + late <= now
        )


def _is_turn(run: int, accounts: int) -> bool:
    now = NOW + run * RUN_SECONDS
    return last_turn(HOME, accounts, now) == now
