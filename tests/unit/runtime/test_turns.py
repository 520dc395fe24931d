"""Turns: which account's job is next."""

from __future__ import annotations

import pytest
from link_peer.runtime.turns import Turns, in_turns

from tests.unit.fakes import FakeClock


@pytest.mark.parametrize(
    ("jobs", "order"),
    [
        ("", ""),
        ("aaa", "aaa"),
        ("aaabb", "ababa"),
        ("abbbcc", "abcbcb"),
    ],
)
def test_accounts_take_turns_where_jobs_take_no_time(jobs: str, order: str) -> None:
    """Both in a list that is made before, and one job after the other."""
    assert "".join(in_turns(jobs, str)) == order
    assert "".join(Turns(FakeClock()).each(jobs, str)) == order


def test_the_account_that_used_the_least_time_is_next() -> None:
    """One slow job of an account is followed by all of another's that take as long together, now and later."""
    clock = FakeClock()
    turns = Turns(clock)
    done = ""
    for job in turns.each("aabbbb", str):
        clock.sleep(3 if job == "a" else 1)
        done += job
    assert done == "abbbab"
    assert "".join(turns.each("ab", str)) == "ba"
