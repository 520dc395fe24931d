"""The guard against an account that stops showing its resources: how many removals may follow from that.

What is removed only because an account does not show something is counted per account that does not show it and per
account on whose groups the rules are. When more are due in one delivery than the policy allows, none of those is made;
everything else goes on.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

from link_peer.planning.decision import Decision, Unseen


class RemovalGuard:
    """Counts the removals of one delivery by Unseen. `reported` are those that a record says are held already."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reported: set[Unseen] = set()
        self._removals: Counter[Unseen] = Counter()
        self._closed: set[Unseen] = set()

    def expect(self, due: Mapping[Unseen, int]) -> None:
        """Announces all removals that the messages of a batch are due to make: where they are too many, none is
        made."""
        self._closed |= {unseen for unseen, count in due.items() if count > self.limit}

    def excess(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        """Of the removals that a plan would make, those that are too many, with what this delivery has made before."""
        return {
            unseen
            for unseen, count in due.items()
            if unseen in self._closed or self._removals[unseen] + count > self.limit
        }

    def count(self, decision: Decision) -> None:
        """Counts a decision that was carried out."""
        for unseen in decision.unseen:
            self._removals[unseen] += decision.removals


class HoldingGuard(RemovalGuard):
    """That of a delivery which reads a part of an account: it holds back whatever is counted."""

    def excess(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        return set(due)


class LookGuard(RemovalGuard):
    """That of a short sweep. All that an account does not show counts together: what is due, or, where they are more,
    the `absent` parties, of which only some were judged; and the removals of the short sweeps since the last full one:
    of each, what it was let make, since an answer may be lost."""

    def __init__(
        self, limit: int, absent: Mapping[str, int], earlier_removals: Mapping[str, int], most_accounts: int
    ) -> None:
        """Both are by account; the next short sweep can be told of so many accounts: of further ones, nothing is
        removed."""
        super().__init__(limit)
        self._most_accounts = most_accounts
        self._absent = absent
        self._earlier = earlier_removals
        self._let: dict[str, int] = {}

    @property
    def removals(self) -> dict[str, int]:
        """Those of the short sweeps since the last full one, this one included, by account."""
        return {
            account: self._earlier.get(account, 0) + self._let.get(account, 0)
            for account in self._earlier.keys() | self._let.keys()
        }

    def excess(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        counts: Counter[str] = Counter()
        for unseen, count in (*due.items(), *self._removals.items()):
            counts[unseen.account] += count
        accounts = {unseen.account for unseen in due}
        too_many = {
            account
            for account in accounts
            if self._earlier.get(account, 0) + max(counts[account], self._absent.get(account, 0)) > self.limit
        }
        if len(self.removals.keys() | accounts) > self._most_accounts:
            too_many |= accounts - self.removals.keys()
        for account in accounts - too_many:
            self._let[account] = max(self._let.get(account, 0), counts[account])
        return {unseen for unseen in due if unseen.account in too_many}


class SharedGuard(RemovalGuard):
    """What one thread plans to remove counts for the others as if it were made, until its message is `finish`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._lock = threading.Lock()
        self._planned: dict[int, Counter[Unseen]] = {}

    def excess(self, due: Mapping[Unseen, int]) -> set[Unseen]:
        with self._lock:
            self._planned[threading.get_ident()] = Counter()
            planned: Counter[Unseen] = sum(self._planned.values(), Counter())
            self._planned[threading.get_ident()] = Counter(due)
            return super().excess({unseen: count + planned[unseen] for unseen, count in due.items()})

    def count(self, decision: Decision) -> None:
        with self._lock:
            super().count(decision)
            for unseen in decision.unseen:
                self._planned.setdefault(threading.get_ident(), Counter())[unseen] -= decision.removals

    def finish(self) -> None:
        """This thread's message is done: what it planned and did not make counts no more."""
        with self._lock:
            self._planned.pop(threading.get_ident(), None)
