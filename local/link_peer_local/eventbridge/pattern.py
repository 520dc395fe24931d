"""EventBridge event patterns: which events a rule matches.

Keys are ANDed, the values in a key's array are ORed, and comparison is exact and case-sensitive
[doc help.aliyun.com/en/eventbridge/user-guide/event-patterns]:

    "source": ["acs.ecs"]                      the value; null and "" too
    {"prefix": "acs."} {"suffix": ".jpg"} {"contains": "Normal"}
    {"anything-but": "x" | 1 | ["x", "y"] | {"prefix": "x"}}
    {"numeric": [">", 0, "<=", 5]}
    {"cidr": "10.0.0.0/24"}                    IPv4 only
    {"exists": true | false}                   leaves only
"""

from __future__ import annotations

import ipaddress
import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_ABSENT = object()


class Pattern:
    """A parsed pattern; ValueError for one that the service would refuse."""

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
    for key, wanted in node.items():
        path = f"{where}.{key}".lstrip(".")
        if isinstance(wanted, dict):
            _check(wanted, path)
        elif not isinstance(wanted, list) or not wanted:
            raise ValueError(f"{path}: must be an array of values or an object")
        else:
            for condition in wanted:
                _check_condition(condition, path)


def _check_condition(condition: Any, path: str) -> None:
    if isinstance(condition, list):
        raise ValueError(f"{path}: an array inside an array")
    if not isinstance(condition, dict):
        return
    if len(condition) != 1:
        raise ValueError(f"{path}: more than one operator in one condition")
    [(name, operand)] = condition.items()
    check = _OPERANDS.get(name)
    if check is None:
        raise ValueError(f"{path}: unknown operator {name}")
    if not check(operand):
        raise ValueError(f"{path}: {name} does not take {operand!r}")


def _is_cidr(operand: Any) -> bool:
    try:
        ipaddress.IPv4Network(operand, strict=False)
    except ValueError:
        return False
    return True


def _is_numeric(operand: Any) -> bool:
    return (
        isinstance(operand, list)
        and len(operand) in (2, 4)
        and all(sign in _COMPARE for sign in operand[::2])
        and all(_is_number(bound) for bound in operand[1::2])
    )


def _is_anything_but(operand: Any) -> bool:
    if isinstance(operand, dict):
        return list(operand) == ["prefix"] and isinstance(operand["prefix"], str)
    values = operand if isinstance(operand, list) else [operand]
    return bool(values) and all(isinstance(value, str) or _is_number(value) for value in values)


def _is_text(operand: Any) -> bool:
    return isinstance(operand, str)


_OPERANDS: dict[str, Callable[[Any], bool]] = {
    "prefix": _is_text,
    "suffix": _is_text,
    "contains": _is_text,
    "exists": lambda operand: isinstance(operand, bool),
    "cidr": _is_cidr,
    "numeric": _is_numeric,
    "anything-but": _is_anything_but,
}


def _object_matches(wanted: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    for key, condition in wanted.items():
        value = event.get(key, _ABSENT)
        if isinstance(condition, dict):
            if not _object_matches(condition, value if isinstance(value, dict) else {}):
                return False
        elif not any(_value_matches(choice, value) for choice in condition):
            return False
    return True


def _value_matches(condition: Any, value: Any) -> bool:
    if isinstance(condition, dict) and "exists" in condition:
        return condition["exists"] is (value is not _ABSENT and not isinstance(value, dict))
    if value is _ABSENT or isinstance(value, dict):
        return False
    # An array in the event matches if any of its values matches.
    return any(_scalar_matches(condition, item) for item in (value if isinstance(value, list) else [value]))


def _scalar_matches(condition: Any, value: Any) -> bool:
    if not isinstance(condition, dict):
        return _equal(condition, value)
    [(name, operand)] = condition.items()
    if name == "anything-but":
        if isinstance(operand, dict):
            return isinstance(value, str) and not value.startswith(operand["prefix"])
        return not any(_equal(banned, value) for banned in (operand if isinstance(operand, list) else [operand]))
    if name == "numeric":
        pairs = zip(operand[::2], operand[1::2], strict=True)
        return _is_number(value) and all(_COMPARE[sign](value, bound) for sign, bound in pairs)
    if not isinstance(value, str):
        return False
    if name == "cidr":
        try:
            return ipaddress.IPv4Address(value) in ipaddress.IPv4Network(operand, strict=False)
        except ValueError:
            return False
    if name == "prefix":
        return value.startswith(operand)
    if name == "suffix":
        return value.endswith(operand)
    return operand in value


def _equal(left: Any, right: Any) -> bool:
    """JSON equality: true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
