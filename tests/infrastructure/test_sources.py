"""What the text of the sources has to keep to: sizes that a reader keeps in mind, and no tag by the default prefix."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ATTRIBUTES = 10
LINES = 50
KEY = re.compile(r"\blink-(accept|until|lock|managed)\b|\blink-peer(=| tag)")
PRODUCT = ("shared/link_peer", "cli/link_peer_cli", "deploy/link_peer_deploy", "functions")
"""The folders of link-peer itself."""
LOCAL_CLOUD = ("cli/link_peer_cli/demo/", "cli/link_peer_cli/commands/local.py")
"""What shows the local cloud, whose worlds have the default prefix."""
PAGES = ("shared/link_peer/domain/reasons.py",)
"""Rows of pages of docs, which write the default."""
BOTH = ("shared/link_peer/domain/tags.py",)
"""`link-lock`, which has one meaning under every prefix."""


@cache
def modules(folder: str) -> dict[str, ast.Module]:
    """The syntax tree of each module in a folder of the project, by its path."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of the library's syntax trees, with its file."""
    return ((name, node) for name, tree in modules("shared/link_peer").items() for node in ast.walk(tree))


ClassKey = tuple[str, str]
"""The file of a class, and its name."""


@cache
def classes() -> dict[ClassKey, ast.ClassDef]:
    """The library's classes."""
    return {(path, node.name): node for path, node in nodes() if isinstance(node, ast.ClassDef)}


