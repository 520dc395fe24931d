"""Measures the cost of a sweep: API calls by action, and seconds, on the local cloud over HTTP, with the official SDK.

`python -m benchmarks.sweep_cost [100x20 1000x200 10000x1000]` (tagged instances x groups). Each group accepts one other
group. The first sweep adds all rules; the second, in the same world and process, finds nothing to do.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace

from link_peer.engine.scopes.everything import Sweep
from link_peer.runtime.compose import open_delivery
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import SystemClock
from link_peer_local.server import serve

HOME = "1000000000000001"


def build(instances: int, groups: int) -> LocalCloud:
    """A cloud with a ring of groups, each accepting the previous one on one port; instances are spread evenly."""
    cloud = LocalCloud(SystemClock())
    world.load(cloud)
    vpc = cloud.world.vpcs[0]["id"]
    made = [cloud.ecs.create_group(HOME, vpc, name=f"g{number}") for number in range(groups)]
    for previous, group in zip(made, made[1:] + made[:1], strict=True):
        consent = partial(_with_tag, "link-accept", f"{previous.id}:tcp/3306")
        cloud.ecs.account(HOME).groups[group.id].tags.change(0, consent)
    for number in range(instances):
        group, peer = made[number % groups], made[(number + 1) % groups]
        cloud.ecs.create_instance(HOME, [group.id], tags={"link-peer": f"{peer.id}:tcp/3306"})
    return cloud


def _with_tag(key: str, value: str, tags: dict[str, str]) -> dict[str, str]:
    return {**tags, key: value}


def point_at(cloud: LocalCloud, endpoint: str) -> None:
    """Sets the environment variables of a deployed function, with the local cloud as the endpoint."""
    keys = cloud.identity.accounts[HOME]
    os.environ.update(
        LINK_PEER_CLOUD=endpoint,
        LINK_PEER_POLICY=cloud.world.policy,
        LINK_PEER_REGION=cloud.region,
        LINK_PEER_AUDIT_PROJECT=cloud.world.audit_project,
        LINK_PEER_AUDIT_LOGSTORE=cloud.world.audit_logstore,
        LINK_PEER_QUEUE=cloud.world.queue,
        ALIBABA_CLOUD_ACCESS_KEY_ID=keys.access_key_id,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET=keys.access_key_secret,
    )


def measure(instances: int, groups: int) -> None:
    """Prints one line for each of two sweeps over a world of this size."""
    cloud = build(instances, groups)
    server = serve(cloud)
    point_at(cloud, server.endpoint)
    context = SimpleNamespace(function=SimpleNamespace(timeout=3600))
    for run in ("first", "second"):
        sweep = Sweep(open_delivery("sweep", context), f"sweep-{run}")
        start = time.perf_counter()
        sweep.run()
        seconds = time.perf_counter() - start
        calls: Counter[str] = sweep.reader.calls
        parts = ", ".join(f"{action} {count}" for action, count in sorted(calls.items()))
        print(f"{instances:6} {groups:6} {run:7} {seconds:7.1f} {calls.total():6}  {parts}", flush=True)
    server.close()


def main(sizes: list[str]) -> None:
    """Measures each size, given as `<instances>x<groups>`."""
    logging.disable(logging.WARNING)
    print(f"{'inst.':>6} {'groups':>6} {'sweep':7} {'seconds':>7} {'calls':>6}  by action")
    for size in sizes or ["100x20", "1000x200", "10000x1000"]:
        instances, groups = (int(part) for part in size.split("x"))
        measure(instances, groups)


if __name__ == "__main__":
    main(sys.argv[1:])
