"""What a sweep costs: API calls by action and seconds, on the local cloud over HTTP, through the official SDK.

`python -m benchmarks.sweep_cost [100x20 1000x200 10000x1000]` (tagged instances x groups). Each group accepts one other;
the first sweep makes all rules, the second finds nothing to do, in the same world and the same process.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import Counter
from types import SimpleNamespace

from link_peer.engine.scopes.everything import Sweep
from link_peer.runtime.delivery import opened
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import SystemClock
from link_peer_local.server import serve

HOME = "1000000000000001"


def build(instances: int, groups: int) -> LocalCloud:
    """A chain of groups, each accepting the one before it on one port; the instances stand in them in turn."""
    cloud = LocalCloud(SystemClock())
    world.load(cloud)
    vpc = cloud.world.vpcs[0]["id"]
    made = [cloud.ecs.create_group(HOME, vpc, name=f"g{number}") for number in range(groups)]
    for before, group in zip(made, made[1:] + made[:1], strict=True):
        cloud.ecs.account(HOME).groups[group.id].tags.change(
            0, lambda tags, before=before: {**tags, "link-accept": f"{before.id}:tcp/3306"}
        )
    for number in range(instances):
        group, peer = made[number % groups], made[(number + 1) % groups]
        cloud.ecs.create_instance(HOME, [group.id], tags={"link-peer": f"{peer.id}:tcp/3306"})
    return cloud


def point_at(cloud: LocalCloud, endpoint: str) -> None:
    """The functions' settings, by the environment as when deployed."""
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
    cloud = build(instances, groups)
    server = serve(cloud)
    point_at(cloud, server.endpoint)
    context = SimpleNamespace(function=SimpleNamespace(timeout=3600))
    for run in ("first", "second"):
        sweep = Sweep(opened("sweep", context), f"sweep-{run}")
        start = time.perf_counter()
        sweep.run()
        seconds = time.perf_counter() - start
        calls: Counter[str] = sweep.reader.calls
        parts = ", ".join(f"{action} {count}" for action, count in sorted(calls.items()))
        print(f"{instances:6} {groups:6} {run:7} {seconds:7.1f} {calls.total():6}  {parts}", flush=True)
    server.close()


def main(sizes: list[str]) -> None:
    logging.disable(logging.WARNING)
    print(f"{'inst.':>6} {'groups':>6} {'sweep':7} {'seconds':>7} {'calls':>6}  by action")
    for size in sizes or ["100x20", "1000x200", "10000x1000"]:
        instances, groups = (int(part) for part in size.split("x"))
        measure(instances, groups)


if __name__ == "__main__":
    main(sys.argv[1:])
