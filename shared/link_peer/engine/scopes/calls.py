"""What one message may cost in calls while nothing is to be changed: what is not read stays undecided, and is the
sweep's."""

from __future__ import annotations

import msgspec

from link_peer.domain.snapshot import Address
from link_peer.engine.read.fetch import Fetch
from link_peer.planning.decision import MembersOf, Missing

CALLS = 50
"""Calls that one message costs at most while nothing is to be changed."""

_RESERVED = 6  # of them for records, for sessions, and for what a plan asks to be read again


def calls_left(fetch: Fetch) -> int:
    """How many more reads one message may make while nothing is to be changed."""
    return CALLS - _RESERVED - fetch.calls.total()


def affordable(fetch: Fetch, missing: Missing) -> Missing:
    """What a plan misses, as far as calls are left for it: what is not read stays undecided, and is the sweep's."""
    budget = max(0, calls_left(fetch))
    ordered = sorted(missing.questions, key=repr)  # a set has none, and the same event is to read the same
    addresses = [question for question in ordered if isinstance(question, Address)]  # two calls each
    numbers = [question for question in ordered if isinstance(question, MembersOf)]  # for the words of denials alone
    questions = missing.questions.difference(addresses[budget // 2 :], numbers[max(0, budget - 2 * len(addresses)) :])
    return msgspec.structs.replace(missing, unread=frozenset(sorted(missing.unread)[:budget]), questions=questions)
