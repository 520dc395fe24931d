"""How costs grow: each is measured at several sizes, and the exponent is fitted, 1 being linear and 0 constant.

`python -m benchmarks growth` prints the table, and fails a row that grows faster than is promised. A row is added to
ROWS. Calls are exact. CPU is that of the functions and the local cloud together, in this process; of reading records,
without the cloud's searches, each of which sorts the whole log.
"""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from aliyun_local.api import LocalCloud, LogGroup, LogRecord
from link_peer.domain.tags import iso_millis
from link_peer.runtime.settings import load
from link_peer_cli.audit.log import AuditReader
from link_peer_cli.demo.deployment import deployment_of
from msgspec import Struct

from benchmarks import events, organisation, virtual, worlds
from benchmarks.runner import Bench, Row

SIZES = (10, 100, 1_000, 10_000)
LINEAR, CONSTANT = 1.1, 0.1
"""The largest exponents of what is promised to grow no faster than its size, and not at all."""


class Growth(Struct, frozen=True):
    """What grows, and what of it is counted: `measure` returns the costs at one size, by name; `most` has the largest
    exponent of each."""

    subject: str
    measure: Callable[[int], dict[str, float]]
    most: dict[str, float]
    sizes: Sequence[int] = SIZES


def exponent(sizes: Sequence[int], costs: Sequence[float]) -> float:
    """The slope of the costs over the sizes, both as logarithms, by least squares over the three largest: what a cost
    has beside that which grows would hide the growth at small ones."""
    points = [(math.log(size), math.log(max(cost, 1e-9))) for size, cost in zip(sizes, costs, strict=True)][-3:]
    middle_x, middle_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return float(sum((x - middle_x) * (y - middle_y) for x, y in points) / sum((x - middle_x) ** 2 for x, _ in points))


def rows(growth: Growth) -> list[Row]:
    """Measures one thing that grows, at each of its sizes."""
    by_size = [growth.measure(size) for size in growth.sizes]
    table = []
    for name, most in growth.most.items():
        costs = [costs_of_size[name] for costs_of_size in by_size]
        fitted = exponent(growth.sizes, costs)
        texts = " / ".join(f"{cost:,.0f}" if cost == int(cost) else f"{cost:.3g}" for cost in costs)
        sizes = " / ".join(f"{size:,}" for size in growth.sizes)
        figure = f"{name}, {sizes} {growth.subject}: cost, exponent"
        table.append(Row(figure, "", f"{texts}, {fitted:.2f}", f"≤ {most:g}", fitted <= most))
    return table


def measure(_bench: Bench) -> list[Row]:
    """All of them."""
    return [row for growth in ROWS for row in rows(growth)]


def _members(size: int) -> dict[str, float]:
    """A group of so many instances, of which the first asks, then another, then neither; and one of the group is
    released."""
    with virtual.deployed() as deployment:
        cloud = deployment.cloud
        first, *_, second = worlds.askers(cloud, 1, size, asking=False)

        def calls_of(instance: str, wish: str | None) -> float:
            worlds.calls(cloud)
            worlds.tag(cloud, instance, wish)
            deployment.work(cloud.clock.now() + 1)
            return float(len(worlds.calls(cloud)))

        link = calls_of(first.instance, first.wish)
        calls_of(second.instance, second.wish)
        untag = calls_of(first.instance, None)
        last_untag = calls_of(second.instance, None)
        calls_of(second.instance, second.wish)
        worlds.call(cloud, "DeleteInstance", InstanceId=second.instance, Force="true")
        worlds.calls(cloud)
        deployment.work(cloud.clock.now() + 1)
        release = float(len(worlds.calls(cloud)))
    return {"a first link": link, "an untag": untag, "the last untag": last_untag, "a release": release}


