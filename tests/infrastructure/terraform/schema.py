"""The schema of aliyun/alicloud, read from PyPI's pulumi-alicloud, which Pulumi generates from that provider.

Read with the standard library alone, since the plugin runs in an environment of its own, and without importing it: the
package needs all of Pulumi. Its names are those of Terraform but for lists, which it gives in the plural: of a list of
blocks its text names the block; of a list of values both names are offered, and none is required.
"""

from __future__ import annotations

import ast
import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGE = Path(os.environ.get("LINK_PEER_PROVIDER", ".")) / "pulumi_alicloud"
"""Where `make test-terraform` installs it."""

TYPES = {"str": "string", "bool": "bool", "int": "number", "float": "number"}


@functools.cache
def resource(kind: str) -> dict[str, Any]:
    """The arguments and attributes of a type of resource by name, without those that are deprecated.

    An argument has `type`, or `block` with `arguments` and perhaps `max`; perhaps `required` or `computed`; and
    `values` or `range` if its text says what is allowed. Raises KeyError if there is no such type.
    """
    path = _files()[kind.removeprefix("alicloud_").replace("_", "")]
    classes = _classes(path)
    [name] = [name for name in classes if name.startswith("_") and name.endswith("State")]
    arguments = _arguments(classes[f"{name[1:-5]}Args"], _inputs(path.parent))
    attributes = _arguments(classes[name], _inputs(path.parent))
    attribute_fields = {
        name: {"type": argument.get("type", "string"), "computed": True} for name, argument in attributes.items()
    }
    return {"id": {"type": "string", "computed": True}, **attribute_fields, **arguments}


@functools.cache
def _files() -> dict[str, Path]:
    return {f"{path.parent.name}{path.stem}".replace("_", ""): path for path in PACKAGE.glob("*/[a-z]*.py")}


@functools.cache
def _inputs(folder: Path) -> dict[str, ast.ClassDef]:
    path = folder / "_inputs.py"
    return _classes(path) if path.exists() else {}


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _arguments(class_def: ast.ClassDef, inputs: dict[str, ast.ClassDef]) -> dict[str, Any]:
    """What the class's `__init__` takes, described by its properties."""
    functions = [node for node in class_def.body if isinstance(node, ast.FunctionDef)]
    texts = {node.name: node for node in reversed(functions)}  # so that of a property the getter stays
    init = texts["__init__"].args
    arguments: dict[str, Any] = {}
    for argument, default in zip(init.kwonlyargs, init.kw_defaults, strict=True):
        if argument.annotation is None or "deprecated" in ast.unparse(ast.Tuple(texts[argument.arg].decorator_list)):
            continue
        text = ast.get_docstring(texts[argument.arg]) or ""
        arguments |= _argument(argument.arg, ast.unparse(argument.annotation), default is None, text, inputs)
    return arguments


def _argument(name: str, annotation: str, required: bool, text: str, inputs: dict[str, ast.ClassDef]) -> dict[str, Any]:
    """The argument by name: by each of two names if it is a list of values."""
    kind = re.sub(r"pulumi\.Input|Optional|_builtins\.|[\[\]' ]", "", annotation)
    inner = kind.removeprefix("Sequence")
    if inner in inputs:
        block: dict[str, Any] = {"block": "list", "arguments": _arguments(inputs[inner], inputs), "required": required}
        if inner == kind:
            return {name: {**block, "max": 1}}
        block_match = re.search(r"See `(\w+)` below", text)
        return {block_match[1] if block_match else name: block}
    if kind.startswith("Mapping"):
        return {name: {"type": "map", "required": required}}
    if inner != kind:
        return {each: {"type": "list"} for each in (name, name.removesuffix("s"))}
    return {name: {"type": TYPES[kind], "required": required, **_allowed(text)}}


def _allowed(text: str) -> dict[str, Any]:
    """`range`, the least and the largest number, or `values`, as far as a text says so in one of its usual forms."""
    values_match = re.search(r"Valid values?:(.*)", text, re.DOTALL)
    if not values_match:
        return {}
    if between := re.match(r" [`\[]?(\d+)`?(?: to |-)`?(\d+)", values_match[1]):
        return {"range": [int(between[1]), int(between[2])]}
    if values_match[1].startswith("\n"):
        return {"values": re.findall(r"^(?:- `)?(\w+)`?:", values_match[1], re.MULTILINE)}
    sentence = re.split(r"\.(?:\s|$)|\n", values_match[1], maxsplit=1)[0]
    return {"values": re.findall(r"`([^`]+)`", sentence)}


def not_allowed(values: dict[str, Any], arguments: dict[str, Any]) -> Iterator[str]:
    """The values that the texts do not allow, of a resource's or a block's arguments."""
    for name, value in values.items():
        rule = arguments[name]
        if isinstance(value, list) and "arguments" in rule:
            for block in value:
                yield from not_allowed(block, rule["arguments"])
        elif value is not None and not _allows(rule, value):
            yield f"{name} = {value}"


def _allows(rule: dict[str, Any], value: Any) -> bool:
    if "range" in rule:
        least, most = rule["range"]
        return bool(least <= value <= most)
    return isinstance(value, bool) or not rule.get("values") or str(value) in rule["values"]
