"""Which jobs run side by side, and which one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from link_peer.runtime.lanes import Job, run_jobs

SECONDS = 20
"""Until a test fails that waits for something which never happens."""


class Course:
    """Jobs that note when they begin and end."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def job(
        self, name: str, *touches: str, until: Callable[[], object] = lambda: None, alone: bool = False
    ) -> Job[str]:
        def run() -> str:
            self.noted.append(f"{name} begins")
            until()
            self.noted.append(f"{name} ends")
            return name

        return Job(run, None if alone else frozenset(touches))


def test_jobs_that_share_nothing_run_side_by_side() -> None:
    """None of them ends before all have begun."""
    course, meeting = Course(), threading.Barrier(3)
    jobs = [course.job(name, name, until=lambda: meeting.wait(SECONDS)) for name in "abc"]
    assert run_jobs(jobs, 3) == ["a", "b", "c"]


def test_jobs_that_share_something_run_in_their_order() -> None:
    """Whatever else they touch. The first waits for a job that comes after both."""
    course, gate = Course(), threading.Event()
    jobs = [
        course.job("first", "a", "b", until=lambda: gate.wait(SECONDS)),
        course.job("second", "b", "c"),
        course.job("other", "d", until=gate.set),
        course.job("third", "c"),
    ]
    assert run_jobs(jobs, 4) == ["first", "second", "other", "third"]
    assert [note for note in course.noted if "other" not in note] == [
        f"{name} {what}" for name in ("first", "second", "third") for what in ("begins", "ends")
    ]


def test_a_job_that_may_touch_anything_runs_alone() -> None:
    """After all before it, and before all after it."""
    course, before, after = Course(), threading.Barrier(2), threading.Barrier(2)
    jobs = [
        course.job("a", "a", until=lambda: before.wait(SECONDS)),
        course.job("b", "b", until=lambda: before.wait(SECONDS)),
        course.job("any", alone=True),
        course.job("c", "a", until=lambda: after.wait(SECONDS)),
        course.job("d", "b", until=lambda: after.wait(SECONDS)),
    ]
    run_jobs(jobs, 8)
    assert course.noted[4:6] == ["any begins", "any ends"]
    assert {note[0] for note in course.noted[:4]} == {"a", "b"}


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_more_jobs_than_lanes_are_all_done(lanes: int) -> None:
    """Also where every lane waits for the job of another."""
    course = Course()
    jobs = [course.job(str(number), str(number % 2)) for number in range(20)]
    assert run_jobs(jobs, lanes) == [str(number) for number in range(20)]
    even = [note for note in course.noted if int(note.split()[0]) % 2 == 0]
    assert even == [f"{number} {what}" for number in range(0, 20, 2) for what in ("begins", "ends")]


def test_one_lane_is_the_order_given() -> None:
    """In the thread of the caller, so that a run can be repeated exactly."""
    found: list[int] = []
    threads: set[int] = set()

    def job(number: int) -> Job[None]:
        def run() -> None:
            found.append(number)
            threads.add(threading.get_ident())

        return Job(run, frozenset({number}))

    run_jobs([job(number) for number in range(5)], 1)
    assert (found, threads) == ([0, 1, 2, 3, 4], {threading.get_ident()})


@pytest.mark.parametrize("lanes", [1, 4])
def test_what_a_job_raises_is_its_result(lanes: int) -> None:
    """Those that come after it run."""

    def fail() -> str:
        raise ZeroDivisionError("bug")

    course = Course()
    first, failed, last = run_jobs([course.job("a", "x"), Job(fail, frozenset("x")), course.job("b", "x")], lanes)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, ZeroDivisionError)


@pytest.mark.parametrize("lanes", [1, 4])
def test_no_jobs_have_no_results(lanes: int) -> None:
    assert run_jobs([], lanes) == []
