"""Which tests run which statements: measured once, and again for the test files that changed."""

from __future__ import annotations

import hashlib
import pickle
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation import child, live
from tests.mutation.mutants import ROOT

RECORD = ROOT / "build" / "mutation.pickle"
SOURCES = ("shared", "local", "functions", "cli", "deploy", "tests")

Items = Mapping[str, pytest.Item]
"""The collected tests by node id."""


class Reach(msgspec.Struct, frozen=True):
    """What a test runs: its CPU seconds, and the statements as `live.Probes` numbers them."""

    cpu: float
    places: array[int]

    def way(self, file: int) -> bytes:
        """The statements of a file, which are one slice of the sorted places."""
        first, last = (bisect_left(self.places, live.place(file, 0)) for file in (file, file + 1))
        return self.places[first:last].tobytes()


def passes(items: Items, test: str, after: str | None) -> bool:
    """Runs a test; `after` is the next one, for which fixtures may be kept."""
    reports = runtestprotocol(items[test], nextitem=items[after] if after else None, log=False)
    return not any(report.failed for report in reports)


def known(items: Items, paths: list[Path], functions: live.Functions) -> dict[str, Reach]:
    """What each test reaches of these files."""
    files = {test.partition("::")[0] for test in items}
    digests = {file: _digest([ROOT / file]) for file in files}
    other_paths = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    state = _digest([path for path in other_paths if str(path.relative_to(ROOT)) not in files]) + repr(paths)
    reach_by_digest: dict[str, dict[str, Reach]] = {}
    if RECORD.exists():
        recorded = pickle.loads(RECORD.read_bytes())  # noqa: S301
        reach_by_digest = recorded[1] if recorded[0] == state else {}
    if missing := sorted(file for file in files if digests[file] not in reach_by_digest):
        reached = _measured(items, missing, lambda: live.Probes(paths, functions))
        for file in missing:
            reach_by_digest[digests[file]] = {
                test: reach for test, reach in reached.items() if test.startswith(f"{file}::")
            }
        RECORD.parent.mkdir(exist_ok=True)
        RECORD.write_bytes(pickle.dumps((state, reach_by_digest)))
    return {
        test: reach for digest in digests.values() for test, reach in reach_by_digest[digest].items() if test in items
    }


def _measured(items: Items, files: list[str], probes: Callable[[], live.Probes]) -> dict[str, Reach]:
    running, reach_by_test = [], dict[str, Reach]()
    for index in range(child.WORKERS):
        mine = set(files[index :: child.WORKERS])
        tests = [test for test in items if test.partition("::")[0] in mine]
        running.append(child.Child(lambda folder, tests=tests: _measure(items, tests, probes(), folder)))
    for process in running:
        code, _ = process.wait()
        if code != 0:
            raise RuntimeError(f"the tests without a mutant ended with {code}\n{process.error()}")
        reach_by_test.update(pickle.loads((process.folder / "reach").read_bytes()))  # noqa: S301
        process.remove()
    return reach_by_test


def _measure(items: Items, tests: list[str], probes: live.Probes, folder: Path) -> int:
    """Runs tests with probes; writes what each reaches. AssertionError where one fails: it would catch every mutant."""
    reach_by_test = {}
    for test, after in zip(tests, [*tests[1:], None], strict=False):
        started = time.process_time()
        passed = passes(items, test, after)
        places = probes.take()
        if places:
            reach_by_test[test] = Reach(time.process_time() - started, places)
        if places and not passed:
            raise AssertionError(f"{test} fails without a mutant")
    (folder / "reach").write_bytes(pickle.dumps(reach_by_test))
    return 0


def _digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
