"""The pace: a share of what an account may call in a minute, less after a refusal, and never beyond the deadline; and
accounts take turns."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from link_peer.domain.errors import OutOfTime, Throttled, Transient
from link_peer.runtime.pace import AFTER_MINUTE, FEWEST, Pace
from link_peer.runtime.retry import LONGEST_WAIT
from link_peer.runtime.turns import Turns, in_turns

from tests.unit.fakes import FakeClock

MINUTE = 60.0
START = 28_333_334 * MINUTE
API = ("1000000000000001", "DescribeInstances")


def made_at(pace: Pace, clock: FakeClock, count: int, api: tuple[str, str] = API) -> list[float]:
    """When each of so many calls was made, in seconds after the first."""
    begin = clock.now()
    return [pace.call(*api, lambda: clock.now() - begin) for _ in range(count)]


def failing(*errors: Exception) -> Callable[[], str]:
    """A call that raises these first."""
    errors_left = list(errors)

    def call() -> str:
        if errors_left:
            raise errors_left.pop(0)
        return "done"

    return call


@pytest.mark.parametrize("per_minute", [None, 200])
def test_far_from_the_limit_nothing_waits(per_minute: int | None) -> None:
    clock = FakeClock(START)
    made_at(Pace(clock, START + 600, per_minute), clock, 100)
    assert clock.waits == []


def test_half_of_the_calls_of_a_minute_are_left_to_others() -> None:
    """The rest are made in the next minutes of the clock. One that could not wait takes the place of another; each
    account and API has a share of its own."""
    clock = FakeClock(START + 20)
    pace = Pace(clock, START + 600, 4)
    assert made_at(pace, clock, 5) == [0, 0, 40, 40, 100]
    pace.count(*API)
    assert made_at(pace, clock, 1) == [60]
    for api in (("1000000000000002", API[1]), (API[0], "DescribeSecurityGroups")):
        assert made_at(pace, clock, 2, api) == [0, 0]


def test_no_wait_is_longer_than_five_seconds() -> None:
    """Many of them fill a minute."""
    clock = FakeClock(START + 0.5)
    made_at(Pace(clock, START + 600, 2), clock, 2)
    assert max(clock.waits) <= LONGEST_WAIT
    assert sum(clock.waits) == 59.5


@pytest.mark.parametrize(
    ("errors", "raised", "after"),
    [
        ([Throttled("first")], None, 60 + AFTER_MINUTE),
        ([Throttled("first"), Throttled("second")], "second", 60 + AFTER_MINUTE),
        ([Transient("timeout")], "timeout", 50),
    ],
    ids=["once", "again", "other trouble"],
)
def test_a_throttled_call_is_made_again_once_in_the_next_minute(
    errors: list[Exception], raised: str | None, after: float
) -> None:
    """If others use the API up completely, this costs a minute, and not all of the time. Other trouble is raised at
    once."""
    clock = FakeClock(START + 50)
    pace = Pace(clock, START + 600)
    if raised:
        with pytest.raises(Transient, match=raised):
            pace.call(*API, failing(*errors))
    else:
        assert pace.call(*API, failing(*errors)) == "done"
    assert clock.now() == START + after


def test_after_a_refusal_half_of_what_was_let_through_is_called_in_a_minute() -> None:
    """That is how a limit shows which no setting gives."""
    clock = FakeClock(START)
    pace = Pace(clock, START + 600)
    made_at(pace, clock, 100)
    pace.call(*API, failing(Throttled("no")))  # made in the next minute
    times = made_at(pace, clock, 50)
    assert (times.count(0), times.count(59)) == (49, 1)


def test_each_refusal_halves_the_share_again() -> None:
    """Others may be calling too. A few calls are left."""
    clock = FakeClock(START)
    pace = Pace(clock, START + 6000, 400)
    made_at(pace, clock, 100)
    pace.call(*API, failing(Throttled("no")))
    made_at(pace, clock, 49)
    with pytest.raises(Throttled):
        pace.call(*API, failing(Throttled("no"), Throttled("no")))
    assert made_at(pace, clock, FEWEST + 1) == [60] * FEWEST + [119]


def test_calls_refused_together_count_as_one_refusal() -> None:
    clock = FakeClock(START)
    pace = Pace(clock, START + 600)
    for _ in range(104):
        assert pace.may(*API)
    for _ in range(4):
        pace.throttled(*API)
    assert not pace.may(*API)
    assert pace.next_minute(START + 600)
    assert [pace.may(*API) for _ in range(52)] == [True] * 51 + [False]


def test_no_call_waits_beyond_the_deadline_or_is_made_after_it() -> None:
    """It fails at once instead."""
    clock = FakeClock(START)
    pace = Pace(clock, START + 60, 2)
    made_at(pace, clock, 1)
    for late in (pace, Pace(clock, START)):
        with pytest.raises(OutOfTime, match="DescribeInstances"):
            made_at(late, clock, 1)
    assert clock.waits == []


@pytest.mark.parametrize(("until", "waited"), [(61, False), (62, True), (1000, True)])
def test_the_next_minute_is_waited_for_if_it_begins_in_time(until: float, waited: bool) -> None:
    clock = FakeClock(START)
    assert Pace(clock, START + 100).next_minute(START + until) is waited
    assert clock.now() == START + (61 if waited else 0)
    assert Pace(clock, START).next_minute(START + 1000) is False


# turns: which account's job is next


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
    jobs_run = ""
    for job in turns.each("aabbbb", str):
        clock.sleep(3 if job == "a" else 1)
        jobs_run += job
    assert jobs_run == "abbbab"
    assert "".join(turns.each("ab", str)) == "ba"
