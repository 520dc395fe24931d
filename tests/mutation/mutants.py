"""The mutants of a module: every place of a function, or number of a module, that one small change can make wrong."""

from __future__ import annotations

import ast
import difflib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

ROOT = Path(__file__).parents[2]
LIBRARY = ("planning", "views", "engine", "inbound", "domain", "alicloud", "runtime", "app")
COMMANDS = ("adoption", "audit", "checks", "consent", "inventory", "review", "usage")
"""The rooms of the command line that decide something; the others read arguments and print."""
TARGETS = [f"shared/link_peer/{room}/**/*.py" for room in LIBRARY]
TARGETS += [f"cli/link_peer_cli/{room}/**/*.py" for room in COMMANDS]
TARGETS += [
    f"local/aliyun_local/{name}.py"
    for name in (
        "ecs/authorize",
        "ecs/rules",
        "ecs/tags",
        "ecs/groups",
        "tag/backend",
    )
]
"""The code that decides, and what the local cloud does when it is written to."""

Replacement = dict[str, Any]
"""Fields of a syntax node, with their new values."""

_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min"}
_METHODS = {"startswith": "endswith", "endswith": "startswith", "union": "intersection", "intersection": "union"}
_REMOVED = (ast.AugAssign, ast.Raise, ast.Delete)
_JUMPS: dict[type[ast.stmt], type[ast.stmt]] = {ast.Continue: ast.Break, ast.Break: ast.Continue, ast.Return: ast.Pass}
_TEXT = (ast.JoinedStr, ast.List, ast.Tuple)


class Mutant(msgspec.Struct, frozen=True):
    """`node`, a part of `statement` in the function or constant `unit`, with some fields replaced. `tree` is the
    module, `line` that of the innermost statement that changes."""

    path: Path
    unit: str
    tree: ast.Module
    statement: ast.stmt
    node: ast.AST
    replaced: Replacement
    line: int

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"

    @property
    def constant(self) -> bool:
        """Whether the mutant changes a constant of the module."""
        return constant(dict(units(self.tree))[self.unit]) is not None

    def source(self) -> ast.Module:
        """The module with the change, which stays in the tree: for a process of the mutant's own."""
        self._put(self.replaced)
        return ast.fix_missing_locations(self.tree)

    def change(self) -> tuple[str, str]:
        """The lines of the statement that change, in the form that `ast.unparse` gives them: before and after."""
        old = {name: getattr(self.node, name) for name in self.replaced}
        before = ast.unparse(self.statement).splitlines()
        self._put(self.replaced)
        after = ast.unparse(self.statement).splitlines()
        self._put(old)
        lines = list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:]
        was, now = ([line[1:].strip() for line in lines if line[0] == sign] for sign in "-+")
        return " ".join(was), " ".join(now)

    def _put(self, fields: Replacement) -> None:
        for name, value in fields.items():
            setattr(self.node, name, value)


def targets() -> list[Path]:
    """The files that are mutated."""
    return sorted({path for target in TARGETS for path in ROOT.glob(target)})


def mutants_of(path: Path) -> Iterator[Mutant]:
    """The mutants of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for unit, node in units(tree):
        for statement, part in parts(node):
            for removed, replaced in _removals(part):
                yield Mutant(path, unit, tree, statement, part, replaced, removed.lineno)
            for owner, replaced in _changes(part):
                yield Mutant(path, unit, tree, statement, owner, replaced, statement.lineno)


def units(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, ast.stmt]]:
    """The functions of a module and its constants, with their names."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield within + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from units(node, f"{within}{node.name}.")
        elif name := constant(node) if not within else None:
            yield name, node


