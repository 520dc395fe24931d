"""Which tests run which statements, with which outcomes: measured once, and again for the test files that changed."""

from __future__ import annotations

import hashlib
import pickle
import re
import time
from array import array
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation import child, live
from tests.mutation.mutants import ROOT

HERE = Path(__file__).parent
MEASURES = ("live", "mutants", "reach")
"""The files of this folder that say what is measured."""
IMPORT = r"from (tests[\w.]*\.test_\w+) import"
RECORDS = ROOT / "build" / "mutation"
SOURCES = ("shared", "local", "functions", "cli", "deploy", "tests")

Items = Mapping[str, pytest.Item]
"""The collected tests by node id."""


class Reach(msgspec.Struct, frozen=True):
    """What a test runs: its CPU seconds, and the statements and outcomes as `live.Probes` numbers them."""

    cpu: float
    places: array[int]


def passes(items: Items, test: str, after: str | None) -> bool:
    """Runs a test; `after` is the next one, for which fixtures may be kept."""
    reports = runtestprotocol(items[test], nextitem=items[after] if after else None, log=False)
    return not any(report.failed for report in reports)


def known_reach(items: Items, paths: list[Path], functions: live.Functions) -> dict[str, Reach]:
    """What each test reaches of these files. What was measured of a test file is kept while no file of Python but those
    of other tests, and of the part that chooses tests by it, changes: a run that was stopped goes on."""
    files = sorted({test.partition("::")[0] for test in items})
    all_paths = [path for folder in SOURCES for path in sorted((ROOT / folder).rglob("*.py"))]
    other_paths = [path for path in all_paths if not path.name.startswith("test_")]
    numbered = [str(path.relative_to(ROOT)) for path in paths]
    state = _digest([path for path in other_paths if path.parent != HERE or path.stem in MEASURES], repr(numbered))
    records = {file: RECORDS / f"{state[:16]}-{_digest(_imported(ROOT / file), file)[:16]}.pickle" for file in files}
    if missing := [file for file in files if not records[file].exists()]:
        RECORDS.mkdir(parents=True, exist_ok=True)
        for old_record in RECORDS.iterdir():
            if not old_record.name.startswith(state[:16]):
                old_record.unlink()
        _measure_all(items, {file: records[file] for file in missing}, lambda: live.Probes(paths, functions))
    reach_by_test: dict[str, Reach] = {}
    for record in records.values():
        reach_by_test.update(pickle.loads(record.read_bytes()))  # noqa: S301
    if failing := sorted(items.keys() - reach_by_test.keys()):
        print(f"not used, since they fail without a mutant, with probes: {', '.join(failing)}", flush=True)
    return {test: reach for test, reach in reach_by_test.items() if test in items}


def _measure_all(items: Items, records: dict[str, Path], probes: Callable[[], live.Probes]) -> None:
    files = list(records)
    parts = [{file: records[file] for file in files[index :: child.WORKERS]} for index in range(child.WORKERS)]
    running = [child.Child(partial(_measure, items, part, probes)) for part in parts]
    for process in running:
        code, _ = process.wait()
        if code != 0:
            raise RuntimeError(f"the tests without a mutant ended with {code}\n{process.error()}")
        process.remove()


def _measure(items: Items, records: dict[str, Path], start: Callable[[], live.Probes], _folder: Path) -> int:
    """Runs tests with probes, and keeps what each reaches that does not fail: one that counts calls may."""
    probes = start()
    tests = [test for test in items if test.partition("::")[0] in records]
    reach_by_file: dict[str, dict[str, Reach]] = {file: {} for file in records}
    for test, after in zip(tests, [*tests[1:], None], strict=False):
        started = time.process_time()
        passed = passes(items, test, after)
        places = probes.take()
        file = test.partition("::")[0]
        if passed:
            reach_by_file[file][test] = Reach(time.process_time() - started, places)
        if after is None or after.partition("::")[0] != file:
            new = records[file].with_suffix(".new")
            new.write_bytes(pickle.dumps(reach_by_file[file]))
            new.replace(records[file])
    return 0


def _imported(path: Path) -> list[Path]:
    """A file of tests, and those that it imports from."""
    paths, new_paths = list[Path](), [path]
    while new_paths:
        paths += new_paths
        modules = {module for path in new_paths for module in re.findall(IMPORT, path.read_text(encoding="utf-8"))}
        imported_paths = {ROOT / f"{module.replace('.', '/')}.py" for module in modules}
        new_paths = sorted(path for path in imported_paths if path.exists() and path not in paths)
    return paths


def _digest(paths: list[Path], text: str) -> str:
    return hashlib.sha256(text.encode() + b"".join(path.read_bytes() for path in paths)).hexdigest()
