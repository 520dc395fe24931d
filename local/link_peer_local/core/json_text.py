"""JSON that clients send: whatever comes is a value or a ValueError."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 100
"""Levels of lists and objects. Far beyond what the APIs take, far below what Python's own encoder can write again."""


def loads(text: str | bytes) -> Any:
    """The value. ValueError for what is no JSON, for deeper nesting, and for what no answer in UTF-8 JSON could hold:
    half of a surrogate pair, NaN, a number beyond all numbers."""
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
