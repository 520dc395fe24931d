"""Which tests are tried against a mutant, and in which order."""

from __future__ import annotations

import ast
import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from tests.mutation import live
from tests.mutation.mutants import ROOT, Mutant, conditions, units
from tests.mutation.reach import SOURCES, Reach
from tests.mutation.uses import Use, Uses, module_name

MOST_IMPORTS = 4
SHARES = (4, 3, 1, 2)
"""Of the CPU time: for tests in the file named like the module, in files that name the function or import the module,
in a folder named like that of the module, and in other files."""


class Order:
    """The tests of each mutant. `reach_by_test` says what each runs of the files, which are numbered as they are
    given."""

    def __init__(self, paths: list[Path], reach_by_test: Mapping[str, Reach], mutants: list[Mutant]) -> None:
        self._paths = paths
        self._reach_by_test = reach_by_test
        self._mentions = Mentions(paths)
        self._conditions: dict[Path, list[tuple[ast.stmt, ast.expr]]] = {}
        self._tests: dict[int, list[str]] = {self._place(mutant): [] for mutant in mutants if not mutant.constant}
        for mutant in mutants:
            if mutant.constant:
                self._tests.update((place, []) for place in self.use(mutant).depths)
        self._tests.update((live.place(file, 0), []) for file in range(len(paths)))
        for test, reach in reach_by_test.items():
            for place in {*reach.places, *(live.place(file, 0) for file in set(map(live.file, reach.places)))}:
                if place in self._tests:
                    self._tests[place].append(test)

    def use(self, mutant: Mutant) -> Use:
        """How a mutant's constant is used."""
        return self._uses.of((mutant.path, mutant.unit))

    def of(self, mutant: Mutant, killers: list[str]) -> list[str]:
        """The tests that reach a mutant: those that caught another one of its function first."""
        tests = self._of_constant(mutant) if mutant.constant else self._of_statement(mutant)
        first_tests = [test for test in killers if test in set(tests)]
        return [*first_tests, *(test for test in tests if test not in set(first_tests))]

    @cached_property
    def _uses(self) -> Uses:
        return Uses(self._paths)

    def _place(self, mutant: Mutant) -> int:
        return live.place(self._paths.index(mutant.path), mutant.line)

    def _of_statement(self, mutant: Mutant) -> list[str]:
        file = self._paths.index(mutant.path)
        unit = dict(units(mutant.tree))[mutant.unit]
        if mutant.path not in self._conditions:
            self._conditions[mutant.path] = conditions(mutant.tree)
        outcomes = [
            (live.outcomes(file, index), statement)
            for index, (statement, _) in enumerate(self._conditions[mutant.path])
            if unit.lineno <= statement.lineno <= (unit.end_lineno or 0)
        ]
        ways = live.place(file, unit.lineno), live.place(file, unit.end_lineno or 0)
        all_outcomes = (outcomes[0][0][0], outcomes[-1][0][1]) if outcomes else (0, 0)
        decided = {number for numbers, statement in outcomes if statement is mutant.statement for number in numbers}
        tests = self._by_cost(self._tests[self._place(mutant)])
        ranks = {}
        turns: Counter[object] = Counter()
        for test in tests:
            places = self._reach_by_test[test].places
            outcomes_of_test = _between(places, *all_outcomes)
            way = (_between(places, *ways).tobytes(), outcomes_of_test.tobytes())
            kind = (test.partition("::")[0], *(number for number in outcomes_of_test if number in decided))
            ranks[test] = turns[way] + turns[kind]
            turns.update((way, kind))
        return self._shared(mutant, sorted(tests, key=lambda test: ranks[test]))

    def _of_constant(self, mutant: Mutant) -> list[str]:
        """In turns: the tests of the statements that name a constant, and of those that name what is made of it; those
        of files that name it, and of files that import from one that does; and the others of its module."""
        depths: dict[str, int] = {}
        for place, depth in sorted(self.use(mutant).depths.items(), key=lambda item: item[1]):
            for test in self._tests[place]:
                depths.setdefault(test, depth)
        farthest = 1 + max(depths.values(), default=-1)
        distances = self._mentions.distances(mutant.unit)
        for test in self._reach_by_test:
            distance = distances.get(test.partition("::")[0])
            if distance is not None and (test not in depths or distance == 0):
                depths[test] = farthest + distance
        for test in self._tests[live.place(self._paths.index(mutant.path), 0)]:
            depths.setdefault(test, farthest + 1 + max(distances.values(), default=0))
        queues: list[list[str]] = [[] for _ in range(1 + max(depths.values(), default=0))]
        turns: Counter[object] = Counter()
        ranks: dict[str, int] = {}
        for test in self._by_cost(list(depths)):
            queues[depths[test]].append(test)
            kind = depths[test], test.partition("::")[0]
            ranks[test] = turns[kind]
            turns[kind] += 1
        ordered = [self._shared(mutant, sorted(queue, key=lambda test: ranks[test])) for queue in queues]
        return self._in_turns(ordered, [1] * len(queues))

    def _by_cost(self, tests: list[str]) -> list[str]:
        """Those that reach little first: what they state is said of little else."""
        return sorted(tests, key=lambda test: (len(self._reach_by_test[test].places), self._reach_by_test[test].cpu))

    def _shared(self, mutant: Mutant, tests: list[str]) -> list[str]:
        """Tests in turns by how near their files are to the mutant."""
        queues: list[list[str]] = [[] for _ in SHARES]
        for test in tests:
            queues[self._distance(mutant, test)].append(test)
        return self._in_turns(queues, SHARES)

    def _in_turns(self, queues: list[list[str]], shares: Sequence[int]) -> list[str]:
        """The tests of the queues, each of which has its share of the CPU time until it is empty."""
        order: list[str] = []
        waiting = [deque(queue) for queue in queues]
        spent = [0.0 for _ in queues]
        while any(waiting):
            turn = min((index for index, queue in enumerate(waiting) if queue), key=lambda index: spent[index])
            order.append(waiting[turn].popleft())
            spent[turn] += self._reach_by_test[order[-1]].cpu / shares[turn]
        return order

    def _distance(self, mutant: Mutant, test: str) -> int:
        path = Path(test.partition("::")[0])
        if path.stem == f"test_{mutant.path.stem}":
            return 0
        names = {module_name(mutant.path), *(name for name in mutant.unit.split(".") if len(name) > 3)}
        if not names.isdisjoint(self._mentions.words(path)):
            return 1
        rooms = set(mutant.path.parts[-3:-1]) - {"link_peer", "aliyun_local", "link_peer_cli"}
        return 2 if not rooms.isdisjoint(path.parts) else 3


