"""One collection of the tests, then a process for each mutant, which runs the tests that reach the changed statement."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from tests.mutation import live, reach
from tests.mutation.child import WORKERS, Child
from tests.mutation.mutants import Mutant

CAUGHT, SURVIVED, LIMITED, UNREACHED = range(4)
SURVIVAL = {
    SURVIVED: "no test that runs it fails",
    LIMITED: "no test fails within the limit",
    UNREACHED: "no test runs it",
}
STOPPED = (-signal.SIGPROF, -signal.SIGALRM)
"""How a test ends that does not end by itself: it has needed twenty times its CPU time and ten seconds, or has waited."""


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
        self._reach = reach.known(self._items, self._paths, self._functions)
        self._reaching = self._tests_by_place()
        control = Child(lambda folder: self._try(None, self._order(self._mutants[0]), folder))
        if (code := control.wait()[0]) == CAUGHT or code not in SURVIVAL:
            raise RuntimeError(f"without a mutant: {code} in {self._last_test(control)}")
        running: dict[int, tuple[Mutant, Child]] = {}
        for mutant in self._mutants:
            if len(running) == WORKERS:
                self._note(running)
            child = Child(lambda folder, mutant=mutant: self._try(mutant, self._order(mutant), folder))
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

    def _tests_by_place(self) -> dict[int, list[str]]:
        """The tests that reach the statement of a mutant, cheap ones first. Those of a constant are all of its file."""
        tests_by_place: dict[int, list[str]] = {self._place(mutant): [] for mutant in self._mutants}
        for test in sorted(self._reach, key=lambda test: self._reach[test].cpu):
            places = self._reach[test].places
            for place in {*places, *(live.place(file, 0) for file in {live.file(place) for place in places})}:
                if place in tests_by_place:
                    tests_by_place[place].append(test)
        return tests_by_place

    def _place(self, mutant: Mutant) -> int:
        return live.place(self._paths.index(mutant.path), 0 if mutant.constant else mutant.line)

    def _order(self, mutant: Mutant) -> list[str]:
        """The tests that reach a mutant: those of the file named like its module; those that caught another one of its
        function; those in a folder named like its own; then the others. Of each, first one for each way through the module."""
        turns: dict[bytes, int] = {}
        order: list[tuple[bool, bool, bool, int, int]] = []
        rooms = set(mutant.path.parts[-3:-1]) - {"link_peer", "aliyun_local"}
        file = self._paths.index(mutant.path)
        tests = self._reaching[self._place(mutant)]
        for index, test in enumerate(tests):
            way = self._reach[test].way(file)
            turns[way] = turns.get(way, 0) + 1
            path = Path(test.partition("::")[0])
            is_namesake = path.stem == f"test_{mutant.path.stem}"
            near = not rooms.isdisjoint(path.parts)
            is_killer = test in self._killers.get(mutant.unit, ())
            order.append((not is_namesake, not is_killer, not near, turns[way], index))
        return [tests[index] for *_, index in sorted(order)]

    def _try(self, mutant: Mutant | None, tests: list[str], folder: Path) -> int:
        """Runs tests until one fails: the exit code of the mutant's process."""
        try:
            if mutant and tests:
                live.put(mutant, self._functions)
        except (TypeError, ValueError, AttributeError):
            return CAUGHT  # its constant cannot be made: no test could import the module
        started = time.process_time()
        for test, after in zip(tests, [*tests[1:], None], strict=False):
            if time.process_time() - started > self._limit:
                return LIMITED
            (folder / "test").write_text(test)
            signal.setitimer(signal.ITIMER_PROF, 10 + 20 * self._reach[test].cpu)
            signal.alarm(round(120 + 100 * self._reach[test].cpu))
            if not reach.passes(self._items, test, after):
                return CAUGHT
        return SURVIVED if tests else UNREACHED
