"""Clocks of the local cloud: the machine's, or one that tests advance. Times are seconds since the epoch."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from functools import lru_cache


class SystemClock:
    """Real time."""

    @property
    def is_real(self) -> bool:
        """Whether time passes by itself, so that a caller may wait for it."""
        return True

    def now(self) -> float:
        """The machine's time."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        time.sleep(seconds)


class VirtualClock:
    """Time that passes only when something sleeps or calls `advance`."""

    def __init__(self, now: float = 1_795_564_800.0) -> None:  # 2026-11-25T00:00:00Z
        self._now = now

    @property
    def is_real(self) -> bool:
        """It does not pass by itself."""
        return False

    def now(self) -> float:
        """The time this clock was advanced to."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Advance the clock without waiting; a negative number changes nothing."""
        self._now += max(0.0, seconds)

    advance = sleep


class PastClock(VirtualClock):
    """The machine's time; a VirtualClock in the past while a world's history is played."""

    over = True

    @property
    def is_real(self) -> bool:
        """Once the history is over."""
        return self.over

    def begin(self, now: float) -> None:
        """Go back, until `over` is set again."""
        self._now, self.over = now, False

    def now(self) -> float:
        """The machine's time, or that of the history."""
        return time.time() if self.over else self._now

    def sleep(self, seconds: float) -> None:
        """Wait in real time, or advance the history."""
        if self.over:
            time.sleep(seconds)
        else:
            self.advance(seconds)


Clock = SystemClock | VirtualClock


@lru_cache(maxsize=4096)
def utc(seconds: float) -> str:
    """`2026-11-25T00:00:00Z`, the format in which most services answer."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