class Mentions:
    """The names in the files of tests, and in what tests may import besides the mutated files."""

    def __init__(self, paths: list[Path]) -> None:
        self._words: dict[Path, frozenset[str]] = {}
        self._helpers = sorted(
            path.relative_to(ROOT)
            for folder in (*SOURCES, "docs")
            for path in (ROOT / folder).rglob("*.py")
            if path not in paths and not path.name.startswith("test_")
        )
        self._tests = sorted(
            path.relative_to(ROOT) for folder in ("tests", "local") for path in (ROOT / folder).rglob("test_*.py")
        )

    def distances(self, name: str) -> dict[str, int]:
        """The files of tests that mention a name (0), that import from a file that mentions it (1), and so on."""
        distances: dict[str, int] = {}
        names, helpers = {name}, set(self._helpers)
        for distance in range(MOST_IMPORTS):
            for path in self._tests:
                if not names.isdisjoint(self.words(path)):
                    distances.setdefault(str(path), distance)
            next_helpers = {path for path in helpers if not names.isdisjoint(self.words(path))}
            helpers -= next_helpers
            names = {_imported_as(path) for path in next_helpers}
        return distances

    def words(self, path: Path) -> frozenset[str]:
        """The names in a file, and the modules that it imports."""
        if path not in self._words:
            text = (ROOT / path).read_text(encoding="utf-8")
            imports = re.findall(r"^from ([\w.]+) import \(?([\w, \n]+)", text, re.MULTILINE)
            modules = [f"{package}.{name}" for package, names in imports for name in re.findall(r"\w+", names)]
            self._words[path] = frozenset([*re.findall(r"\w+", text), *modules, *(package for package, _ in imports)])
        return self._words[path]


def _imported_as(path: Path) -> str:
    """What a file that imports or runs another one mentions: its module, or its name if it is a script."""
    if path.parts[0] == "docs":
        return path.stem
    return ".".join(path.with_suffix("").parts) if path.parts[0] == "tests" else module_name(path)


def _between(places: array[int], first: int, last: int) -> array[int]:
    return places[bisect_left(places, first) : bisect_right(places, last)]
