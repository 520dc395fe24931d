"""Much at once: instances that are launched together, with the eight instances of the function that handle their
events; and requests of the queue, in batches of 16, where every call takes 20 ms."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from queue import SimpleQueue

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import LATENCY, Bench, Row, at_least

LAUNCHES, WORKERS, BATCH = 1_000, 8, 16
CHANGES = ("AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule", "TagResources", "UntagResources")


def measure(bench: Bench) -> list[Row]:
    """Once each: the numbers are sums over a thousand events. Each link is to an accepting group of its own."""
    hundred, single = launch(bench, LAUNCHES, 100), launch(bench, LAUNCHES, 1)
    return [
        Row(
            f"{LAUNCHES:,} launches of 100 links, {WORKERS} workers",
            "",
            _words(hundred),
            target="≤ 120 changes, ≤ 8,000 calls",
            met=_changes(hundred) <= 120 and hundred.total() <= 8000,
            floor="100 rules",
            before="200 changes, 100,154 calls",
        ),
        Row(
            f"{LAUNCHES:,} launches of one link, {WORKERS} workers",
            "",
            _words(single),
            target="≤ 4 changes",
            met=_changes(single) <= 4,
            floor="1 rule",
            before="16 changes, 6,040 calls",
        ),
    ]


def launch(bench: Bench, launches: int, links: int, workers: int = WORKERS) -> Counter[str]:
    """Handle an event of each of so many new instances; returns the calls by action."""
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

        calls: Counter[str] = Counter()
        with ThreadPoolExecutor(workers) as pool:
            running = [pool.submit(work) for _ in range(workers)]
            while True:  # the cloud remembers only so many calls
                finished = not wait(running, 1).not_done
                calls.update(call.action for call in cloud(worlds.calls))
                if finished:
                    break
        for future in running:
            future.result()
        assert cloud(worlds.standing, sorted({asker.group for asker in askers})) == links
    return calls


def _changes(calls: Counter[str]) -> int:
    return sum(calls[action] for action in CHANGES)


def _words(calls: Counter[str]) -> str:
    rules = sum(calls[action] for action in CHANGES[:3])
    return f"{_changes(calls)} changes ({rules} of rules, {_changes(calls) - rules} of tags), {calls.total():,} calls"


def batches(bench: Bench) -> list[Row]:
    """A warm process gets batch after batch of requests for new links between two accounts."""
    rates = []
    with CloudProcess() as cloud, Worker(bench.ours, {**cloud.env, **bench.env}) as worker:
        for number in range(-1, bench.rounds):
            bodies = cloud(worlds.requests, BATCH)
            cloud(worlds.slow, LATENCY)
            answer = worker.call("cross_account", events.messages(bodies, cloud.env["LINK_PEER_QUEUE"]))
            assert answer.error is None, answer.error
            assert json.loads(answer.result)["outcomes"] == {"applied": BATCH}, answer.result
            if number >= 0:
                rates.append(BATCH / answer.seconds)
    name = f"queue, {LATENCY * 1000:.0f} ms a call, batch of {BATCH}"
    return [Row(name, "requests/s", rates, before="3.9", **at_least(rates, 20))]  # type: ignore[arg-type]
