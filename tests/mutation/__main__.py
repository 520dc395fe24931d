"""Runs the tests against a sample of the mutants: `make mutate`, with MUTANTS, ONLY, SEED, LIMIT and TESTS from the
environment."""

from __future__ import annotations

import os
import random
import sys
import time

import pytest

from tests.mutation.mutants import ROOT, key, listed, mutants_of, targets
from tests.mutation.run import Plugin, Result
from tests.sample import WHOLE

COMMANDS = ROOT / "tests" / "functional" / "cli"
TESTS = [
    *("tests/unit", "tests/simulation", "local/tests/ecs", "local/tests/tag", "local/conformance"),
    *(
        str(path)
        for path in sorted(COMMANDS.parent.glob("*"))
        if path not in (COMMANDS, COMMANDS.parent / "__pycache__") and (path.is_dir() or path.name.startswith("test_"))
    ),
    str(COMMANDS),
    *(f"tests/infrastructure/test_{name}.py" for name in ("docs", "json_schemas", "log_files", "reasons")),
]
FLOOR = 95
"""Of a hundred mutants that are not equivalent, how many a test must catch."""


def main() -> int:
    """Prints the survivors and the score, and returns the exit code."""
    count_text, only = os.environ.get("MUTANTS") or "300", os.environ.get("ONLY") or ""
    mutants = [mutant for path in targets() for mutant in mutants_of(path) if only in f"{mutant.place} {mutant.unit}"]
    remaining_mutants = [mutant for mutant in mutants if key(mutant) not in listed()]
    if count_text != "all" and int(count_text) < len(remaining_mutants):
        remaining_mutants = random.Random(int(os.environ.get("SEED") or 1)).sample(remaining_mutants, int(count_text))
    print(f"{len(remaining_mutants)} of {len(mutants)} mutants", flush=True)
    plugin = Plugin(remaining_mutants, targets(), float(os.environ.get("LIMIT") or 30))
    started, tests = time.monotonic(), (os.environ.get("TESTS") or "").split() or TESTS
    os.environ[WHOLE] = "1"
    code = pytest.main(["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", *tests], plugins=[plugin])
    return _report(plugin.results, time.monotonic() - started) if code == pytest.ExitCode.OK else int(code)


def _report(results: list[Result], seconds: float) -> int:
    caught = sum(not result.survived for result in results)
    score = 100 * caught / max(len(results), 1)
    cpu = sum(result.cpu for result in results)
    print(f"\n{caught} of {len(results)} caught: {score:.1f} %; {cpu:.0f} s of CPU, {seconds:.0f} s in all")
    return 0 if score >= FLOOR else 1


if __name__ == "__main__":
    sys.exit(main())
