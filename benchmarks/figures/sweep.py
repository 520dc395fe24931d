"""Large accounts: a sweep, an event beside it, and more managed groups than a tag filter shows, which is 1,000."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Answer, Worker
from benchmarks.runner import LATENCY, SHARE, Bench, Row, at_most
from benchmarks.worlds import Asker

INSTANCES, GROUPS, ASKING = 100_000, 1_000, 1_000
TIMEOUT = 300  # of the sweep in s.yaml
PER_MINUTE = 200
EVENTS, APART = 6, 10.0  # events beside the sweep, and seconds between them
LIMIT = 120.0  # seconds after which an event counts as never done
SIZES = (2_000, 10_000)
FORGED, FLOODED = 20_000, 100  # rules of one account, in so many groups


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


def flood(bench: Bench) -> list[Row]:
    """One sweep over rules that the other account has forged: are home's consent and wish acted on, and at which cost?"""
    with CloudProcess() as cloud:
        cloud(worlds.ring, 2, 2, 2)
        cloud(worlds.flood, FLOODED, FORGED // FLOODED)
        withdrawn, (asker,) = cloud(worlds.withdraw), cloud(worlds.askers, 1, 1)
        cloud(worlds.slow, LATENCY)
        cloud(worlds.calls)
        with Worker(bench.ours, {**cloud.env, **bench.env}, SHARE) as worker:
            answer = worker.call("sweep", events.TIMER, TIMEOUT)
        assert answer.error is None, answer.error
        calls = [float(len(cloud(worlds.calls)))]
        done = (cloud(worlds.standing, withdrawn), cloud(worlds.standing, [asker.group])) == (0, 1)
    return [
        Row(f"sweep beside {FORGED:,} forged rules", "calls", calls, before="20,338", **at_most(calls, 600)),  # type: ignore[arg-type]
        Row("…", "s", [answer.wall], **at_most([answer.wall], TIMEOUT * 0.85)),  # type: ignore[arg-type]
        Row("… the other account", "", "closed and opened" if done else "late", "closed and opened", done),
    ]


def many_groups(bench: Bench) -> list[Row]:
    """Does an event still make its link, and a sweep one that no event has made?"""
    found = [(size, works(bench, size)) for size in SIZES]
    return [
        Row(
            f"{size:,} managed groups",
            "",
            said,
            "works",
            said.count("works") == 2,
            before="event raises, sweep does nothing",
        )
        for size, said in found
    ]


def works(bench: Bench, groups: int) -> str:
    """In words: `works`, or what fails."""
    with CloudProcess() as cloud:
        cloud(worlds.ring, groups, groups, groups)
        missed, asker = cloud(worlds.askers, 2, 2)
        cloud(worlds.calls)
        with Worker(bench.ours, {**cloud.env, **bench.env}) as worker:
            answer = worker.call("auto_link", events.launched(asker.instance))
        event = _outcome(cloud, answer, asker.group)
        by_event = len(cloud(worlds.calls))
        with Worker(bench.ours, {**cloud.env, **bench.env}) as worker:
            answer = worker.call("sweep", events.TIMER, TIMEOUT)
        sweep = _outcome(cloud, answer, missed.group)
        return (
            f"event {event} ({by_event} calls), sweep {sweep} ({len(cloud(worlds.calls)):,} calls, {answer.wall:.0f} s)"
        )


def _outcome(cloud: CloudProcess, answer: Answer, group: str) -> str:
    if answer.error is not None:
        return f"raises {answer.error.partition(':')[0]}"
    return "works" if cloud(worlds.standing, [group]) else "does nothing"
