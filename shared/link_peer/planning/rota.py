"""When each account is swept. Pure: every instant is passed in (epoch seconds).

The timer begins the full sweep of the accounts whose turn it is: of all of them at each run where they are few, and of
so many accounts that each has its turn within four hours else. Between two full sweeps, an account's own messages have
a short one every nine minutes.
"""

from __future__ import annotations

from collections.abc import Collection

from link_peer.domain.model import short_hash

RUN_SECONDS = 600  # between two runs of the timer, as deployed
LOOK_SECONDS = 540  # between two short sweeps of an account: what they close is closed within ten minutes
AT_ONCE = 42  # accounts of one run: a thousand have their turn within MOST_RUNS
MOST_RUNS = 24  # between two full sweeps of an account: four hours
SHORT_RUNS = 2  # as long as these, the pages of every sweep may take; longer, those of one sweep in MOST_RUNS


def run_of(now: float) -> int:
    """The number of the timer's run."""
    return int(now // RUN_SECONDS)


def runs_between(accounts: int) -> int:
    """How many runs of the timer lie between two full sweeps of an account, of so many accounts."""
    return min(MOST_RUNS, max(1, -(-accounts // AT_ONCE)))


def whose_turn(accounts: Collection[str], now: float) -> list[str]:
    """The accounts whose sweep begins with the run at `now`."""
    between, run = runs_between(len(accounts)), run_of(now)
    return [account for account in sorted(accounts) if (run + _offset(account)) % between == 0]


def last_turn(account: str, accounts: int, now: float) -> float:
    """When the newest run began that was the account's turn."""
    run = run_of(now)
    return float((run - (run + _offset(account)) % runs_between(accounts)) * RUN_SECONDS)


def goes_on(account: str, accounts: int, began: float, now: float, *, listed: bool) -> bool:
    """Whether the messages of a sweep that began then are still acted on. Once all is `listed`, a newer sweep takes its
    place. Before, it goes on until the account's next turn, for SHORT_RUNS at least; but if its listing takes longer,
    only that of one sweep in four hours does, so that few of them share the account's calls."""
    if listed:  # the timer fires at some moment of a run: until then nothing newer has begun
        return began >= last_turn(account, accounts, now - RUN_SECONDS)
    runs, between = run_of(now) - run_of(began), runs_between(accounts)
    turn = run_of(began) + _offset(account)
    turn -= turn % between  # the first message may come in a later run than the timer's
    return runs <= max(SHORT_RUNS, between) or (runs <= MOST_RUNS and turn % MOST_RUNS < between)


def next_look(accounts: int, began: float, now: float) -> int | None:
    """In how many seconds an account whose full sweep began then has a short one; None where the timer has begun its
    next full one by then: it fires at the same moment of each run."""
    return LOOK_SECONDS if now + LOOK_SECONDS < began + runs_between(accounts) * RUN_SECONDS else None


def _offset(account: str) -> int:
    return int(short_hash(account), 16) % MOST_RUNS
