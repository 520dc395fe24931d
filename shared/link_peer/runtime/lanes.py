"""Runs jobs side by side, except those that touch the same thing: they run one after the other, in the order given."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Job(msgspec.Struct, Generic[T], frozen=True):
    """What is done, and what it touches. None: perhaps anything, so that it runs alone."""

    run: Callable[[], T]
    touches: Set[object] | None

    def collides(self, other: Job[T]) -> bool:
        """Whether the two must not run at the same time."""
        return self.touches is None or other.touches is None or bool(self.touches & other.touches)

    def result(self) -> T | Exception:
        """Runs it. Returns what it returned or raised."""
        try:
            return self.run()
        except Exception as error:
            return error


def run_jobs(jobs: Sequence[Job[T]], lanes: int) -> list[T | Exception]:
    """What each job returned or raised, in their order. `lanes` is how many may run at a time; with one, each job begins when
    the one before it has ended."""
    if min(lanes, len(jobs)) < 2:
        return [job.result() for job in jobs]
    started: list[tuple[Job[T], Future[T | Exception]]] = []
    with ThreadPoolExecutor(min(lanes, len(jobs))) as pool:
        for job in jobs:
            # jobs are started in order, so what a lane waits for has a lane already
            earlier = [future for other, future in started if job.collides(other)]
            started.append((job, pool.submit(_run_after, earlier, job)))
    return [future.result() for _, future in started]


def _run_after(earlier: Sequence[Future[T | Exception]], job: Job[T]) -> T | Exception:
    wait(earlier)
    return job.result()
