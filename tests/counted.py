"""Work in numbers of calls: the same on every machine, where time is not."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable


def calls_of(function: Callable[[], object]) -> int:
    """How many calls of functions it makes, of Python's own too."""
    events = Counter[str]()
    before = sys.getprofile()
    sys.setprofile(lambda _frame, event, _argument: events.update([event]))
    try:
        function()
    finally:
        sys.setprofile(before)
    return events["call"] + events["c_call"]
