"""The lab over sockets: the same worlds and handlers, but every call is HTTP on loopback."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from aliyun_local.api import Server, SystemClock
from link_peer.alicloud import mns as queue
from link_peer.alicloud import sdk, sls
from link_peer.app import compose
from link_peer.domain.errors import Transient
from link_peer.runtime.delivery import READERS

from tests.functional.lab import HOME, Lab

PATIENCE = 30.0  # read timeout of the clients, in seconds: no healthy call takes as long, on a busy machine either
SILENCE = 1.0  # the same once a test asks for `no-answer`, which a client can only tell by its timeout
MAX_DELIVERIES = 6


class CloudClock(SystemClock):
    """The machine's time, and what a test lets pass beside it. Waiting takes real time."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Lets time pass at once, for messages that are delayed. Clients keep signing with the machine's time, which
        may be 15 minutes off."""
        self._ahead += seconds


class HurriedClock:
    """A function's clock: the cloud's time; sleeping returns at once and moves only this clock ahead."""

    def __init__(self, cloud: CloudClock | None = None) -> None:
        self._cloud = cloud or CloudClock()
        self._ahead = 0.0

    def now(self) -> float:
        return self._cloud.now() + self._ahead

    def sleep(self, seconds: float) -> None:
        self._ahead += seconds


class WireLab(Lab):
    """`deliver(auto_link, body)` is one delivery, `settle` as many as the platform needs; both are safe in threads.
    What they put on the queue is delivered by `drain`."""

    def __init__(self, server: Server, clock: CloudClock, monkeypatch: pytest.MonkeyPatch, folder: Any) -> None:
        """`clock` is that of the server's cloud."""
        super().__init__(server.cloud, monkeypatch, folder)
        monkeypatch.setenv("LINK_PEER_CLOUD", server.endpoint)
        for name, value in self.function_keys().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(compose, "clock_for_functions", lambda: HurriedClock(clock))
        monkeypatch.setattr(compose, "READERS", READERS)
        self._clock = clock
        self._monkeypatch = monkeypatch
        self.wait(PATIENCE)

    def fault(self, **fault: Any) -> None:
        """Adds a fault; the clients give up on silence sooner if it is one."""
        if str(fault.get("kind", "")).startswith("no-answer"):
            self.wait(SILENCE)
        super().fault(**fault)

    def wait(self, seconds: float) -> None:
        """Sets the read timeout of the clients."""
        self._monkeypatch.setattr(sdk, "READ_TIMEOUT_MS", int(seconds * 1000))
        self._monkeypatch.setattr(sls, "TIMEOUT_SECONDS", seconds)
        self._monkeypatch.setattr(queue, "TIMEOUT_SECONDS", seconds)

    def due(self) -> list[dict[str, Any]]:
        """Receives and deletes the messages of the queue that are visible next, as soon as they are; none if it is
        empty."""
        at = self.cloud.mns.next_visible_at(HOME, self.cloud.world.queue)
        if at is None:
            return []
        self._clock.advance(max(0.0, at - self._clock.now()))
        return self.queued()

    def deliver(self, function: ModuleType, body: Any) -> dict[str, int]:
        outcomes: dict[str, int] = json.loads(function.handler(json.dumps(body).encode(), self.context))["outcomes"]
        return outcomes

    def settle(self, function: ModuleType, body: Any, between: Callable[[], object] = lambda: None) -> int:
        """Delivers until the function answers, as the platform does; returns the number of deliveries."""
        for number in range(1, MAX_DELIVERIES + 1):
            try:
                self.deliver(function, body)
            except Transient:
                between()
            else:
                return number
        raise AssertionError("it never answered")
