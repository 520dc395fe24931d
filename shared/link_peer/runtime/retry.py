"""The one place where a cloud call is retried.

The SDKs' own retries stay off: they re-send a change without checking whether it was made, and they know nothing of the
function's time. No wait is longer than five seconds: ECS refuses a throttled API until the next minute (help page
437902), and a handler that sleeps through it holds up everything behind it, so such a call is given up and made again
later.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TypeVar

from link_peer.domain.errors import NoAccess, Throttled, Transient
from link_peer.runtime.clock import Clock

T = TypeVar("T")

ATTEMPTS = 4
FIRST_WAIT = 0.3  # seconds; doubles, with full jitter
POLLS = 4  # reads of a group until it shows a change; the lag has been observed, its size is unknown
FIRST_POLL = 0.2  # seconds; doubles
MINUTE = 60.0
LONGEST_WAIT = 5.0  # seconds


class Attempt:
    """One attempt, as a context manager: it keeps a Transient that its block raises, as `failure`."""

    def __init__(self) -> None:
        self.failure: Transient | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        self.failure = error if isinstance(error, Transient) else None
        return self.failure is not None


class Retry:
    """Retries what failed for the moment, until `deadline` (epoch seconds)."""

    def __init__(self, clock: Clock, deadline: float, longest_wait: float = LONGEST_WAIT) -> None:
        """`longest_wait` is in seconds; a command may wait longer than a function."""
        self.clock = clock
        self.deadline = deadline
        self._longest = longest_wait
        self._random = random.Random(0)  # noqa: S311  # jitter, not a secret

    def ending(self, deadline: float) -> Retry:
        """The same retries, until another deadline (epoch seconds)."""
        return Retry(self.clock, deadline, self._longest)

    def __call__(self, call: Callable[[], T]) -> T:
        """The result of `call`. Raises the last Transient when attempts or time are used up; other errors at once."""
        for attempt in self.attempts():
            with attempt:
                return call()
        raise AssertionError("unreachable: the last attempt raises")

    def attempts(self) -> Iterator[Attempt]:
        """One Attempt after the other, with the waits between them, until one does not fail. Raises the last
        failure."""
        for number in range(1, ATTEMPTS + 1):
            attempt = Attempt()
            yield attempt
            if attempt.failure is None:
                return
            wait = self._wait(number, attempt.failure)
            if number == ATTEMPTS or wait > self._longest or self.clock.now() + wait >= self.deadline:
                raise attempt.failure
            self.clock.sleep(wait)

    def refused(self, call: Callable[[], T], waits: Sequence[float]) -> T:
        """The result of `call`, which is made again after each of these waits (seconds) while access is refused: a role
        that was edited a moment ago. Raises the last NoAccess."""
        for wait in waits:
            try:
                return self(call)
            except NoAccess:
                self.clock.sleep(wait)
        return self(call)

    def poll(self, is_done: Callable[[], bool]) -> bool:
        """Waits until `is_done`, which reads something that lags behind a change, is true. Returns whether it was in
        time."""
        for number in range(POLLS):
            self.clock.sleep(FIRST_POLL * 2**number)
            if is_done():
                return True
        return False

    def _wait(self, attempt: int, error: Transient) -> float:
        jitter = self._random.random()
        if isinstance(error, Throttled):
            return MINUTE - self.clock.now() % MINUTE + jitter * 3
        return float(FIRST_WAIT * 2 ** (attempt - 1) * (0.5 + jitter / 2))
