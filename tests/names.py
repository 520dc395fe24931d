"""Finds variables, parameters, fields, attributes, functions and classes whose names do not say what they hold:
`found`, `one`, `left` and the like. `make lint` runs it. A field whose name other programs read has that one as its
`name`: `msgspec.field(name="left")`.

    python -m tests.names [FOLDER…]
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("shared", "cli", "deploy", "functions", "benchmarks", "local", "tests", "docs")
_WORDS = """
one ones other others another some any those these this that it they them such same own both none nothing something
anything everything everyone more rest here there why what which who whom whose found left said told given made seen
kept gone asked wanted done shown named known taken held meant begun got lost thought came went
"""
WORDS = frozenset(_WORDS.split())
"""Pronouns, participles and fillers. CONTRIBUTING has what to write instead."""
OPTIONS = {
    "cli/link_peer_cli/commands/consent.py": {"what", "who"},
    "cli/link_peer_cli/commands/plan.py": {"what"},
    "cli/link_peer_cli/commands/who.py": {"who"},
}
"""Commands, and arguments that typer reads: people see their names."""


def names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The line and the name of each variable, parameter, field, attribute and function of a module; those of classes,
    and of other types, in lower case."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if node.id.isupper() else node.id.lower()
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.lineno, node.name.lower()
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.lineno, node.name


def poor_names(folder: str) -> Iterator[str]:
    """`path:line: name` of each that is one of WORDS, with or without underscores at its ends."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        if "build" in path.relative_to(ROOT).parts:  # a copy from which a wheel was built
            continue
        place = path.relative_to(ROOT).as_posix()
        for line, name in names(ast.parse(path.read_text("utf-8"))):
            if name.strip("_") in WORDS and name not in OPTIONS.get(place, ()):
                yield f"{place}:{line}: {name}"


def main(folders: list[str]) -> int:
    """Print what was found; return the exit code."""
    poor = [row for folder in folders or FOLDERS for row in poor_names(folder)]
    print(
        "\n".join(
            [*poor, f"{len(poor)} names do not say what they hold"] if poor else ["every name says what it holds"]
        )
    )
    return int(bool(poor))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
