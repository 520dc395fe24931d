"""Changes of functions where they are: every reference to a function, however it was imported, runs the changed
code."""

from __future__ import annotations

import ast
import builtins
import functools
import gc
import importlib
import sys
from array import array
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.mutants import ROOT, Mutant, conditions, constant, parts, units

Functions = dict[tuple[str, int, str], list[FunctionType]]
"""The functions of this process, by file, first line and name."""


def functions(paths: list[Path]) -> Functions:
    """The functions that these files define, also those behind decorators. Imports the files: commands would do so
    later.

    Without lambdas: they have no statement to note, two of them may begin in one line, and what holds them changes with
    them.
    """
    names = {str(path) for path in paths}
    for path in paths:
        _, *package = path.relative_to(ROOT).with_suffix("").parts  # without shared or local
        importlib.import_module(".".join(package).removesuffix(".__init__"))
    functions: Functions = {}
    gc.unfreeze()  # a handler froze what was imported before it: those objects are not listed
    for live_object in gc.get_objects():
        code = live_object.__code__ if isinstance(live_object, FunctionType) else None
        if code and code.co_filename in names and code.co_name != "<lambda>":
            functions.setdefault(_key(code), []).append(live_object)
    _caches()
    return functions


def _key(code: CodeType) -> tuple[str, int, str]:
    return code.co_filename, code.co_firstlineno, code.co_name


def put(mutant: Mutant, functions: Functions) -> None:
    """Makes this process run the mutant. LookupError if nothing in it would."""
    tree = mutant.source()
    if mutant.constant:
        _set_constant(mutant, tree)
    else:
        node = dict(units(tree))[mutant.unit]
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])  # type: ignore[attr-defined]
        replaced = _replace(compile(tree, str(mutant.path), "exec"), functions, first)
        if not replaced:
            raise LookupError(mutant.place)
    for cached in _caches():
        cached.cache_clear()


@functools.cache
def _caches() -> list[functools._lru_cache_wrapper[Any]]:
    """What remembers answers of the code. Found before the processes of the mutants begin: each would copy what it
    looks at."""
    caches = (live_object for live_object in gc.get_objects() if isinstance(live_object, functools._lru_cache_wrapper))
    return [cache for cache in caches if str(cache.__module__).startswith("link_peer")]


def _replace(code: CodeType, functions: Functions, first: int | None = None) -> int:
    """Replaces the functions that a code object defines: that which begins in a line, or all."""
    replaced = 0
    for inner in (nested for nested in code.co_consts if isinstance(nested, CodeType)):
        live_functions = functions.get(_key(inner), []) if first in (None, inner.co_firstlineno) else []
        for function in live_functions:
            if len(function.__code__.co_freevars) == len(inner.co_freevars):
                function.__code__ = inner
                replaced += 1
        if not live_functions:
            replaced += _replace(inner, functions, first)
    return replaced


def _set_constant(mutant: Mutant, tree: ast.Module) -> None:
    """Gives a module's constant its new value, and those that are made of it; in the module and where they were
    imported."""
    (home,) = (module for module in _modules() if module.__file__ == str(mutant.path))
    changed: set[str] = set()
    for name, node in units(tree):
        if name == mutant.unit or (constant(node) and changed & {getattr(node, "id", "") for node in ast.walk(node)}):
            changed.add(name)
            old = vars(home)[name]
            exec(compile(ast.Module([node], []), str(mutant.path), "exec"), vars(home))  # noqa: S102
            for module in _modules():
                if vars(module).get(name) is old:
                    setattr(module, name, vars(home)[name])


def _modules() -> list[ModuleType]:
    return [
        module for module in list(sys.modules.values()) if getattr(module, "__file__", None) and module is not builtins
    ]


LINES = 100_000
"""More than any file has."""


def place(file: int, line: int) -> int:
    """The number of a statement: of the file's number and its line."""
    return file * LINES + line


def file(place: int) -> int:
    """The number of a place's file."""
    return place // LINES


def outcomes(file: int, condition: int) -> tuple[int, int]:
    """The numbers of a condition that is false, and that is true: of the file's number and the condition's place in
    it."""
    return place(file, LINES // 2 + 2 * condition), place(file, LINES // 2 + 2 * condition + 1)


class Probes:
    """Notes which statements of some files run, and which conditions are true or false, until they are taken. Files are
    numbered as they are given."""

    def __init__(self, paths: list[Path], functions: Functions) -> None:
        self._reached: set[int] = set()
        note = self._reached.add

        def outcome(number: int, value: Any) -> Any:
            note(number + 1 if value else number)
            return value

        vars(builtins)["__reached__"] = note
        vars(builtins)["__outcome__"] = outcome
        for number, path in enumerate(paths):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            _Conditions(number, tree).visit(tree)
            for _, unit in units(tree):
                for node in [inner for _, inner in parts(unit)]:
                    _add_probes(node, number)
            _replace(compile(ast.fix_missing_locations(tree), str(path), "exec"), functions)

    def take(self) -> array[int]:
        """The places that ran since this was last asked."""
        places = array("I", sorted(self._reached))
        self._reached.clear()
        return places


def _add_probes(node: ast.AST, number: int) -> None:
    """Before each statement directly within a node, a call that notes it. (A docstring stays the first.)"""
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        if isinstance(statements, list):
            probed: list[ast.stmt] = []
            for statement in statements:
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                    noted = ast.Call(
                        ast.Name("__reached__", ast.Load()), [ast.Constant(place(number, statement.lineno))], []
                    )
                    probed.append(ast.copy_location(ast.Expr(noted), statement))
                probed.append(statement)
            setattr(node, field, probed)


class _Conditions(ast.NodeTransformer):
    """Puts a call that notes its outcome around each condition of a module."""

    def __init__(self, number: int, tree: ast.Module) -> None:
        self._numbers = {
            id(node): outcomes(number, condition)[0] for condition, (_, node) in enumerate(conditions(tree))
        }

    def visit(self, node: ast.AST) -> ast.AST:
        number, visited = self._numbers.get(id(node)), self.generic_visit(node)
        if number is None or not isinstance(visited, ast.expr):
            return visited
        call = ast.Call(ast.Name("__outcome__", ast.Load()), [ast.Constant(number), visited], [])
        return ast.copy_location(call, visited)
