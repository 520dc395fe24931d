"""The map as an HTML page that loads nothing: its style, its data and its scripts are inside.

Cytoscape.js draws the graph; it is in page/vendor/ as npm publishes it, with its licence.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from string import Template
from typing import Any

SCRIPTS = ("model", "layout", "graph", "matrix", "story", "main")


def html(document: Mapping[str, Any]) -> str:
    """Return the page for the document of `link-peer map --format json`.

    Names and tags are other people's texts: the data is JSON in which no character can end a script element, and the
    page only runs scripts whose hashes are in its Content-Security-Policy.
    """
    script = "".join(_read(f"{name}.js") for name in SCRIPTS)
    inlined = {
        "cytoscape": _read("vendor/cytoscape.min.js"),
        "script": f'(() => {{\n"use strict";\n{script}}})();\n',
    }
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in inlined.values())
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}"
    return Template(_read("page.html")).substitute(
        inlined,
        policy=policy,
        css=_read("page.css"),
        data=_embedded(document),
        licences=_read("vendor/LICENSES.txt"),
    )


def _embedded(document: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: without `<`, `>`, `&` and characters beyond ASCII."""
    text = json.dumps(document)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read(name: str) -> str:
    return files(__package__).joinpath(f"page/{name}").read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
