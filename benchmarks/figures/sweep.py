"""A sweep of a large account, and an event beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import LATENCY, SHARE, Bench, Row, at_most
from benchmarks.worlds import Asker

INSTANCES, GROUPS, ASKING = 100_000, 1_000, 1_000
TIMEOUT = 300  # of the sweep in s.yaml
PER_MINUTE = 200
EVENTS, APART = 6, 10.0  # events beside the sweep, and seconds between them
LIMIT = 120.0  # seconds after which an event counts as never done


def measure(bench: Bench) -> list[Row]:
    """Once: it takes about a minute. One percent of the instances ask for links, all of which stand already."""
    with CloudProcess() as cloud:
        cloud(worlds.ring, GROUPS, INSTANCES, ASKING)
        cloud(worlds.slow, LATENCY)
        cloud(worlds.calls)
        with Worker(bench.ours, {**cloud.env, **bench.env}, SHARE) as worker:
            answer = worker.call("sweep", events.TIMER, TIMEOUT)
        assert answer.error is None, answer.error
        calls = [float(len(cloud(worlds.calls)))]
    name = f"sweep {INSTANCES:,} / {GROUPS:,} groups at {SHARE} vCPU, {LATENCY * 1000:.0f} ms"
    seconds, peak = [answer.wall], [answer.peak]
    return [
        Row(name, "calls", calls, before="2,014", **at_most(calls, 2300)),  # type: ignore[arg-type]
        Row("…", "s", seconds, before="71", **at_most(seconds, 60)),  # type: ignore[arg-type]
        Row("… peak memory", "MB", peak, before="273", **at_most(peak, 150)),  # type: ignore[arg-type]
        Row("… CPU", "s", [answer.cpu]),
    ]


def beside(bench: Bench) -> list[Row]:
    """How long events take, from delivery until the rule stands, while a sweep of the same account runs."""
    with CloudProcess() as cloud:
        cloud(worlds.ring, GROUPS, INSTANCES, ASKING)
        askers = cloud(worlds.askers, EVENTS, EVENTS, asking=False)
        cloud(worlds.slow, LATENCY, PER_MINUTE)
        limit = {"LINK_PEER_CALLS_PER_MINUTE": str(PER_MINUTE)}  # as deployed where the account's limit is known
        with Worker(bench.ours, {**cloud.env, **bench.env, **limit}, SHARE) as sweeper:
            threading.Thread(target=_ignore_the_end, args=(sweeper,), daemon=True).start()
            seconds = _events(bench, cloud, askers)
    name = f"event beside a sweep, {PER_MINUTE} calls a minute per API"
    return [Row(name, "s", seconds, before="35.6", **at_most(seconds, 5))]  # type: ignore[arg-type]


def _ignore_the_end(sweeper: Worker) -> None:
    try:
        sweeper.call("sweep", events.TIMER, TIMEOUT)
    except RuntimeError:
        return  # the measurement ended first


def _events(bench: Bench, cloud: CloudProcess, askers: Sequence[Asker]) -> list[float]:
    """One event after the other, each a few seconds after the one before; meanwhile the queue's messages are handled."""
    ended = threading.Event()
    env = {**cloud.env, **bench.env}
    stream = threading.Thread(target=_stream, args=(bench, cloud, ended), daemon=True)
    stream.start()
    took: dict[int, float] = {}

    def one(number: int, asker: Asker) -> None:
        with Worker(bench.ours, env, SHARE) as worker:
            time.sleep(APART * (number + 1))
            cloud(worlds.tag, asker.instance, asker.wish)
            start = time.perf_counter()
            worker.call("auto_link", events.launched(asker.instance))
            while not cloud(worlds.standing, [asker.group]) and time.perf_counter() - start < LIMIT:
                time.sleep(0.05)
            took[number] = time.perf_counter() - start

    threads = [threading.Thread(target=one, args=(number, asker)) for number, asker in enumerate(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    stream.join()
    return [took[number] for number in sorted(took)]


def _stream(bench: Bench, cloud: CloudProcess, ended: threading.Event) -> None:
    """Give cross_account what the functions put on the queue, as soon as it is due."""
    with Worker(bench.ours, {**cloud.env, **bench.env}, SHARE) as worker:
        while not ended.wait(0.2):
            bodies = cloud(worlds.received)
            if bodies:
                worker.call("cross_account", events.messages(bodies, cloud.env["LINK_PEER_QUEUE"]))
