"""EventBridge event patterns: which events a rule matches.

Keys are ANDed, the values in a key's array are ORed, and comparison is exact and case-sensitive [doc
help.aliyun.com/en/eventbridge/user-guide/event-patterns]. Conditions with an operator, such as `{"prefix": "acs."}`,
are not offered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aliyun_local.core.errors import ApiError

_ABSENT = object()


class Pattern:
    """A parsed pattern; ValueError for one that the service would refuse, ApiError for one that is not offered here."""

    def __init__(self, text: str) -> None:
        document = json.loads(text)
        if not isinstance(document, dict):
            raise ValueError("an event pattern must be a JSON object")
        _check(document, "")
        self._document = document

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether the event meets every condition."""
        return _object_matches(self._document, event)


def _check(node: Mapping[str, Any], where: str) -> None:
    for key, condition in node.items():
        path = f"{where}.{key}".lstrip(".")
        if isinstance(condition, dict):
            _check(condition, path)
        elif not isinstance(condition, list) or not condition:
            raise ValueError(f"{path}: must be an array of values or an object")
        elif any(isinstance(value, list) for value in condition):
            raise ValueError(f"{path}: an array inside an array")
        elif any(isinstance(value, dict) for value in condition):
            message = f"{path}: operators of event patterns exist, but the local cloud does not offer them."
            raise ApiError("NotOfferedByLocalCloud", 501, message)


def _object_matches(pattern: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    for key, condition in pattern.items():
        value = event.get(key, _ABSENT)
        if isinstance(condition, dict):
            if not _object_matches(condition, value if isinstance(value, dict) else {}):
                return False
        elif not any(_equal(choice, element) for choice in condition for element in _values(value)):
            return False
    return True


def _values(value: Any) -> list[Any]:
    """What is compared: an array in the event matches if any of its values does."""
    return value if isinstance(value, list) else [value]


def _equal(expected: Any, actual: Any) -> bool:
    """JSON equality: true is not 1."""
    return isinstance(expected, bool) == isinstance(actual, bool) and expected == actual
