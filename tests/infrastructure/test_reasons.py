"""No module decides by the code of a reason: it reads the kind, or a field of the denial."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from link_peer.domain import reasons
from link_peer.domain.reasons import REASONS, Reason

from tests.infrastructure.test_sources import modules

MAKERS = {f"shared/link_peer/domain/{name}.py" for name in ("reasons", "denial", "denials")}
"""The table, and the functions that make denials."""
ROWS = {name for name, row in vars(reasons).items() if isinstance(row, Reason)}


def sources() -> dict[str, ast.Module]:
    """The syntax tree of each module that may decide."""
    return {
        name: tree
        for folder in ("shared/link_peer", "cli/link_peer_cli", "functions")
        for name, tree in modules(folder).items()
        if "/demo/" not in name  # it checks what the records of its own world say
    }


def conditions(tree: ast.AST) -> Iterator[ast.AST]:
    """What a module compares, branches on, or looks up."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield node
        elif isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            yield node.subject
        elif isinstance(node, ast.Subscript):
            yield node.slice


def reads_a_code(condition: ast.AST) -> bool:
    """Whether a condition reads a denial's reason, but for its kind, or the reason of a record."""
    kinds = {id(node.value) for node in ast.walk(condition) if isinstance(node, ast.Attribute) and node.attr == "kind"}
    for node in ast.walk(condition):
        if isinstance(node, ast.Attribute) and node.attr == "reason" and id(node) not in kinds:
            return True
        values = (
            node.args[:1] if isinstance(node, ast.Call) else [node.slice] if isinstance(node, ast.Subscript) else []
        )
        if any(_text(arg) == "reason" for arg in values):
            return True
    return False


def asks_for_a_code(node: ast.AST) -> bool:
    """Whether a dict, of which a query is made, has the code of a reason as its `reason`."""
    pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    return any(_text(key) == "reason" and _text(value) in REASONS for key, value in pairs)


def names_a_row(node: ast.AST) -> bool:
    """Whether it makes a denial, or imports the table's module as a whole, or a row."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "Denial"
    if not isinstance(node, ast.ImportFrom):
        return False
    names = {alias.name for alias in node.names}
    whole = node.module == "link_peer.domain" and "reasons" in names
    return whole or (node.module == "link_peer.domain.reasons" and bool(names & ROWS))


def _text(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def faults(tree: ast.Module) -> set[int]:
    """The lines on which a module reads a code, makes a denial, or names a row of the table."""
    lines = {node.lineno for node in conditions(tree) if isinstance(node, ast.expr) and reads_a_code(node)}
    return lines | {
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict | ast.ImportFrom | ast.Call) and (asks_for_a_code(node) or names_a_row(node))
    }


def test_nothing_is_decided_by_a_code() -> None:
    """Only the table and the functions that make denials name a row, and only they make one."""
    faults_by_name = {name: faults(tree) for name, tree in sources().items() if name not in MAKERS}
    assert {name: lines for name, lines in faults_by_name.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "from link_peer.domain import reasons",
        'x = Denial(row, "")',
        "from link_peer.domain.reasons import QUOTA",
        'if denial.reason.code == "quota": pass',
        "x = 1 if loss.denial.reason.code in CODES else 2",
        "x = decision.denial.reason is other",
        "x = TABLE[denial.reason.code]",
        'x = [r for r in records if r.get("reason") in ("no-access", "paused")]',
        'x = record["reason"] == "no-consent"',
        'x = condition({"reason": "no-consent"})',
        'match why.reason.code:\n    case "quota": pass',
    ],
)
def test_every_way_to_decide_by_a_code_is_found(text: str) -> None:
    assert faults(ast.parse(text))
