"""Where the constants of modules are used: by which statements of functions, and by what an import makes of them."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import msgspec

from tests.mutation.live import place
from tests.mutation.mutants import constant, parts, units

Owner = tuple[Path, str]
"""A constant or a class, by the module that defines it."""


class Use(msgspec.Struct, frozen=True):
    """`depths` has the statements that name a constant (0), that name what is made of it (1), and so on. A constant is
    `copied` where an import makes something else of it than a constant of its own module: a class, a default, a
    decorator."""

    depths: dict[int, int]
    copied: bool


class Uses:
    """The uses of every constant and class of some files, which are numbered as they are given."""

    def __init__(self, paths: list[Path]) -> None:
        self._readers: dict[Owner, set[int]] = defaultdict(set)
        self._makers: dict[Owner, set[Owner]] = defaultdict(set)
        self._copied: set[Owner] = set()
        modules = {module_name(path): path for path in paths}
        for number, path in enumerate(paths):
            self._read(path, number, modules)

    def of(self, owner: Owner) -> Use:
        """The uses of a constant."""
        return Use(self._depths(owner), self._is_copied(owner, set()))

    def _depths(self, owner: Owner) -> dict[int, int]:
        depths: dict[int, int] = {}
        owners, known_owners, depth = {owner}, {owner}, 0
        while owners:
            for reader in set().union(*(self._readers[each] for each in owners)):
                depths.setdefault(reader, depth)
            owners = set().union(*(self._makers[each] for each in owners)) - known_owners
            known_owners |= owners
            depth += 1
        return depths

    def _is_copied(self, owner: Owner, on_the_way: set[Owner]) -> bool:
        on_the_way.add(owner)
        return owner in self._copied or any(
            self._is_copied(maker, on_the_way) for maker in self._makers[owner] - on_the_way
        )

    def _read(self, path: Path, number: int, modules: dict[str, Path]) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = _names(tree, path, modules)
        for name, unit in units(tree):
            if constant(unit):
                for owner in _mentioned([unit], names, modules):
                    self._makers[owner].add((path, name))
                    if owner[0] != path:
                        self._copied.add(owner)
                continue
            places = set()
            for statement, node in parts(unit):
                places.add(place(number, statement.lineno))
                for owner in _mentioned([node], names, modules, nested=False):
                    self._readers[owner].add(place(number, statement.lineno))
            class_name, _, method = name.rpartition(".")
            if method:
                self._readers[path, class_name.partition(".")[0]] |= places
            for owner in _mentioned(_headings(unit), names, modules):
                self._copied.add(owner)
                self._readers[owner] |= places
        for statement in (node for node in tree.body if isinstance(node, ast.ClassDef)):
            functions = [
                node for node in ast.walk(statement) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
            inner = {id(node) for function in functions for node in ast.walk(function)}
            nodes = [node for node in ast.walk(statement) if id(node) not in inner]
            for owner in _mentioned(nodes, names, modules, nested=False) - {(path, statement.name)}:
                self._makers[owner].add((path, statement.name))
                self._copied.add(owner)


def module_name(path: Path) -> str:
    """The name by which a file is imported."""
    package = path.with_suffix("").parts
    packages = ("link_peer", "link_peer_cli", "link_peer_deploy", "aliyun_local")
    first = next((index for index, part in enumerate(package) if part in packages), 0)
    return ".".join(package[first:]).removesuffix(".__init__")


def _headings(function: ast.AST) -> list[ast.AST]:
    """What runs when a function is defined: its decorators and its defaults."""
    arguments = getattr(function, "args", None)
    defaults = [*arguments.defaults, *(node for node in arguments.kw_defaults if node)] if arguments else []
    return [*getattr(function, "decorator_list", []), *defaults]


def _names(tree: ast.Module, path: Path, modules: dict[str, Path]) -> dict[str, Owner | Path]:
    """What the names of a module mean: constants and classes of its own and of others, and modules."""
    names: dict[str, Owner | Path] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if f"{node.module}.{alias.name}" in modules:
                    names[alias.asname or alias.name] = modules[f"{node.module}.{alias.name}"]
                elif node.module in modules:
                    names[alias.asname or alias.name] = modules[node.module], alias.name
    for node in tree.body:
        if name := node.name if isinstance(node, ast.ClassDef) else constant(node):
            names[name] = path, name
    return names


def _mentioned(
    nodes: list[ast.AST], names: dict[str, Owner | Path], modules: dict[str, Path], *, nested: bool = True
) -> set[Owner]:
    owners: set[Owner] = set()
    for node in (inner for outer in nodes for inner in (ast.walk(outer) if nested else [outer])):
        meaning = names.get(node.id) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else None
        if isinstance(meaning, tuple):
            owners.add(meaning)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = names.get(node.value.id)
            if isinstance(module, Path):
                owners.add((module, node.attr))
    return owners
