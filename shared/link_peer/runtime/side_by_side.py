"""Jobs side by side, except those that touch the same thing: they run one after the other, in the order given. And one
way into the cloud for them: what they ask for at the same time is one call.

A call begins after everything that it answers was asked for, so no answer is older than its question.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar, cast

import msgspec

from link_peer.domain.errors import NoAccess, Transient
from link_peer.domain.model import Group, Instance
from link_peer.runtime.ports import AuditLog, Cloud, Ecs, Record

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")

IDS = 12
"""Ids of one call. When a call is refused for one id, it is split until that id is alone; with so few, what is unknown
never costs a read of the whole account (`alicloud.ecs`)."""


class Job(msgspec.Struct, Generic[T], frozen=True):
    """What is done, and what it touches. None: perhaps anything, so that it runs alone."""

    run: Callable[[], T]
    touches: Set[object] | None

    def collides(self, job: Job[T]) -> bool:
        """Whether the two must not run at the same time."""
        return self.touches is None or job.touches is None or bool(self.touches & job.touches)

    def result(self) -> T | Exception:
        """Runs it. Returns what it returned or raised."""
        try:
            return self.run()
        except Exception as error:
            return error


def run_jobs(jobs: Sequence[Job[T]], lanes: int) -> list[T | Exception]:
    """What each job returned or raised, in their order. `lanes` is how many may run at a time; with one, each job
    begins when the one before it has ended."""
    if min(lanes, len(jobs)) < 2:
        return [job.result() for job in jobs]
    started: list[tuple[Job[T], Future[T | Exception]]] = []
    with ThreadPoolExecutor(min(lanes, len(jobs))) as pool:
        for job in jobs:
            # jobs are started in order, so what a lane waits for has a lane already
            earlier = [future for started_job, future in started if job.collides(started_job)]
            started.append((job, pool.submit(_run_after, earlier, job)))
    return [future.result() for _, future in started]


def _run_after(earlier: Sequence[Future[T | Exception]], job: Job[T]) -> T | Exception:
    wait(earlier)
    return job.result()


class Merged(Generic[Item, Answer]):
    """A call that takes many items. While one is under way, what other threads ask for is gathered for the next.
    `limit` is how many items calls are joined to."""

    def __init__(self, call: Callable[[list[Item]], Answer], limit: float = math.inf) -> None:
        self._call = call
        self._limit = limit
        self._queue: list[tuple[Sequence[Item], Future[Answer]]] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held while a call is under way

    def __call__(self, items: Sequence[Item]) -> Answer:
        """The answer for these items, and perhaps others. Raises what the call raises."""
        future: Future[Answer] = Future()
        with self._lock:
            self._queue.append((items, future))
        with self._turn:
            while not future.done():
                self._answer(self._next())
        return future.result()

    def _next(self) -> list[tuple[Sequence[Item], Future[Answer]]]:
        with self._lock:
            sizes = itertools.accumulate(len(items) for items, _ in self._queue)
            count = max(1, sum(size <= self._limit for size in sizes))
            batch, self._queue = self._queue[:count], self._queue[count:]
            return batch

    def _answer(self, questions: Sequence[tuple[Sequence[Item], Future[Answer]]]) -> None:
        try:
            answer = self._call([item for items, _ in questions for item in items])
        except BaseException as error:
            general = isinstance(error, (Transient, NoAccess)) or not isinstance(error, Exception)  # a signal stops all
            if len(questions) > 1 and not general:
                for question in questions:  # the error may be about what one of them asks for
                    self._answer([question])
                return
            for _, future in questions:
                future.set_exception(error)
        else:
            for _, future in questions:
                future.set_result(answer)


class MergedLog:
    """An audit log whose records are written together."""

    def __init__(self, log: AuditLog) -> None:
        self._write = Merged[Record, None](log.write)

    def write(self, records: Sequence[Record]) -> None:
        """As `AuditLog.write`."""
        self._write(records)


class MergedCloud:
    """A cloud each of whose accounts is entered once, and whose groups and instances are read together."""

    def __init__(self, cloud: Cloud) -> None:
        self.calls = cloud.calls
        self._cloud = cloud
        self._entered: dict[str, Future[Ecs]] = {}
        self._lock = threading.Lock()

    def ecs(self, account: str) -> Ecs:
        """As `Cloud.ecs`. A thread that comes while another one enters the account waits for that one's result."""
        with self._lock:
            entered = self._entered.get(account)
            future = entered or self._entered.setdefault(account, Future())
        if entered is None:
            try:
                future.set_result(cast(Ecs, _MergedEcs(self._cloud.ecs(account))))
            except BaseException as error:
                del self._entered[account]  # the next message tries again
                future.set_exception(error)
        return future.result()


class _MergedEcs:
    """An account whose groups and instances are read together. Everything else is a call of its own."""

    def __init__(self, ecs: Ecs) -> None:
        self._ecs = ecs
        self._groups = Merged(ecs.groups, IDS)
        self._instances = Merged(ecs.instances, IDS)

    def groups(self, ids: Sequence[str]) -> list[Group]:
        return [group for group in self._groups(ids) if group.party.id in ids] if ids else []

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        return [instance for instance in self._instances(ids) if instance.party.id in ids] if ids else []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ecs, name)