def constant(node: ast.stmt) -> str | None:
    """The name that a statement of a module gives a value."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return targets[0].id if getattr(node, "value", None) and isinstance(targets[0], ast.Name) else None


def parts(node: ast.AST, statement: ast.stmt | None = None) -> Iterator[tuple[ast.stmt, ast.AST]]:
    """The nodes that run when a function does, each with the statement it is part of."""
    if isinstance(node, ast.stmt):
        statement = node
    assert statement is not None
    yield statement, node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            is_code = isinstance(child, ast.AST) and not isinstance(
                child, ast.arguments | ast.Assert | ast.FormattedValue
            )
            if is_code and not _asserts(node, child):
                yield from parts(child, statement)


def _asserts(node: ast.AST, child: ast.AST) -> bool:
    """Whether a part of a call asserts what holds, as `assert` does: that what `zip` is given is of one length."""
    return getattr(getattr(node, "func", None), "id", "") == "zip" and getattr(child, "arg", "") == "strict"


def conditions(tree: ast.Module) -> list[tuple[ast.stmt, ast.expr]]:
    """What the functions of a module decide by, each with the innermost statement it is part of: comparisons, what
    `and` and `or` join, and the other conditions of `if`, `while` and comprehensions."""
    pairs: list[tuple[ast.stmt, ast.expr]] = []
    for _, unit in units(tree):
        if not constant(unit):
            for statement, node in parts(unit):
                tests: list[ast.expr] = [node] if isinstance(node, ast.Compare) else []
                tests += node.values if isinstance(node, ast.BoolOp) else getattr(node, "ifs", [])
                tests += [node.test] if isinstance(node, ast.If | ast.While | ast.IfExp) else []
                pairs += [(statement, test) for test in tests if not isinstance(test, ast.Constant)]
    return list({id(test): (statement, test) for statement, test in pairs}.values())


def _removals(node: ast.AST) -> Iterator[tuple[ast.stmt, Replacement]]:
    """The statements directly within a node that may be removed, with the node's fields without them."""
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, None)
        for index, statement in enumerate(statements if isinstance(statements, list) else []):
            if replacement := _instead(
                statement, last=statement is statements[-1] and isinstance(node, ast.FunctionDef)
            ):
                yield (
                    statement,
                    {field: [*statements[:index], ast.copy_location(replacement, statement), *statements[index + 1 :]]},
                )


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, Replacement]]:
    """What may be replaced at a node: the node, or one within it, and its new fields."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for new in _COMPARE[type(operator)]:
                yield node, {"ops": [*node.ops[:index], new(), *node.ops[index + 1 :]]}
    elif isinstance(node, ast.BoolOp):
        is_and = isinstance(node.op, ast.And)
        yield node, {"op": ast.Or() if is_and else ast.And()}
        for index in range(len(node.values)):
            if _empty(node.values[index]):
                continue  # `… or ()`: what stands for nothing may be any nothing
            yield node, {"values": [*node.values[:index], ast.Constant(is_and), *node.values[index + 1 :]]}
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, {"operand": ast.UnaryOp(ast.Not(), node.operand)}
    elif isinstance(node, ast.If | ast.While | ast.IfExp) and not _covered(node.test):
        yield node, {"test": ast.UnaryOp(ast.Not(), node.test)}
    elif isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            if not _covered(test):
                yield node, {"ifs": [*node.ifs[:index], ast.UnaryOp(ast.Not(), test), *node.ifs[index + 1 :]]}
            yield node, {"ifs": [*node.ifs[:index], *node.ifs[index + 1 :]]}
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
        yield node, {"value": not node.value if isinstance(node.value, bool) else node.value + 1}
    elif isinstance(node, ast.Return) and node.value and not _covered(node.value):
        if not isinstance(node.value, ast.Constant) and not _calls_super(node):
            yield node, {"value": ast.Constant(None)}
    elif isinstance(node, ast.For):
        yield node, {"iter": ast.Tuple([], ast.Load())}
    elif isinstance(node, ast.BinOp):
        yield from _arithmetic(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)


def _empty(value: ast.expr) -> bool:
    return not getattr(value, "elts", True) or (isinstance(value, ast.Constant) and not value.value)


def _covered(test: ast.expr) -> bool:
    """Whether an expression is changed at a node within it."""
    return isinstance(test, ast.Compare | ast.BoolOp) or (
        isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
    )


def _instead(statement: ast.stmt, *, last: bool) -> ast.stmt | None:
    """What stands in a statement's place, if it may be removed."""
    stores = isinstance(statement, ast.Assign) and not isinstance(statement.targets[0], ast.Name | ast.Tuple)
    calls = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and not _calls_super(statement)
    if stores or calls or isinstance(statement, _REMOVED):
        return ast.Pass()
    if isinstance(statement, ast.Continue | ast.Break) or (
        isinstance(statement, ast.Return) and statement.value is None and not last
    ):
        return _JUMPS[type(statement)]()
    return None


def _calls_super(node: ast.AST) -> bool:
    """Whether a mutant without the node would have no `__class__`: it could not take the place of a function that
    has."""
    return "super()" in ast.unparse(node)


def _arithmetic(node: ast.BinOp) -> Iterator[tuple[ast.AST, Replacement]]:
    if isinstance(node.op, ast.BitOr | ast.BitAnd):
        yield node, {"op": ast.BitAnd() if isinstance(node.op, ast.BitOr) else ast.BitOr()}
    elif isinstance(node.op, ast.Sub):
        yield node, {"left": node.right, "right": node.left}
    elif isinstance(node.op, ast.Add):
        ends = (node.left, node.right)
        if not any(isinstance(end, _TEXT) or isinstance(getattr(end, "value", None), str) for end in ends):
            yield node, {"op": ast.Sub()}


def _calls(node: ast.Call) -> Iterator[tuple[ast.AST, Replacement]]:
    function = node.func
    if getattr(function, "id", "") == "TypeVar":
        return  # what the type checker alone reads
    if isinstance(function, ast.Name) and function.id in _NAMES:
        yield function, {"id": _NAMES[function.id]}
    elif isinstance(function, ast.Attribute) and function.attr in _METHODS:
        yield function, {"attr": _METHODS[function.attr]}
    if len(node.args) > 1 and getattr(function, "id", "") not in ("isinstance", *_NAMES):
        first, second, *later_args = node.args
        if (
            type(first) is type(second)
            and isinstance(first, ast.Name | ast.Attribute)
            and ast.dump(first) != ast.dump(second)
        ):
            yield node, {"args": [second, first, *later_args]}
    for index, keyword in enumerate(node.keywords):
        if keyword.arg and not _asserts(node, keyword):
            yield node, {"keywords": [*node.keywords[:index], *node.keywords[index + 1 :]]}


LIST = Path(__file__).with_name("equivalent.yaml")
Key = tuple[str, str, str]


def key(mutant: Mutant) -> Key:
    """What names a mutant wherever its function moves: the function, and the lines before and after."""
    return (mutant.unit, *mutant.change())


@functools.cache
def listed() -> frozenset[Key]:
    """The keys of the list."""
    return frozenset((entry["in"], entry["was"], entry["now"]) for entry in entries())


def entries() -> list[dict[str, str]]:
    """The list as it is written: `in`, `was`, `now`, `why`."""
    return yaml.safe_load(LIST.read_text(encoding="utf-8")) or []
