"""Cuts the SDKs' clients in a package to the methods that our calls reach, because a cold start reads whole modules.

The ECS client has 1,500 methods, of which we call thirteen. What is kept is the SDK's own text, on the lines where it
was: other methods, imports that nothing needs any more, and models that no kept method names become empty lines and
missing files. A method that was cut and is called after all is an AttributeError.
`tests/infrastructure/package/test_left_out.py` compares each kept method with the SDK's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import link_peer

from link_peer_deploy.archives import PackageError

CLIENTS = {
    "alibabacloud_ecs20140526/client.py": ("Client", ("ecs.py",)),
    "alibabacloud_sts20150401/client.py": ("Client", ("sts.py",)),
    "alibabacloud_tea_openapi/client.py": ("Client", ()),  # the base of both, which call it
    "aliyun/log/logclient.py": ("LogClient", ("audit_log.py", "sls.py")),
}
"""The modules that are cut, each with the class of its calls, and those of link_peer.alicloud that make them."""

_CERTIFI = '''"""Where the certificates are: beside this file. link-peer has replaced how certifi finds that out, which takes a tenth of a cold start."""

import os


def where() -> str:
    return os.path.join(os.path.dirname(__file__), "cacert.pem")


def contents() -> str:
    with open(where(), encoding="ascii") as file:
        return file.read()
'''
SWAPS = {
    "lz4/__init__.py": (  # the version of its library, in a compiled module
        "from ._version import (  # noqa: F401\n    library_version_number,\n    library_version_string,\n)\n",
        "",
    ),
    "msgspec/__init__.py": ("import inspect, json, msgpack, structs, toml, yaml", "import json, msgpack, structs"),
    "msgspec/json.py": ("from ._json_schema import schema, schema_components\n", ""),  # it imports msgspec.inspect
    # from Python 3.12 on, `isinstance` of a protocol imports inspect, ast and dis; requests 2.33 asked this
    "requests/models.py": ("        elif isinstance(data, _SupportsRead):", '        elif hasattr(data, "read"):'),
}
"""What else a cold start would import in vain: in each module a text, and what is there instead."""
NOTE = "# link-peer has removed what it does not call.\n"
"""The last line of each module that is cut [Apache License 2.0, section 4 (b)]."""
_LINE = re.compile(r"^from \.(\w+) import (\w+)$", re.MULTILINE)  # of the models' __init__
_MODEL = re.compile(r"\bmain_models\.(\w+)")
_FUNCTION, _IMPORT = (ast.FunctionDef, ast.AsyncFunctionDef), (ast.Import, ast.ImportFrom)


def cut(package: Path) -> None:
    """Cut the clients in a package folder to what link_peer.alicloud calls, and the models of ECS to those that they
    name; make the changes of SWAPS."""
    ours = Path(link_peer.__file__).with_name("alicloud")
    inherited: set[str] = set()
    for name, (client, callers) in CLIENTS.items():
        path = package / name
        method_names = inherited.union(*(_names(ours / caller) for caller in callers))
        text, called = client_with(method_names, path.read_text(encoding="utf-8"), client, path.parent)
        path.write_text(text, encoding="utf-8")
        inherited |= called
    _cut_models(package)
    (package / "certifi" / "core.py").write_text(_CERTIFI, encoding="utf-8")
    swap(package)


def swap(package: Path) -> None:
    """Make the changes of SWAPS in a package folder. Raises PackageError for a module that has changed."""
    for name, (old, new) in SWAPS.items():
        text = (package / name).read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise PackageError(f"{name} has changed, and {old!r} is not in it once: see link_peer_deploy/cut.py")
        (package / name).write_text(f"{text.replace(old, new)}\n{NOTE}", encoding="utf-8")


def client_with(method_names: set[str], source: str, client: str, folder: Path) -> tuple[str, set[str]]:
    """The source of a module with only those methods of a class that are wanted or called by another one that is kept,
    and what these use of `self`. `folder` holds the modules that it imports everything from."""
    tree = ast.parse(source)
    [body] = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == client]
    methods: dict[str, list[ast.stmt]] = {}  # a property has several of one name
    for node in body:
        if isinstance(node, _FUNCTION):
            methods.setdefault(node.name, []).append(node)
    reachable_names: set[str] = set()
    called: set[str] = set()
    pending = {name for name in methods if name in method_names or name.startswith("__")}
    while pending:
        reachable_names |= pending
        called |= {name for method_name in pending for method in methods[method_name] for name in _of_self(method)}
        pending = called & methods.keys() - reachable_names
    removed_nodes = [node for name in methods.keys() - reachable_names for node in methods[name]]
    body[:] = [node for node in body if node not in removed_nodes]
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported_names = {name for node in tree.body if isinstance(node, _IMPORT) for name in _imported(node)}

    def unused(node: ast.stmt) -> bool:
        if isinstance(node, ast.If):
            return not node.orelse and all(map(unused, node.body))
        if not isinstance(node, _IMPORT) or getattr(node, "module", "") == "__future__":
            return False
        bound = _imported(node)
        if "*" in bound:
            defined_names, reexported_names = _names_of(folder, f"{node.module}.py")  # type: ignore[union-attr]
            bound = defined_names | reexported_names - imported_names
        return used.isdisjoint(bound)

    return _without([*removed_nodes, *filter(unused, tree.body)], source), called


def _names(file: Path) -> set[str]:
    """What our code may call: attributes, and texts such as those that the name of an operation is given in."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return attributes | {str(node.value) for node in nodes if isinstance(node, ast.Constant)}


def _of_self(method: ast.AST) -> set[str]:
    used = (node for node in ast.walk(method) if isinstance(node, ast.Attribute))
    return {node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "self"}


def _imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    return {alias.asname or alias.name.partition(".")[0] for alias in node.names}


def _names_of(folder: Path, file: str) -> tuple[set[str], set[str]]:
    """The names that a module gives to what it defines, and those that it imports."""
    defined_names: set[str] = set()
    imported_names: set[str] = set()
    for node in ast.parse((folder / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            imported_names = imported_names.union(*_names_of(folder, f"{node.module}.py"))
        elif isinstance(node, _IMPORT):
            imported_names |= _imported(node)
        elif isinstance(node, (*_FUNCTION, ast.ClassDef)):
            defined_names.add(node.name)
        else:
            defined_names |= {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    return defined_names, imported_names


def _without(nodes: Iterable[ast.stmt], source: str) -> str:
    lines = source.splitlines(keepends=True)
    for node in nodes:
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        lines[first - 1 : node.end_lineno] = ["\n"] * ((node.end_lineno or 0) - first + 1)
    return "".join([*lines, "\n", NOTE])


def _cut_models(package: Path) -> None:
    """Remove the ECS models that neither the client nor a model that it needs names."""
    folder = package / "alibabacloud_ecs20140526" / "models"
    index = folder / "__init__.py"
    lines = index.read_text(encoding="utf-8")
    homes = {name: folder / f"{home}.py" for home, name in _LINE.findall(lines)}
    pending, needed_paths = [folder.parent / "client.py"], {index}
    while pending:
        new_paths = {homes[name] for name in _MODEL.findall(pending.pop().read_text(encoding="utf-8"))} - needed_paths
        pending += new_paths
        needed_paths |= new_paths
    for path in {*folder.glob("*.py")} - needed_paths:
        path.unlink()
    index.write_text(_LINE.sub(lambda line: line[0] if homes[line[2]] in needed_paths else "", lines), encoding="utf-8")