def base_classes(key: ClassKey) -> set[ClassKey]:
    """Its bases in the library: of its own file, or imported by name."""
    path, _ = key
    homes = {
        alias.asname or alias.name: (f"shared/{(node.module or '').replace('.', '/')}.py", alias.name)
        for node in ast.walk(modules("shared/link_peer")[path])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = {ast.unparse(base).partition("[")[0] for base in classes()[key].bases}
    return {homes.get(name, (path, name)) for name in names} & classes().keys()


def attributes(key: ClassKey) -> set[str]:
    """What a class and its bases in the library assign to `self`, or declare."""
    declared = {ast.unparse(node.target) for node in classes()[key].body if isinstance(node, ast.AnnAssign)}
    assigned = {
        node.attr
        for node in ast.walk(classes()[key])
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    return declared.union(assigned, *map(attributes, base_classes(key)))


def is_frozen(class_def: ast.ClassDef) -> bool:
    """Whether it is a value: its fields are those of a record, a message or an answer, and never change."""
    return any(keyword.arg == "frozen" and ast.unparse(keyword.value) == "True" for keyword in class_def.keywords)


def test_a_class_has_few_attributes() -> None:
    """With those of its bases. What belongs together is a value of its own."""
    names = {key: attributes(key) for key, node in classes().items() if not is_frozen(node)}
    wide = {key: sorted(attrs) for key, attrs in names.items() if len(attrs) > ATTRIBUTES}
    assert wide == {}
    assert len(names) > 50  # they were found


def test_a_class_has_the_attributes_of_a_base_in_another_file() -> None:
    bad_request = ("shared/link_peer/inbound/requests.py", "BadRequest")
    assert base_classes(bad_request) == {("shared/link_peer/domain/errors.py", "BadInput")}
    assert "field" in attributes(bad_request)


def test_a_name_of_a_class_means_one_thing() -> None:
    """In what link-peer is made of. `local/` is another project."""
    places: dict[str, list[str]] = {}
    for folder in PRODUCT:
        for path, tree in modules(folder).items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    places.setdefault(node.name, []).append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
    assert len(places) > 300  # they were found


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{name}:{node.lineno} {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, node in nodes()
        if isinstance(node, ast.FunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > LINES} == {}
    assert len(lengths) > 500  # they were found


PYTHON = (*PRODUCT, "tests", "benchmarks", "docs", "local")
FILTER = re.compile("simplefilter|filterwarnings")
SUPPRESSED = {"deploy/link_peer_deploy/authorities.py": {"CryptographyDeprecationWarning"}}
"""By file: what is said of data that is as it is, old certificates, and of no function that will go."""


def suppressed_warnings(tree: ast.Module) -> Iterator[str]:
    """The categories of warnings that a module suppresses, `Warning` for all of them: by a filter of `warnings`, by a
    mark of pytest, or in an environment. A filter by message alone is none for a whole category, but must not be about
    what is deprecated."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and FILTER.search(ast.unparse(node.func)):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            words = " ".join(ast.unparse(argument) for argument in arguments)
            if "ignore" in words and ("eprecat" in words or not re.search(r"\bmessage=|ignore:", ast.unparse(node))):
                yield next(iter(re.findall(r"\w*Warning\b", words)), "Warning")


def test_no_warning_of_a_deprecation_is_suppressed() -> None:
    """An SDK that deprecates a field says that what is read from it will change: it is not read, or nothing depends on
    it."""
    sources = {path: path.read_text("utf-8") for folder in PYTHON for path in (ROOT / folder).rglob("*.py")}
    categories = {
        path.relative_to(ROOT).as_posix(): set(suppressed_warnings(ast.parse(source)))
        for path, source in sources.items()
        if FILTER.search(source)  # to parse all takes seconds
    }
    assert {path: names for path, names in categories.items() if names} == SUPPRESSED
    settings = (ROOT / "pyproject.toml", ROOT / "local/pyproject.toml", ROOT / "Makefile", ROOT / ".ci/run")
    suppressing = re.compile("PYTHONWARNINGS|[\"']ignore:|-W *ignore")
    assert [path.name for path in settings if suppressing.search(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('warnings.simplefilter("ignore", DeprecationWarning)', ["DeprecationWarning"]),
        ('warnings.simplefilter(action="ignore")', ["Warning"]),
        ('filterwarnings("ignore", category=DeprecationWarning, module="mns")', ["DeprecationWarning"]),
        ('pytest.mark.filterwarnings("ignore:Call to deprecated function:DeprecationWarning")', ["DeprecationWarning"]),
        ('warnings.filterwarnings("ignore", message=".* deprecated")', ["Warning"]),
        ('warnings.filterwarnings("ignore", message="Unable to find")', []),
        ('warnings.simplefilter("error", DeprecationWarning)', []),
    ],
)
def test_a_suppressed_warning_is_found(source: str, expected: list[str]) -> None:
    assert list(suppressed_warnings(ast.parse(source))) == expected


def texts(tree: ast.Module) -> Iterator[str]:
    """The strings of a module but for docstrings."""
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value


@pytest.mark.parametrize("folder", ["shared/link_peer", "cli/link_peer_cli", "functions"])
def test_texts_name_no_key_of_the_default_prefix(folder: str) -> None:
    """A deployment may have another one: they take the key from the policy's keys."""
    texts_by_module = {
        name: [text for text in texts(tree) if KEY.search(text)] for name, tree in modules(folder).items()
    }
    bad_texts = {name: keys for name, keys in texts_by_module.items() if keys}
    assert {name: keys for name, keys in bad_texts.items() if not name.startswith((*LOCAL_CLOUD, *PAGES, *BOTH))} == {}
    assert {key for name in BOTH for key in bad_texts.get(name, []) if "link-lock" not in key} == set()


def calls_of(name: str, folder: str) -> set[str]:
    """The files in a folder that call a function, a method or a class of this name."""
    return {
        path
        for path, tree in modules(folder).items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and node.attr == name)
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name)
    }


def test_keys_are_identified_in_one_place() -> None:
    """What reads an account takes AccountKeys, which nothing makes but what has asked STS, or assumed a role of that
    account."""
    access = "cli/link_peer_cli/access/"
    assert calls_of("get_caller_identity", "cli") == {f"{access}identity.py"}
    assert calls_of("AccountKeys", "cli") == {f"{access}identity.py", f"{access}roles.py"}
    assert calls_of("Accounts", "cli") == {
        f"{access}roles.py",
        "cli/link_peer_cli/inventory/probe.py",
    }  # to assume a role
