"""The library stays readable: no function or object of it holds more than a reader keeps in mind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = sorted((ROOT / "shared" / "link_peer").rglob("*.py"))
ATTRIBUTES = 10
LINES = 50


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Every node of the library's syntax trees, with its file."""
    for path in LIBRARY:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            yield path, node


CLASSES = {node.name: node for _, node in nodes() if isinstance(node, ast.ClassDef)}


def attributes(made: ast.ClassDef) -> set[str]:
    """What a class and its bases in the library assign to `self`, or declare."""
    declared = {ast.unparse(one.target) for one in made.body if isinstance(one, ast.AnnAssign)}
    assigned = {
        node.attr
        for node in ast.walk(made)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    bases = (CLASSES[base.id] for base in made.bases if isinstance(base, ast.Name) and base.id in CLASSES)
    return declared.union(assigned, *map(attributes, bases))


def is_frozen(made: ast.ClassDef) -> bool:
    """Whether it is a value: its fields are those of a record, a message or an answer, and never change."""
    return any(keyword.arg == "frozen" and ast.unparse(keyword.value) == "True" for keyword in made.keywords)


@pytest.mark.parametrize("name", sorted(name for name, made in CLASSES.items() if not is_frozen(made)))
def test_a_class_has_few_attributes(name: str) -> None:
    """With those of its bases. What belongs together is a value of its own."""
    found = attributes(CLASSES[name])
    assert len(found) <= ATTRIBUTES, sorted(found)


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path, node in nodes()
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > LINES} == {}
    assert len(lengths) > 500  # they were found
