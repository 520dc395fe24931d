"""The mutants that `make mutate` tries: which there are, that they run, and which are listed as equivalent."""

from __future__ import annotations

import ast
import gc
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from link_peer.domain.tags import compact
from link_peer.inbound import message_body
from link_peer_cli.inventory.shown import EXACT
from link_peer_cli.usage import shown as usage

from tests.mutation import fresh, live
from tests.mutation.child import Child
from tests.mutation.mutants import ROOT, Mutant, conditions, entries, key, listed, mutants_of, targets
from tests.mutation.order import Order
from tests.mutation.reach import Reach
from tests.mutation.trial import CAUGHT, SURVIVED
from tests.mutation.uses import Uses


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("return a < 1", ["return a <= 1", "return a >= 1", "return a < 2"]),
        ("return not a", ["return not not a"]),
        ("return a and b", ["return a or b", "return True and b", "return a and True"]),
        ("return a or ()", ["return a and ()", "return False or ()"]),
        ("return a - b", ["return None", "return b - a"]),
        ("return a | b", ["return None", "return a & b"]),
        ("return 'a' + b", ["return None"]),
        ("return [x for x in a if x]", ["return None", "return [x for x in a if not x]", "return [x for x in a]"]),
        ("return any(a)", ["return None", "return all(a)"]),
        ("return f(a, b)", ["return None", "return f(b, a)"]),
        ("return zip(a, b, strict=True)", ["return None", "return zip(b, a, strict=True)"]),
        ("return f(a=a, **b)", ["return None", "return f(**b)"]),
        ("a.b = b", ["pass"]),
        ("a.append(b)", ["pass"]),
        ("raise ValueError", ["pass"]),
        ("for _ in a: break", ["continue", "for _ in ():"]),
        ("assert a > 1", []),
    ],
)
def test_a_statement_has_these_mutants(tmp_path: Path, line: str, changed: list[str]) -> None:
    """Text, annotations and what the type checker finds anyway are left alone."""
    path = tmp_path / "module.py"
    path.write_text(f"def decide(a, b):\n    {line}\n")
    assert sorted(now for _, now in map(Mutant.change, mutants_of(path))) == sorted(changed)


@pytest.fixture(name="functions", scope="module")
def _functions() -> live.Functions:
    """Found once, before the processes of the mutants begin: each would import and look at everything."""
    functions = live.functions(targets())
    gc.freeze()
    return functions


@pytest.fixture(name="uses", scope="module")
def _uses() -> Uses:
    return Uses(targets())


def runs(functions: live.Functions, path: str, unit: str, now: str, shows: Callable[[], bool]) -> bool:
    """Whether a mutant changes what a process of its own shows."""
    [target] = [target for target in targets() if str(target).endswith(path)]
    [mutant] = [candidate for candidate in mutants_of(target) if (candidate.unit, candidate.change()[1]) == (unit, now)]

    def work(_: Path) -> int:
        live.put(mutant, functions)
        return int(not shows())

    child = Child(work)
    code, _ = child.wait()
    child.remove()
    return code == 0


def test_a_mutant_runs_wherever_its_function_was_imported(functions: live.Functions) -> None:
    """This module imported the function before; so did others."""
    assert runs(
        functions,
        "domain/tags.py",
        "compact",
        "when = _EPOCH - timedelta(seconds=math.floor(epoch))",
        lambda: compact(1).startswith("1969"),
    )
    assert runs(
        functions,
        "inbound/message_body.py",
        "MAX_BYTES",
        "MAX_BYTES = 65 * 1024",
        lambda: message_body.MAX_BYTES == 65 * 1024,
    )
    assert (compact(1), message_body.MAX_BYTES) == ("19700101T000001Z", 64 * 1024)


def test_a_type_that_a_decoder_copied_is_tried_in_a_process_that_imports_it_anew(uses: Uses, tmp_path: Path) -> None:
    """The tests pass there with the module as it is, and fail with a cursor whose groups may have any name."""
    path = ROOT / "shared/link_peer/planning/cursor.py"
    [mutant] = [
        mutant for mutant in mutants_of(path) if mutant.unit == "_GroupId" and mutant.change()[1].endswith("Meta()]")
    ]
    assert uses.of((path, "_GroupId")).copied
    name = "test_a_cursor_that_link_peer_would_not_write_is_none[suspects-good3-bad3]"
    tests = {f"tests/unit/planning/test_cursor.py::{name}": 1.0}
    source = path.read_text(encoding="utf-8")
    assert fresh.run(path, source, tests, 30, tmp_path) == SURVIVED
    assert fresh.run(path, ast.unparse(mutant.source()), tests, 30, tmp_path) == CAUGHT


def test_a_constant_is_used_where_functions_name_it(uses: Uses) -> None:
    """Directly, or what is made of it; a constant that no import copies can be changed where it is."""
    path = ROOT / "shared/link_peer/inbound/message_body.py"
    use = uses.of((path, "MAX_BYTES"))
    file = targets().index(path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not use.copied
    assert {live.file(place) for place in use.depths} == {file}
    assert all("MAX_BYTES" in lines[place % live.LINES - 1] for place in use.depths)


def test_each_outcome_of_the_changed_statement_has_its_turn(tmp_path: Path) -> None:
    """Ten tests in which the condition holds do not come before the one in which it does not, though that one runs
    more."""
    path = tmp_path / "link_peer" / "module.py"
    path.parent.mkdir()
    path.write_text("def decide(a):\n    if a:\n        return 1\n    return 2\n")
    mutant = next(mutants_of(path))
    assert len(conditions(mutant.tree)) == 1
    no, yes = live.outcomes(0, 0)
    reach_by_test = {
        f"tests/unit/domain/test_model.py::{name}": Reach(0.1, array("I", [live.place(0, 2), *places]))
        for name, places in [*((f"yes_{n}", [yes]) for n in range(10)), ("no", [live.place(0, 3), no])]
    }
    assert "test_model.py::no" in "".join(Order([path], reach_by_test, [mutant]).of(mutant, [])[:2])


def test_functions_of_one_line_stay_apart(functions: live.Functions) -> None:
    """Probes change nothing that the code does, also where a table has two functions in a line."""
    [column] = [column for column in usage.USES.columns if column.name == "not known"]
    rule: Any = SimpleNamespace(unknown=["no log", "no sender"])

    def work(_: Path) -> int:
        live.Probes([Path(str(usage.__file__))], functions)
        texts = column.text(rule, EXACT), column.text(rule, EXACT, brief=True)
        return int(texts != ("no log; no sender", "2"))

    child = Child(work)
    code, _ = child.wait()
    child.remove()
    assert code == 0


def test_each_equivalent_mutant_is_still_one_and_has_a_reason() -> None:
    """An entry that no mutant has any more is removed from the list."""
    units = {entry["in"] for entry in entries()}
    mutant_keys = {key(mutant) for path in targets() for mutant in mutants_of(path) if mutant.unit in units}
    for entry in entries():
        assert set(entry) == {"in", "was", "now", "why"}
        assert len(entry["why"]) > 20
    assert listed() - mutant_keys == set()
    assert len(listed()) == len(entries())
