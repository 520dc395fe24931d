"""Which faults to try at which call, for tests that try every call of a delivery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from link_peer_local.core.faults import KINDS, Call

LOST = sorted(KINDS - {"slow", "kill", "kill-after", "throttle"})
BEFORE = [kind for kind in LOST if not kind.endswith("-after")]
AFTER = [kind for kind in LOST if kind.endswith("-after")]
"""The kinds of a response that is lost, before the change is made and after it."""


def kinds_at(call: int) -> list[str]:
    """The faults for a call: one of each class. The kinds of a class take turns, so that each of them hits some calls:
    tests/functional/wire shows that the functions treat them the same."""
    return ["throttle", BEFORE[call % len(BEFORE)], AFTER[call % len(AFTER)]]


def deaths(calls: Sequence[Call]) -> Iterator[dict[str, Any]]:
    """The faults that end the process of a delivery which makes these calls: before the first, and after each that changes
    something. A read leaves everything as it was before it."""
    yield {"kind": "kill"}
    for number, call in enumerate(calls):
        if not call.action.startswith(("Describe", "AssumeRole")):
            yield {"kind": "kill-after", "skip": number}
