"""A value over time: past values for lagging reads, and planned ones (late tags, booting instances)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

HORIZON = 3600.0
"""Seconds for which past values stay readable; a read lag cannot be longer."""


class History(Generic[T]):
    """Reads may look back (`at(now - lag)`); changes may be planned for later."""

    __slots__ = ("_points",)

    def __init__(self, value: T) -> None:
        self._points: list[tuple[float, T]] = [(-math.inf, value)]

    def at(self, when: float) -> T:
        """The value at a moment."""
        for since, value in reversed(self._points):
            if since <= when:
                return value
        return self._points[0][1]

    def change(self, when: float, step: Callable[[T], T]) -> None:
        """Apply `step` to the value at `when` and to values planned for later, so that no change is lost."""
        earlier = [point for point in self._points if point[0] <= when]
        later = [(since, step(value)) for since, value in self._points if since > when]
        self._points = [*earlier, (when, step(earlier[-1][1])), *later]
        while len(self._points) > 1 and self._points[1][0] < when - HORIZON:
            del self._points[0]
