"""The deployment of s.yaml on one virtual clock in this process: what takes hours on the platform takes a minute.

Faithful for what waits: for the rate limits, which the local cloud applies by its clock, for delays of messages and for
the intervals of timers. Calls that a function makes side by side are made one after the other, each with its latency,
so that the time is an upper bound. Computing takes no time: CPU and memory are measured on processes.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

from aliyun_local.api import LocalCloud, VirtualClock, mount
from link_peer.alicloud.sts import CACHE
from link_peer.app import compose
from link_peer_cli.demo import world
from link_peer_cli.demo.deployment import deployment_of
from link_peer_cli.demo.functions import deploy
from link_peer_cli.demo.world import PREFIX
from link_peer_deploy.names import Names

from benchmarks import worlds

TIMER = "every-10m"
AUTO_LINK = Names(worlds.HOME, PREFIX).functions["auto_link"]


class Deployment:
    """The functions and their triggers on a cloud."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self._triggers = deploy(cloud, in_process=True)
        self._every = next(timer.seconds for timer in self._triggers.timers if timer.name == TIMER)

    def run(self) -> Counter[str]:
        """Fires the timer and delivers what it posts until the timer's next time. Returns the calls by API
        (`ecs.DescribeInstances`)."""
        worlds.calls(self.cloud)
        self._triggers.fire_timer(TIMER)
        self.work(self.cloud.clock.now() + self._every)
        return Counter(f"{call.service}.{call.action}" for call in worlds.calls(self.cloud))

    def work(self, end: float, between: Callable[[], object] = lambda: None) -> None:
        """Delivers what is due until `end` (epoch seconds), and what that posts; `between` is called after each
        step."""
        cloud, clock, streams = self.cloud, self.cloud.clock, self._triggers.streams
        while clock.now() < end:
            cloud.fc.drain()
            worked = [stream.step() for stream in streams]
            between()
            if not any(worked):
                due = [cloud.mns.next_visible_at(worlds.HOME, stream.settings.queue) or end for stream in streams]
                clock.sleep(min(end, max(min(due), clock.now() + 1)) - clock.now())

    def idle(self) -> bool:
        """Whether nothing waits on a queue, however long it is delayed."""
        return not any(
            self.cloud.mns.next_visible_at(worlds.HOME, stream.settings.queue) for stream in self._triggers.streams
        )

    def deliver(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Hands events to auto_link, in one delivery."""
        self.cloud.fc.invoke(worlds.HOME, AUTO_LINK, json.dumps(events).encode())

    def records(self, **fields: str) -> list[dict[str, str]]:
        """The audit records with these values, in the order of their time."""
        place = deployment_of(self.cloud)
        shards = self.cloud.sls.logstore(place.home, place.audit_project, place.audit_logstore).shards
        log_records = [dict(log.fields) for shard in shards for write in shard for log in write.logs]
        return sorted(
            (record for record in log_records if fields.items() <= record.items()), key=lambda record: record["time"]
        )


@contextlib.contextmanager
def deployed(world_file: str = world.DEFAULT) -> Iterator[Deployment]:
    """A world on a virtual clock, and the functions that act on it. Every client of this process talks to it
    meanwhile."""
    with contextlib.ExitStack() as stack:

        def put(where: Any, name: str, new: Any) -> None:
            stack.enter_context(mock.patch.object(where, name, new))

        cloud = LocalCloud(VirtualClock())
        world.load(cloud, world_file)
        cloud.endpoint = "http://127.0.0.1:1"
        mount(SimpleNamespace(patch=SimpleNamespace(object=put)), cloud)  # type: ignore[arg-type]
        put(compose, "clock_for_functions", lambda: cloud.clock)
        put(compose, "READERS", 1)
        CACHE.clear()
        yield Deployment(cloud)
