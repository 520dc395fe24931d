"""Accounts with more managed groups than a tag filter shows: 1,000."""

from __future__ import annotations

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Answer, Worker
from benchmarks.runner import Bench, Row

SIZES = (2_000, 10_000)
TIMEOUT = 300  # of the sweep in s.yaml
BEFORE = "event raises, sweep does nothing"


def measure(bench: Bench) -> list[Row]:
    """Does an event still make its link, and a sweep one that no event has made?"""
    found = [(size, works(bench, size)) for size in SIZES]
    return [
        Row(f"{size:,} managed groups", "", said, "works", said.count("works") == 2, before=BEFORE)
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
