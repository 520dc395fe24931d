"""No text of the library or of the commands names a tag by the default prefix: a deployment may have another one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = re.compile(r"\blink-(accept|until|lock|managed)\b|\blink-peer(=| tag)")
LOCAL_CLOUD = ("cli/link_peer_cli/demo/", "cli/link_peer_cli/commands/local.py")
"""What shows the local cloud, whose worlds have the default prefix."""
PAGES = ("shared/link_peer/domain/reasons.py",)
"""Rows of pages of docs, which write the default."""
BOTH = ("shared/link_peer/domain/tags.py",)
"""`link-lock`, which has one meaning under every prefix."""


def texts(path: Path) -> Iterator[str]:
    """The strings of a module but for docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    statements = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in statements:
            yield node.value


@pytest.mark.parametrize("folder", ["shared/link_peer", "cli/link_peer_cli", "functions"])
def test_texts_name_no_key_of_the_default_prefix(folder: str) -> None:
    """They take the key from the policy's keys."""
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if keys := [text for text in texts(path) if KEY.search(text)]:
            found[name] = keys
    left = {name: keys for name, keys in found.items() if not name.startswith((*LOCAL_CLOUD, *PAGES, *BOTH))}
    assert left == {}
    assert {key for name in BOTH for key in found.get(name, []) if "link-lock" not in key} == set()
