"""Which jobs run side by side and which one after the other, and calls of several threads that are made as one. Threads
wait for conditions, never for time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Party
from link_peer.runtime.side_by_side import IDS, Job, Merged, MergedCloud, run_jobs

from tests.unit.fakes import FakeCloud, FakeEcs
from tests.unit.small_world import APP, CACHE, DB, HOME, A, B
from tests.unit.snapshots import group, instance


class HeldCalls:
    """A call whose first use waits until `waiting` others have been asked for."""

    def __init__(self, waiting: int, fails: Callable[[list[str]], Exception | None] = lambda _items: None) -> None:
        self.batches: list[list[str]] = []
        self.first_call = threading.Event()
        self.waiting = waiting
        self.fails = fails
        self.merged: Any = None

    def __call__(self, items: list[str]) -> str:
        self.batches.append(items)
        if len(self.batches) == 1:
            self.first_call.set()
            while len(self.merged._queue) < self.waiting:
                time.sleep(0)
        if error := self.fails(items):
            raise error
        return f"answer {len(self.batches)}"


def ask(
    held_calls: HeldCalls, first: Sequence[str], *later_items: Sequence[str], limit: float = 99
) -> list[Future[str]]:
    """Asks for `first`, and for the others from threads of their own while that call is under way, in this order."""
    held_calls.merged = Merged[str, str](held_calls, limit)
    with ThreadPoolExecutor(1 + len(later_items)) as pool:
        futures = [pool.submit(held_calls.merged, first)]
        held_calls.first_call.wait()
        for number, items in enumerate(later_items, 1):
            futures.append(pool.submit(held_calls.merged, items))
            while len(held_calls.merged._queue) < number and not futures[0].done():
                time.sleep(0)
    return futures


def test_what_is_asked_while_a_call_is_under_way_is_the_next_call() -> None:
    """It begins after they have asked, so its answer is no older than their questions."""
    held_calls = HeldCalls(3)
    answers = ask(held_calls, ["a"], ["b"], ["c", "d"], ["e"])
    assert held_calls.batches == [["a"], ["b", "c", "d", "e"]]
    assert [answer.result() for answer in answers] == ["answer 1", *["answer 2"] * 3]


def test_a_call_is_not_joined_beyond_its_limit() -> None:
    """What a single thread asks for is not divided."""
    held_calls = HeldCalls(4)
    ask(held_calls, ["a"], ["b"], ["c"], ["d"], ["e", "f", "g"], limit=2)
    assert held_calls.batches == [["a"], ["b", "c"], ["d"], ["e", "f", "g"]]


@pytest.mark.parametrize("error", [Transient("timeout"), NoAccess("NoPermission", "no"), KeyboardInterrupt()])
def test_trouble_of_a_joined_call_is_that_of_all(error: BaseException) -> None:
    """Each alone would meet it too: it is of the moment, or of the account, or stops the command."""
    held_calls = HeldCalls(2, lambda items: error if "b" in items else None)
    first, *joined_answers = ask(held_calls, ["a"], ["b"], ["c"])
    assert first.result() == "answer 1"
    assert [answer.exception() for answer in joined_answers] == [error, error]
    assert len(held_calls.batches) == 2


@pytest.mark.parametrize("error", [CloudError("Odd", "about b"), ZeroDivisionError("b")])
def test_an_error_about_one_item_is_no_one_elses(error: Exception) -> None:
    """Each is asked for again by itself."""
    held_calls = HeldCalls(3, lambda items: error if "b" in items else None)
    first, joined_answer, bad, last = ask(held_calls, ["a"], ["c"], ["b"], ["d"])
    assert held_calls.batches == [["a"], ["c", "b", "d"], ["c"], ["b"], ["d"]]
    assert bad.exception() is error
    assert [answer.exception() for answer in (first, joined_answer, last)] == [None] * 3


def test_a_reader_gets_what_it_asked_for_alone() -> None:
    """Another one's groups would look as if this one had read them."""
    ecs = FakeEcs([group(APP), group(DB), group(CACHE)], [instance(A, APP), instance(B, DB)])
    held_calls = HeldCalls(2)

    def groups(ids: Sequence[str]) -> Any:
        held_calls([*ids])
        return FakeEcs.groups(ecs, ids)

    ecs.groups = groups  # type: ignore[method-assign]
    merged_ecs = MergedCloud(FakeCloud(ecs)).ecs(HOME)
    held_calls.merged = merged_ecs._groups  # type: ignore[attr-defined]
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(merged_ecs.groups, [APP.id])]
        held_calls.first_call.wait()
        futures += [pool.submit(merged_ecs.groups, [name]) for name in (DB.id, "sg-none")]
    assert [[group_read.party for group_read in future.result()] for future in futures] == [[APP], [DB], []]
    assert len(held_calls.batches) == 2
    assert [instance.party for instance in merged_ecs.instances([B.id])] == [B]
    assert (merged_ecs.groups([]), merged_ecs.instances([])) == ([], [])  # no call, which would read everything


def test_an_account_is_entered_once_and_tried_again_where_it_could_not_be() -> None:
    cloud = FakeCloud()
    merged = MergedCloud(cloud)
    with pytest.raises(NoAccess):
        merged.ecs(HOME)
    cloud.accounts[HOME] = FakeEcs()
    assert merged.ecs(HOME) is merged.ecs(HOME)


def test_unknown_ids_of_a_joined_call_never_need_a_read_of_the_whole_account() -> None:
    """It is split until each is alone, which takes fewer splits than are allowed."""
    from link_peer.alicloud.ecs import MAX_SPLITS, read_by_id

    def read(ids: Sequence[str]) -> list[Any]:
        raise CloudError("InvalidSecurityGroupId.NotFound", "one of them")

    def read_all() -> list[Any]:
        raise AssertionError("everything was read")

    assert IDS <= MAX_SPLITS + 1
    assert read_by_id([str(Party(HOME, f"sg-{n}")) for n in range(IDS)], read, read_all) == []


# jobs

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
        f"{name} {step}" for name in ("first", "second", "third") for step in ("begins", "ends")
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
    assert even == [f"{number} {step}" for number in range(0, 20, 2) for step in ("begins", "ends")]


def test_one_lane_is_the_order_given() -> None:
    """In the thread of the caller, so that a run can be repeated exactly."""
    numbers: list[int] = []
    threads: set[int] = set()

    def job(number: int) -> Job[None]:
        def run() -> None:
            numbers.append(number)
            threads.add(threading.get_ident())

        return Job(run, frozenset({number}))

    run_jobs([job(number) for number in range(5)], 1)
    assert (numbers, threads) == ([0, 1, 2, 3, 4], {threading.get_ident()})


@pytest.mark.parametrize("lanes", [1, 4])
def test_what_a_job_raises_is_its_result(lanes: int) -> None:
    """Those that come after it run."""

    def fail() -> str:
        raise ZeroDivisionError("bug")

    course = Course()
    first, failed, last = run_jobs([course.job("a", "x"), Job(fail, frozenset("x")), course.job("b", "x")], lanes)
    assert (first, last) == ("a", "b")
    assert isinstance(failed, ZeroDivisionError)