def _groups(size: int) -> dict[str, float]:
    """An account of so many groups, each with a link and an instance that asks for it: a run, and an event."""
    with virtual.deployed() as deployment:
        cloud = deployment.cloud
        worlds.ring(cloud, size, size, size)
        start = time.process_time()
        calls = deployment.run()
        seconds = time.process_time() - start
        (asker,) = worlds.askers(cloud, 1, 1)
        worlds.calls(cloud)
        deployment.deliver([json.loads(events.launched(asker.instance))])
        event = float(len(worlds.calls(cloud)))
    return {"calls of a sweep": float(calls.total()), "CPU of a sweep, s": seconds, "an event": event}


def _accounts(size: int) -> dict[str, float]:
    """A policy of so many accounts, with two groups and instances each, all of which were swept: the next run."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        deployment = stack.enter_context(virtual.deployed(organisation.written(Path(folder), size)))
        organisation.settle(deployment.cloud, size, 2, 2)
        organisation.post_sweeps(deployment.cloud, size)  # the turn of some would come hours later
        deployment.run()
        start = time.process_time()
        calls = deployment.run()
        return {"calls of a run": float(calls.total()), "CPU of a run, s": time.process_time() - start}


def _links(size: int) -> dict[str, float]:
    """So many missed links, each between two groups of its own: the run that opens them all."""
    with virtual.deployed() as deployment:
        askers = worlds.askers(deployment.cloud, size, size)
        start = time.process_time()
        calls = deployment.run()
        seconds = time.process_time() - start
        missing = size - worlds.standing(deployment.cloud, [asker.group for asker in askers])
    return {
        "calls of their run": float(calls.total()),
        "CPU of their run, s": seconds,
        "links not opened": float(missing),
    }


def _records(size: int) -> dict[str, float]:
    """A log of so many audit records: reading its newest 100 as `audit` does, and reading it whole."""
    with virtual.deployed() as deployment:
        cloud = deployment.cloud
        _write_records(cloud, size)
        keys = cloud.identity.accounts[worlds.HOME]
        owner = {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": "",
        }
        log = AuditReader(load(env={**worlds.settings(cloud), **owner}), cloud.clock)
        worlds.calls(cloud)
        log.newest("*", 0, None, 100)
        newest = float(len(worlds.calls(cloud)))
        search, search_seconds = cloud.sls.search, list[float]()

        def timed_search(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return search(*arguments, **options)
            finally:
                search_seconds.append(time.process_time() - start)

        start = time.process_time()
        with mock.patch.object(cloud.sls, "search", timed_search):
            log.read()
        seconds = time.process_time() - start - sum(search_seconds)
        whole = float(len(worlds.calls(cloud)))
    return {"calls for the newest 100": newest, "calls for all": whole, "CPU for all, s": seconds}


def _write_records(cloud: LocalCloud, count: int) -> None:
    """Records of the last hours, three seconds apart, which can be read afterwards."""
    place, now = deployment_of(cloud), int(cloud.clock.now())
    instants = [now - 3 * number for number in range(count)]
    logs = [LogRecord(instant, 0, {"event_id": f"e-{instant}", "time": iso_millis(instant)}) for instant in instants]
    for first in range(0, count, 100):
        group = LogGroup(tuple(logs[first : first + 100]))
        cloud.sls.put(worlds.HOME, place.audit_project, place.audit_logstore, group)
    cloud.clock.sleep(60)


ROWS = (
    Growth(
        "instances of a group",
        _members,
        dict.fromkeys(("a first link", "an untag", "the last untag", "a release"), CONSTANT),
    ),
    Growth(
        "groups with a link each",
        _groups,
        {"calls of a sweep": LINEAR, "CPU of a sweep, s": LINEAR, "an event": CONSTANT},
    ),
    Growth("accounts", _accounts, {"calls of a run": LINEAR, "CPU of a run, s": LINEAR}, SIZES[:3]),
    Growth(
        "links to open",
        _links,
        {"calls of their run": LINEAR, "CPU of their run, s": LINEAR, "links not opened": CONSTANT},
        SIZES[:3],  # the addresses of one VPC suffice for 4,000 instances
    ),
    Growth(
        "records of the log",
        _records,
        {"calls for the newest 100": CONSTANT, "calls for all": LINEAR, "CPU for all, s": LINEAR},
    ),
)
