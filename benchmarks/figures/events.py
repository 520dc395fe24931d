"""API calls of one event, in accounts with few and with many managed groups."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks import events, worlds
from benchmarks.cloud import CloudProcess
from benchmarks.process import Code, Worker
from benchmarks.runner import Bench, Row, at_most, cell_text
from benchmarks.worlds import RecordedCall

ACCOUNTS = (0, 20, 90)
LARGE = 200
WAIT = 0.2
"""Seconds that each call takes where calls in a row are counted: so much that a busy machine starts side by side what
may be."""
OPENS, CLOSES = "AuthorizeSecurityGroup", "RevokeSecurityGroup"


def measure(bench: Bench) -> list[Row]:
    """Counts are exact, so each is taken once; the chain of calls depends on threads, so it is measured in each
    round."""
    plain = bench.plain(bytecode=True)
    return [*untagged(bench, plain, ACCOUNTS), *link(bench, plain)]


def untagged(bench: Bench, plain: Code | None, accounts: Sequence[int]) -> list[Row]:
    """An event of an instance that asks for nothing. Every account with managed groups has an instance in each."""
    ours, plain_counts_each = [], []
    for groups in accounts:
        with CloudProcess() as cloud, Worker(bench.ours, {**cloud.env, **bench.env}) as worker:
            if groups:
                cloud(worlds.ring, groups, groups, groups)
            (asker,) = cloud(worlds.askers, 1, 1, asking=False)
            ours.append(float(len(handled(cloud, worker, "auto_link", events.launched(asker.instance)))))
            if plain is not None:
                with Worker(plain, cloud.peer_env) as plain_worker:
                    plain_counts_each.append(
                        float(len(handled(cloud, plain_worker, "plain_handler", events.launched(asker.instance))))
                    )
    name = f"calls, untagged instance, {' / '.join(map(str, accounts))} managed groups"
    target = at_most([max(ours)], 3)
    plain_counts = _each(plain_counts_each) if plain_counts_each else "–"
    return [Row(name, "", _each(ours), plain_bytecode=plain_counts, before="3 / 23 / 93", **target)]  # type: ignore[arg-type]


def link(bench: Bench, plain: Code) -> list[Row]:
    """The event that makes a link, the same again, and the removal of the tag, in an account with 200 managed groups;
    requests that make a link of two accounts, as the first of a process, and end it."""
    calls_until_written: dict[str, list[float]] = {}  # the calls in a row until the rule stands, or is gone
    ended: dict[str, list[float]] = {}
    with CloudProcess() as cloud, Worker(bench.ours, {**cloud.env, **bench.env}) as worker:

        def note(case: str, action: str, calls: Sequence[RecordedCall]) -> None:
            end = min(call.ended for call in calls if call.action == action)
            calls_until_written.setdefault(case, []).append(
                float(in_a_row([call for call in calls if call.ended <= end]))
            )
            ended.setdefault(case, []).append(float(in_a_row(calls)))

        cloud(worlds.ring, LARGE, LARGE, LARGE)
        handled(cloud, worker, "auto_link", events.launched(cloud(worlds.askers, 1, 1)[0].instance))  # warm
        (asker,) = cloud(worlds.askers, 1, 1)
        first = len(handled(cloud, worker, "auto_link", events.launched(asker.instance)))
        assert cloud(worlds.standing, [asker.group]) == 1
        second_calls = handled(cloud, worker, "auto_link", events.launched(asker.instance))
        again = sum(call.service != "sls" for call in second_calls)
        cloud(worlds.tag, asker.instance, None)
        removed = len(handled(cloud, worker, "auto_link", events.untagged(asker.instance)))
        assert cloud(worlds.standing, [asker.group]) == 0
        (next_asker,) = cloud(worlds.askers, 1, 1)
        with Worker(plain, cloud.peer_env) as plain_worker:
            by_plain = handled(cloud, plain_worker, "plain_handler", events.launched(next_asker.instance))
        cloud(worlds.slow, WAIT)
        for _ in range(bench.rounds):
            (asker,) = cloud(worlds.askers, 1, 1)
            note("first link", OPENS, handled(cloud, worker, "auto_link", events.launched(asker.instance)))
            cloud(worlds.tag, asker.instance, None)
            note("tag removed", CLOSES, handled(cloud, worker, "auto_link", events.untagged(asker.instance)))
            request = json.loads(cloud(worlds.requests, 1)[0])
            unlink = {**request, "request_id": "chg-end", "action": "unlink"}
            del unlink["until"]
            with Worker(
                bench.ours, {**cloud.env, **bench.env}
            ) as fresh:  # which enters the other account for the first time
                for action_name, action, body in (("link", OPENS, request), ("unlink", CLOSES, unlink)):
                    event = events.messages([json.dumps(body)], cloud.env["LINK_PEER_QUEUE"])
                    note(f"{action_name} of two accounts", action, handled(cloud, fresh, "cross_account", event))
    return [
        Row(
            f"calls, first link / same again (without its record) / tag removed ({LARGE} groups)",
            "",
            _each([float(first), float(again), float(removed)]),
            target="≤ 11 / ≤ 4 / ≤ 11",
            met=first <= 11 and again <= 4 and removed <= 11,
            plain_bytecode=f"{len(by_plain)} / – / –",
            floor="5 / 3 / 10",
            before="11 / 6 / 215",
        ),
        *(
            Row(
                f"dependent calls in a row, {case}: until the rule is written or removed / all",
                "",
                f"{cell_text(calls_until_written[case])} / {cell_text(ended[case])}",
                target=f"≤ {limit} / –",
                met=max(calls_until_written[case]) <= limit,
                plain_bytecode=f"{in_a_row(by_plain)} / –" if case == "first link" else "–",
                before="– / 11" if case == "first link" else "–",
            )
            for case, limit in zip(calls_until_written, (4, 6, 5, 4), strict=True)
        ),
    ]


def handled(cloud: CloudProcess, worker: Worker, module: str, event: str) -> list[RecordedCall]:
    """The calls that a handler makes for an event."""
    cloud(worlds.calls)
    answer = worker.call(module, event)
    assert answer.error is None, answer.error
    return cloud(worlds.calls)


def in_a_row(calls: Sequence[RecordedCall]) -> int:
    """The most calls of which each began after the one before had ended: an upper bound of what depends on each
    other."""
    count, free = 0, 0.0
    for call in sorted(calls, key=lambda call: call.ended):
        if call.started >= free:
            count, free = count + 1, call.ended
    return count


def _each(counts: Sequence[float]) -> str:
    return " / ".join(f"{count:.0f}" for count in counts)
