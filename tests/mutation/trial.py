"""Tests against one mutant, until one fails."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from pathlib import Path

from tests.mutation.reach import Items, passes

CAUGHT, SURVIVED, LIMITED, UNREACHED = range(4)
STOPPED = (-signal.SIGPROF, -signal.SIGALRM)
"""How a test ends that does not end by itself: it has needed twenty times its CPU time and ten seconds, or has
waited."""


def try_tests(items: Items, cpu_by_test: Mapping[str, float], limit: float, folder: Path) -> int:
    """Runs tests in the order of `cpu_by_test`, which says what each needs, for `limit` seconds: what became of the
    mutant. The file `test` of the folder names the last test."""
    started, tests = time.process_time(), list(cpu_by_test)
    for test, after in zip(tests, [*tests[1:], None], strict=False):
        if time.process_time() - started > limit:
            return LIMITED
        (folder / "test").write_text(test)
        signal.setitimer(signal.ITIMER_PROF, 10 + 20 * cpu_by_test[test])
        signal.alarm(round(120 + 100 * cpu_by_test[test]))
        if not passes(items, test, after):
            return CAUGHT
    return SURVIVED if tests else UNREACHED
