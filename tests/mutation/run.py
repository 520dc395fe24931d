"""One collection of the tests, then a process for each mutant, which runs the tests that reach the changed
statement."""

from __future__ import annotations

import ast
import gc
import os
from pathlib import Path

import msgspec
import pytest

from tests.mutation import fresh, live, reach
from tests.mutation.child import WORKERS, Child
from tests.mutation.mutants import Mutant
from tests.mutation.order import Order
from tests.mutation.trial import CAUGHT, LIMITED, STOPPED, SURVIVED, UNREACHED, try_tests

SURVIVAL = {
    SURVIVED: "no test that runs it fails",
    LIMITED: "no test fails within the limit",
    UNREACHED: "no test runs it",
}


class Result(msgspec.Struct, frozen=True):
    """What became of a mutant: why it `survived`, if it did, and the CPU seconds."""

    mutant: Mutant
    survived: str
    cpu: float


class Plugin:
    """Takes the place of pytest's loop over the tests it collected. Prints the survivors."""

    def __init__(self, mutants: list[Mutant], paths: list[Path], limit: float) -> None:
        self.results: list[Result] = []
        self._mutants = mutants
        self._paths = paths
        self._limit = limit
        self._killers: dict[str, list[str]] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Tries every mutant, and first the tests without one, in the same way."""
        self._items = {item.nodeid: item for item in session.items}
        self._functions = live.functions(self._paths)
        gc.collect()
        gc.freeze()
        self._reach = reach.known_reach(self._items, self._paths, self._functions)
        self._order = Order(self._paths, self._reach, self._mutants)
        self._control()
        running: dict[int, tuple[Mutant, Child]] = {}
        for mutant in self._mutants:
            if len(running) == WORKERS:
                self._note(running)
            child = self._start(mutant)
            running[child.pid] = mutant, child
        while running:
            self._note(running)
        return True

    def _note(self, running: dict[int, tuple[Mutant, Child]]) -> None:
        """Waits for the next mutant that ends, and keeps its result."""
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        mutant, child = running.pop(ended.si_pid)
        (code, cpu), error, test = child.wait(), child.error(), self._last_test(child)
        if code == CAUGHT or code in STOPPED:
            self._killers.setdefault(mutant.unit, []).insert(0, test)
        elif code not in SURVIVAL:
            raise RuntimeError(f"{mutant.place}: the process of the mutant ended with {code} in {test}\n{error}")
        self.results.append(Result(mutant, SURVIVAL.get(code, ""), cpu))
        if code in SURVIVAL:
            was, now = mutant.change()
            print(f"\n{mutant.place} {mutant.unit}: {SURVIVAL[code]}\n- {was}\n+ {now}", flush=True)
        elif len(self.results) % 50 == 0:
            print(f"{len(self.results)} of {len(self._mutants)} tried", flush=True)

    def _last_test(self, child: Child) -> str:
        path = child.folder / "test"
        test = path.read_text() if path.exists() else ""
        child.remove()
        return test

    def _control(self) -> None:
        """Tries the code as it is, in the ways in which mutants are tried. RuntimeError where a test fails."""
        fresh_mutants = [mutant for mutant in self._mutants if self._is_copied(mutant)]
        for mutant in [self._mutants[0], *fresh_mutants[:1]]:
            control = self._start(mutant, changed=False)
            (code, _), error = control.wait(), control.error()
            test = self._last_test(control)
            if code == CAUGHT or code not in SURVIVAL:
                raise RuntimeError(f"without a mutant: {code} in {test}\n{error}")

    def _is_copied(self, mutant: Mutant) -> bool:
        """Whether only a process that imports its module anew runs the mutant."""
        return mutant.constant and ((use := self._order.use(mutant)).copied or not use.depths)

    def _start(self, mutant: Mutant, *, changed: bool = True) -> Child:
        """A process that tries the mutant, or the code as it is."""
        tests = self._order.of(mutant, self._killers.get(mutant.unit, []))
        cpu_by_test = {test: self._reach[test].cpu for test in tests}
        copied = self._is_copied(mutant)

        def work(folder: Path) -> int:
            if copied:
                tree = mutant.source() if changed else mutant.tree
                return fresh.run(mutant.path, ast.unparse(tree), cpu_by_test, self._limit, folder)
            try:
                if changed and tests:
                    live.put(mutant, self._functions)
            except (TypeError, ValueError, AttributeError):
                return CAUGHT  # its constant cannot be made: no test could import the module
            return try_tests(self._items, cpu_by_test, self._limit, folder)

        return Child(work)
