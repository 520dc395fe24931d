"""The removal guard of messages that are handled side by side."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from link_peer.planning.decision import Decision, Unseen
from link_peer.planning.removal_guard import RemovalGuard


class SharedGuard(RemovalGuard):
    """What one thread plans to remove counts for the others as if it were made, until its message is `done`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._lock = threading.Lock()
        self._planned: dict[int, Counter[Unseen]] = {}

    def held(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        with self._lock:
            self._planned[threading.get_ident()] = Counter()
            planned: Counter[Unseen] = sum(self._planned.values(), Counter())
            self._planned[threading.get_ident()] = Counter(due)
            return super().held({unseen: count + planned[unseen] for unseen, count in due.items()})

    def made(self, decision: Decision) -> None:
        with self._lock:
            super().made(decision)
            for unseen in decision.unseen:
                self._planned.setdefault(threading.get_ident(), Counter())[unseen] -= decision.removals

    def done(self) -> None:
        """This thread's message is done: what it planned and did not make counts no more."""
        with self._lock:
            self._planned.pop(threading.get_ident(), None)
