"""Leaves other callers of an API their part of what an account may call in a minute.

ECS counts calls by API, account and region, and refuses an API that is over its limit until the next minute (help page
437902). Only Quota Center shows the limits, so a setting gives them. Where it does not, the first refusal shows one: it
is what was let through in that minute.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import msgspec

from link_peer.domain.errors import OutOfTime, Throttled
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import LONGEST_WAIT, MINUTE

T = TypeVar("T")

SHARE = 2  # a run makes a half of the calls that the limit allows
FEWEST = 10  # calls of an API in a minute, however often it was throttled
AFTER_MINUTE = 1.0  # seconds after which a throttled API is called again: the platform's clock may be behind ours


class _Api(msgspec.Struct):
    """The calls of one API in one account. `allowed` is how many may be made in a minute; None while nothing limits
    them."""

    allowed: int | None
    minute: int = 0
    calls: int = 0
    refused_until: float = 0.0


class Pace:
    """The calls that one run may make, by account and API. Where one is throttled, fewer are made for the rest of the
    run."""

    def __init__(self, clock: Clock, deadline: float, per_minute: int | None = None) -> None:
        """Nothing waits beyond `deadline` (epoch seconds). `per_minute` is the account's limit for each API; None where
        it is not known."""
        self.deadline = deadline
        self._clock = clock
        self._allowed = None if per_minute is None else max(1, per_minute // SHARE)
        self._apis: dict[tuple[str, str], _Api] = {}
        self._lock = threading.Lock()  # reads run side by side

    def call(self, account: str, action: str, call: Callable[[], T]) -> T:
        """The result of `call`, made once it may be. If it is throttled, it is made again in the next minute, once: an
        API that others use up completely holds nobody up for longer. Raises OutOfTime, or Throttled."""
        for last in (False, True):
            self._wait(account, action)
            try:
                return call()
            except Throttled:
                self.throttled(account, action)
                if last:
                    raise
        raise AssertionError("unreachable: the last attempt raises")

    def may(self, account: str, action: str) -> bool:
        """Whether a call may be made now. If so, it is counted."""
        return self._take(account, action, self._clock.now()) is None

    def in_time(self, account: str, action: str, until: float) -> bool:
        """Whether a call may be made before `until` (epoch seconds), be it after a wait. It is not counted."""
        now = self._clock.now()
        with self._lock:
            api = self._api(account, action, now)
            full = api.allowed is not None and api.calls >= api.allowed
            return max(now, api.refused_until, (api.minute + 1) * MINUTE if full else now) < until

    def count(self, account: str, action: str) -> None:
        """Counts a call that could not wait."""
        with self._lock:
            self._api(account, action, self._clock.now()).calls += 1

    def throttled(self, account: str, action: str) -> None:
        """Notes that a call was throttled: there is none until the next minute, and half as many from then on."""
        now = self._clock.now()
        with self._lock:
            api = self._api(account, action, now)
            if api.refused_until > now:
                return  # a call made beside the one that was refused first
            through = api.calls - 1
            most = through if api.allowed is None else min(through, api.allowed)
            api.allowed = max(FEWEST, most // 2)
            api.refused_until = (api.minute + 1) * MINUTE + AFTER_MINUTE

    def next_minute(self, until: float) -> bool:
        """Waits until calls may be made again that may not in this minute. Returns False at once if that is not before
        `until` (epoch seconds)."""
        end = (self._clock.now() // MINUTE + 1) * MINUTE + AFTER_MINUTE
        if end >= min(until, self.deadline):
            return False
        self._sleep(end)
        return True

    def _wait(self, account: str, action: str) -> None:
        while (turn := self._take(account, action, self._clock.now())) is not None:
            if turn >= self.deadline:
                raise OutOfTime(f"no time is left for another call of {action}")
            self._sleep(turn)
        if self._clock.now() >= self.deadline:
            raise OutOfTime(f"no time is left for another call of {action}")

    def _sleep(self, end: float) -> None:
        while (remaining := end - self._clock.now()) > 0:
            self._clock.sleep(min(LONGEST_WAIT, remaining))

    def _take(self, account: str, action: str, now: float) -> float | None:
        """Counts a call, if one may be made now; else when one may be (epoch seconds)."""
        with self._lock:
            api = self._api(account, action, now)
            if api.refused_until > now:
                return api.refused_until
            if api.allowed is not None and api.calls >= api.allowed:
                return (api.minute + 1) * MINUTE
            api.calls += 1
            return None

    def _api(self, account: str, action: str, now: float) -> _Api:
        api = self._apis.setdefault((account, action), _Api(self._allowed))
        minute = int(now // MINUTE)
        if minute != api.minute:
            api.minute, api.calls = minute, 0
        return api
