"""When the command in hand started: its `now`, whatever it decides, writes or says.

A second reading of the clock may be past an end, or a border such as the 90 days of ActionTrail, before which the first
one was: the parts of one answer would disagree. Only what waits reads the clock again.
"""

from __future__ import annotations

import threading

from link_peer.app import compose

_lock = threading.Lock()
_started: list[float] = []


def begin() -> None:
    """Start a command: the next `now` reads the clock."""
    _started.clear()


def now() -> float:
    """The instant at which the command started, in epoch seconds, the same in all threads."""
    with _lock:
        if not _started:
            _started.append(compose.clock_for_functions().now())
        return _started[0]
