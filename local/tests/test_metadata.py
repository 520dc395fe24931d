"""The metadata of the distribution names what its packages import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires, version
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def declared(extra: str = "") -> dict[str, Requirement]:
    """The dependencies in the installed metadata, or what an extra adds to them, by their canonical names."""
    requirements = map(Requirement, requires("aliyun-local") or [])
    chosen = [read for read in requirements if (read.marker.evaluate({"extra": extra}) if read.marker else not extra)]
    return {canonicalize_name(read.name): read for read in chosen}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names that a module imports when it runs; those for a type checker alone are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        yield from imported(node)


def needed(paths: list[Path]) -> set[str]:
    """The distributions that modules import."""
    distributions = packages_distributions()
    return {canonicalize_name(distributions[name][0]) for name in foreign(paths)}


def foreign(paths: list[Path]) -> set[str]:
    """The names that modules import of other projects."""
    names = {name for path in paths for name in imported(ast.parse(path.read_text("utf-8")))}
    beside = {path.stem for path in Path(__file__).parent.rglob("*.py")}
    own_modules = {"aliyun_local", "aliyun_conformance", *beside, *sys.stdlib_module_names}
    return names - own_modules


def modules(package: str) -> list[Path]:
    spec = find_spec(package)
    assert spec is not None
    return [path for folder in spec.submodule_search_locations or [] for path in sorted(Path(folder).rglob("*.py"))]


def test_the_metadata_names_what_the_packages_import() -> None:
    """Nothing that is missing, and nothing that is not used; the clients, and what the selftest needs, are extras."""
    local, clients = modules("aliyun_local"), [path for path in modules("aliyun_local") if path.name == "inprocess.py"]
    base = needed([path for path in local if path not in clients])
    assert set(declared()) == base
    assert set(declared("clients")) == needed(clients) - base
    assert set(declared("selftest")) == needed(modules("aliyun_conformance")) - base


def test_the_tests_need_no_more_than_the_extras_name() -> None:
    """Those beside this one; besides the samples that they write, and what pytest brings along."""
    distributions = packages_distributions()
    imports = foreign([*Path(__file__).parent.rglob("*.py")])
    tests = {canonicalize_name(distributions[name][0]) for name in imports if name in distributions}
    assert tests <= {"packaging"} | {name for extra in ("", "clients", "selftest", "test") for name in declared(extra)}


def test_the_tested_versions_are_in_the_declared_ranges() -> None:
    """Each range is bounded on both sides and holds the version that is installed."""
    for extra in ("", "clients", "selftest", "test"):
        for name, requirement in declared(extra).items():
            assert {clause.operator for clause in requirement.specifier} == {">=", "<"}, name
            assert requirement.specifier.contains(version(name)), f"{requirement}: tested with {version(name)}"
