"""How the store keeps things: a value over time, with past values for lagging reads and planned ones (late tags,
booting instances); and resources by id in a fixed order, which can be read from any position, so that a page costs its
own length.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import UserDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

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


class Ordered(UserDict[str, T]):
    """A dict whose values have positions: `position(value)`, which never changes while the value is held."""

    def __init__(self, position: Callable[[T], Any]) -> None:
        self.position = position
        self._order: list[tuple[Any, str]] = []
        super().__init__()

    def __setitem__(self, name: str, value: T) -> None:
        """Add a value, or replace the one with this name."""
        if name in self.data:
            del self[name]
        insort(self._order, (self.position(value), name))
        self.data[name] = value

    def __delitem__(self, name: str) -> None:
        """Remove a value; KeyError when there is none."""
        del self._order[bisect_left(self._order, (self.position(self.data[name]), name))]
        del self.data[name]

    def ascending(self, start: Any = None) -> Iterator[T]:
        """The values in order; with `start`, those at or after this position."""
        first = 0 if start is None else bisect_left(self._order, start, key=_position)
        for index in range(first, len(self._order)):
            yield self.data[self._order[index][1]]

    def descending(self, start: Any = None) -> Iterator[T]:
        """The values in reverse order; with `start`, those at or before this position."""
        last = len(self._order) if start is None else bisect_right(self._order, start, key=_position)
        for index in range(last - 1, -1, -1):
            yield self.data[self._order[index][1]]


def _position(entry: tuple[Any, str]) -> Any:
    return entry[0]
