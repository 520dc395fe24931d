"""Many instances that are launched together, and the eight instances of the function that handle their events."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import Bench, Row

LAUNCHES, WORKERS = 1_000, 8
CHANGES = ("Authorize", "Revoke", "Modify", "Tag", "Untag")


def measure(bench: Bench) -> list[Row]:
    """Once each: a run takes minutes, and its numbers are sums over a thousand events."""
    hundred, calls = launch(bench, LAUNCHES, 100)
    one, calls_of_one = launch(bench, LAUNCHES, 1)
    rows = _words(hundred, calls), _words(one, calls_of_one)
    return [
        Row(
            f"{LAUNCHES:,} launches of 100 links, {WORKERS} workers",
            "",
            rows[0],
            target="≤ 120 changes, ≤ 8,000 calls",
            met=sum(hundred.values()) <= 120 and calls <= 8000,
            floor="100 rules",
        ),
        Row(
            f"{LAUNCHES:,} launches of one link, {WORKERS} workers",
            "",
            rows[1],
            target="≤ 8 changes",
            met=sum(one.values()) <= 8,
            floor="1 rule",
        ),
    ]


def launch(bench: Bench, launches: int, links: int, workers: int = WORKERS) -> tuple[dict[str, int], int]:
    """Handle an event of each of so many new instances; returns the changes by action, and the number of all calls."""
    with CloudProcess() as cloud:
        askers = cloud(worlds.askers, links, launches)
        todo: SimpleQueue[str] = SimpleQueue()
        for asker in askers:
            todo.put(events.launched(asker.instance))

        def work() -> None:
            with Worker(bench.ours, {**cloud.env, **bench.env}) as worker:
                while not todo.empty():
                    answer = worker.call("auto_link", todo.get())
                    assert answer.error is None, answer.error

        changes: dict[str, int] = {}
        count = 0
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work) for _ in range(workers)]
            while True:  # the cloud remembers only so many calls
                finished = all(one.done() for one in running)
                seen = cloud(worlds.calls)
                count += len(seen)
                for call in seen:
                    if call.action.startswith(CHANGES):
                        changes[call.action] = changes.get(call.action, 0) + 1
                if finished:
                    break
        for one in running:
            one.result()
        assert cloud(worlds.standing, sorted({asker.group for asker in askers})) == links
    return changes, count


def _words(changes: dict[str, int], calls: int) -> str:
    parts = ", ".join(f"{count} {action}" for action, count in sorted(changes.items()))
    return f"{sum(changes.values())} changes ({parts}), {calls:,} calls"
