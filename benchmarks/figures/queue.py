"""Requests of the queue, in batches of 16, where every call takes 20 ms."""

from __future__ import annotations

import json

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Worker
from benchmarks.runner import LATENCY, Bench, Row, at_least

BATCH = 16


def measure(bench: Bench) -> list[Row]:
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
