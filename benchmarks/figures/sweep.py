"""An event beside the sweep of a large account, under the platform's limits."""

from __future__ import annotations

import threading
import time

from benchmarks import events, organisation, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import LATENCY, SHARE, Bench, Row, at_most
from benchmarks.worlds import Asker

INSTANCES, GROUPS, ASKING = 100_000, 1_000, 1_000
TIMEOUT = 300  # of the sweep in s.yaml
PER_MINUTE = 200
EVENTS, APART = 6, 10.0  # events beside the sweep, and seconds between them
LIMIT = 120.0  # seconds after which an event counts as never done


def beside(bench: Bench) -> list[Row]:
    """How long events take, from delivery until the rule stands, while a sweep of the same account runs; meanwhile what
    they put on the queue is handled as soon as it is due."""
    with CloudProcess() as cloud:
        cloud(worlds.ring, GROUPS, INSTANCES, ASKING)
        askers = cloud(worlds.askers, EVENTS, EVENTS, asking=False)
        cloud(organisation.post_sweeps, 1)
        message = events.messages(cloud(worlds.received, worlds.SWEEPS, 1), worlds.SWEEPS)
        cloud(worlds.slow, LATENCY, PER_MINUTE)
        env = {**cloud.env, **bench.env}
        limit = {"LINK_PEER_CALLS_PER_MINUTE": str(PER_MINUTE)}  # as deployed where the account's limit is known
        with Worker(bench.ours, {**env, **limit}, SHARE) as sweeper, Worker(bench.ours, env, SHARE) as stream:
            threading.Thread(target=_ignore_the_end, args=(sweeper, message), daemon=True).start()
            seconds = [_event(Worker(bench.ours, env, SHARE), stream, cloud, asker) for asker in askers]
    name = f"event beside a sweep, {PER_MINUTE} calls a minute per API"
    return [Row(name, "s", seconds, before="35.6", **at_most(seconds, 5))]  # type: ignore[arg-type]


def _ignore_the_end(sweeper: Worker, message: str) -> None:
    try:
        sweeper.call("sweep", message, TIMEOUT)
    except RuntimeError:
        return  # the measurement ended first


def _event(instance: Worker, stream: Worker, cloud: CloudProcess, asker: Asker) -> float:
    with instance:
        time.sleep(APART)
        cloud(worlds.tag, asker.instance, asker.wish)
        start = time.perf_counter()
        instance.call("auto_link", events.launched(asker.instance))
        while not cloud(worlds.standing, [asker.group]) and time.perf_counter() - start < LIMIT:
            bodies = cloud(worlds.received)
            if bodies:
                stream.call("cross_account", events.messages(bodies, cloud.env["LINK_PEER_QUEUE"]))
            time.sleep(0.05)
        return time.perf_counter() - start
