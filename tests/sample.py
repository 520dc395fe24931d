"""A fixed part of a family of cases that takes long: `make test` tries that part, `make prove` every case.

The part is drawn with a seed that never changes, so that two runs of the same code try the same cases.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
SEED = 1
WHOLE = "LINK_PEER_TEST_WHOLE"
"""The variable that has every case tried."""


def sample(cases: Iterable[T], share: int) -> list[T]:
    """One of so many cases, drawn once and in their order, the first always; or all of them."""
    first_case, *more_cases = cases
    if os.environ.get(WHOLE):
        return [first_case, *more_cases]
    places = sorted(random.Random(SEED).sample(range(len(more_cases)), len(more_cases) // share))
    return [first_case, *(more_cases[place] for place in places)]


def part(count: int, share: int) -> int:
    """How many of so many cases that are drawn one after the other are tried: one of so many, or all of them."""
    return count if os.environ.get(WHOLE) else count // share


def described() -> str:
    """What is tried, for who runs the tests."""
    return "exhaustive families: " + ("whole" if os.environ.get(WHOLE) else f"a sample, seed {SEED}; {WHOLE}=1: whole")
