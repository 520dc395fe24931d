"""The one place where a cloud call is tried again.

The SDKs' own retries stay off: they re-send a change without looking whether it was made, and they know nothing of the
function's time. ECS refuses a throttled API until the next minute (help page 437902), so a throttled call waits for the
minute's turn, or gives the delivery back to the platform if the function has not that long.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from link_peer.domain.errors import Transient
from link_peer.runtime.clock import Clock

T = TypeVar("T")

ATTEMPTS = 4
FIRST_WAIT = 0.3  # seconds; doubles, with full jitter
MINUTE = 60.0


class Retry:
    """Tries again what failed for the moment, until `deadline` (epoch seconds)."""

    def __init__(self, clock: Clock, deadline: float) -> None:
        self.clock = clock
        self.deadline = deadline
        self._random = random.Random(0)  # noqa: S311  # jitter, not a secret

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of `call`. Raises the last Transient when attempts or time are used up; other errors at once."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return call()
            except Transient as error:
                self.pause(attempt, error)
        raise AssertionError("unreachable")

    def pause(self, attempt: int, error: Transient) -> None:
        """Waits before the attempt that follows `attempt`; raises `error` when there is none, or no time for it."""
        wait = self._wait(attempt, error)
        if attempt >= ATTEMPTS or self.clock.now() + wait >= self.deadline:
            raise error
        self.clock.sleep(wait)

    def _wait(self, attempt: int, error: Transient) -> float:
        jitter = self._random.random()
        if error.throttled:
            return MINUTE - self.clock.now() % MINUTE + jitter * 3
        return float(FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + jitter / 2))
