"""Clocks of the local cloud: the machine's, or one that a test moves by hand. Seconds since the epoch."""

from __future__ import annotations

import time
from datetime import datetime, timezone


class SystemClock:
    """Real time."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class VirtualClock:
    """Time that passes only when somebody sleeps or calls `advance`."""

    def __init__(self, now: float = 1_795_564_800.0) -> None:  # 2026-11-25T00:00:00Z
        self._now = now

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)

    advance = sleep


Clock = SystemClock | VirtualClock


def utc(seconds: float) -> str:
    """`2026-11-25T00:00:00Z`, the form most services answer with."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
