"""Measures the cost of one event: API calls by action, on the local cloud over HTTP, with the official SDK.

`make bench`, or `PYTHONPATH=functions python -m benchmarks.event_cost [managed groups ...]`: an event for an untagged
instance, the event that makes a link, the same event again, and the tag change that removes the link, in accounts with
0, 20 and 200 other managed groups.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import Counter
from types import SimpleNamespace

import auto_link
import sweep
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.state import Instance
from link_peer_local.server import serve

from benchmarks.sweep_cost import HOME, build, point_at


def event(instance: Instance, tags: bool, now: float) -> bytes:
    """The body of an event: a tag change as ActionTrail reports it, or a state change. `now` is in epoch seconds."""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    common = {"id": f"e-{now}", "source": "acs.ecs", "specversion": "1.0", "time": when, "aliyunaccountid": HOME}
    if tags:
        data = {"eventName": "UntagResources", "referencedResources": {"ACS::ECS::Instance": [instance.id]}}
        return json.dumps({**common, "type": "ecs:ActionTrail:ApiCall", "data": data}).encode()
    data = {"resourceId": instance.id, "state": "Running"}
    return json.dumps({**common, "type": "ecs:Instance:StateChange", "data": data}).encode()


def tagged(cloud: LocalCloud, instance: Instance, value: str | None) -> None:
    """Sets the instance's link-peer tag, or removes it if `value` is None."""
    caller = Caller(HOME, f"acs:ram::{HOME}:root")
    base = {"RegionId": cloud.region, "ResourceType": "instance", "ResourceId.1": instance.id}
    if value is None:
        cloud.ecs.call(caller, "UntagResources", {**base, "TagKey.1": "link-peer"})
    else:
        cloud.ecs.call(caller, "TagResources", {**base, "Tag.1.Key": "link-peer", "Tag.1.Value": value})


def measure(managed: int) -> None:
    """Prints one line for each of the four events, in an account with this many other managed groups."""
    cloud = build(managed, managed)
    server = serve(cloud)
    point_at(cloud, server.endpoint)
    context = SimpleNamespace(function=SimpleNamespace(timeout=120))
    if managed:
        sweep.handler(b"{}", context)
    vpc = cloud.world.vpcs[0]["id"]
    app = cloud.ecs.create_group(HOME, vpc)
    db = cloud.ecs.create_group(HOME, vpc, tags={"link-accept": app.id})
    plain, asking = cloud.ecs.create_instance(HOME, [app.id]), cloud.ecs.create_instance(HOME, [app.id])
    steps = [
        ("untagged", plain, False, None),
        ("first link", asking, False, f"{db.id}:tcp/3306"),
        ("again", asking, False, f"{db.id}:tcp/3306"),
        ("untag", asking, True, None),
    ]
    for name, instance, tags, value in steps:
        if instance is asking:
            tagged(cloud, instance, value)
        cloud.faults.calls.clear()
        start = time.perf_counter()
        auto_link.handler(event(instance, tags, time.time()), context)
        seconds = time.perf_counter() - start
        calls = Counter(call.action for call in cloud.faults.calls)
        parts = ", ".join(f"{action} {count}" for action, count in sorted(calls.items()))
        print(f"{managed:7} {name:11} {calls.total():5} {seconds * 1000:6.0f}  {parts}", flush=True)
    server.close()


def main(sizes: list[str]) -> None:
    """Measures with each number of managed groups."""
    logging.disable(logging.WARNING)
    print(f"{'managed':>7} {'event':11} {'calls':>5} {'ms':>6}  by action")
    for size in sizes or ["0", "20", "200"]:
        measure(int(size))


if __name__ == "__main__":
    main(sys.argv[1:])
