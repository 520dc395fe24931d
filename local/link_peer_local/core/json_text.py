"""Parsing JSON that clients send: the result is a value or a ValueError, whatever the input."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100
"""Levels of lists and objects: far more than the APIs accept, far fewer than Python's encoder can write."""


def loads(text: str | bytes) -> Any:
    """Parse JSON text.

    ValueError for invalid JSON, for nesting deeper than MAX_DEPTH, and for values that cannot be sent back as UTF-8
    JSON: a lone surrogate, NaN, an infinite number.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _within(outer)]
    if any(_within(outer) for outer in level):
        raise ValueError("nested too deeply")
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    return value


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
