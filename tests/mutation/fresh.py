"""Mutants of what an import copies, like the type of a field: a process that has imported nothing imports the changed
module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

import pytest

from tests.mutation.child import BROKEN
from tests.mutation.mutants import ROOT
from tests.mutation.trial import CAUGHT, LIMITED, STOPPED, SURVIVED, UNREACHED, try_tests

_FAILED: dict[int, int] = {pytest.ExitCode.INTERRUPTED: CAUGHT, pytest.ExitCode.USAGE_ERROR: CAUGHT}
"""What became of a mutant whose tests, or whose fixtures, cannot be imported."""


def run(path: Path, source: str, cpu_by_test: Mapping[str, float], limit: float, folder: Path) -> int:
    """Runs tests, in their order, with another text for a module: what became of the mutant. `cpu_by_test` says what
    each test needs; those that do not fit into twice the limit are left out, since each file takes time to collect."""
    chosen, cpu = dict[str, float](), 0.0
    for test, seconds in cpu_by_test.items():
        if cpu < 2 * limit:
            chosen[test] = seconds
            cpu += seconds
    work = {"path": str(path), "source": source, "tests": chosen, "limit": limit, "folder": str(folder)}
    if not chosen:
        return UNREACHED
    (folder / "work").write_text(json.dumps(work), encoding="utf-8")
    command = [sys.executable, "-m", "tests.mutation.fresh", str(folder / "work")]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
    if code == SURVIVED and len(chosen) < len(cpu_by_test):
        return LIMITED
    return CAUGHT if code in STOPPED else code if code >= 0 else BROKEN


class Plugin:
    """Takes the place of pytest's loop over the tests that it collected."""

    def __init__(self, cpu_by_test: Mapping[str, float], limit: float, folder: Path) -> None:
        self.code: int | None = None
        self._cpu_by_test = cpu_by_test
        self._limit = limit
        self._folder = folder

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries the tests in their own order."""
        items = {item.nodeid: item for item in session.items}
        cpu_by_test = {test: cpu for test, cpu in self._cpu_by_test.items() if test in items}
        self.code = try_tests(items, cpu_by_test, self._limit, self._folder)
        return True


def main(path: Path) -> int:
    """Runs the tests that a file of `run` names: what became of the mutant. It is caught, too, where no test can be
    collected."""
    work = json.loads(path.read_text(encoding="utf-8"))
    code_of = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        if loader.path != work["path"]:
            return code_of(loader, name)
        return compile(work["source"], work["path"], "exec", dont_inherit=True)

    setattr(SourceFileLoader, "get_code", get_code)  # noqa: B010
    plugin = Plugin(work["tests"], work["limit"], Path(work["folder"]))
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist"]
    code = pytest.main([*options, *dict.fromkeys(test.partition("::")[0] for test in work["tests"])], plugins=[plugin])
    return plugin.code if plugin.code is not None else _FAILED.get(int(code), BROKEN)


if __name__ == "__main__":
    os._exit(main(Path(sys.argv[1])))
