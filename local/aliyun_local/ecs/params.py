"""The flattened parameters of an RPC call: `ResourceId.1`, `Tag.2.Key`, `InstanceIds=["i-1"]`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loaded

_ID = re.compile(r"(?:sg|i)-[0-9a-z]{15,30}", re.ASCII)


def missing(name: str) -> ApiError:
    """The refusal of a call without a mandatory parameter."""
    message = f'The input parameter "{name}" that is mandatory for processing this request is not supplied.'
    return ApiError("MissingParameter", 400, message)


def invalid(name: str) -> ApiError:
    """The refusal of a parameter's value."""
    return ApiError("InvalidParameter", 400, f'The specified parameter "{name}" is not valid.')


_NUMBER = re.compile(r"[1-9]\d{0,4}", re.ASCII)
_NUMBERED = re.compile(r"([1-9]\d{0,4})\.(\w+)", re.ASCII)
_TAG_VALUE = re.compile(r"Tag\.\d+\.[Vv]alue", re.ASCII)


class Params:
    """The parameters of one call. An empty one counts as absent, except a tag's value, which may be empty [doc].

    Alibaba's own tools send empty ones: ansible's ali_security_group revokes with an empty Description [src].
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = {name: value for name, value in values.items() if value or _TAG_VALUE.fullmatch(name)}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str, default: str = "") -> str:
        """The value, or the default."""
        return self.values.get(name, default)

    def require(self, name: str) -> str:
        """The value; ApiError MissingParameter when it is absent."""
        value = self.values.get(name, "")
        if not value:
            raise missing(name)
        return value

    def flag(self, name: str) -> bool:
        """A boolean, False when absent."""
        value = self.values.get(name, "").lower()
        if value not in ("", "true", "false"):
            raise invalid(name)
        return value == "true"

    def integer(self, name: str, default: int) -> int:
        """A whole number of up to nine digits, or the default."""
        value = self.values.get(name, "")
        if not value:
            return default
        if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
            raise invalid(name)
        return int(value)

    def listed(self, name: str) -> list[str]:
        """The values of `Name.1`, `Name.2`, … in the order of their numbers."""
        head = f"{name}."
        numbers = [key for key in self.values if key.startswith(head) and _NUMBER.fullmatch(key, len(head))]
        return [self.values[key] for key in sorted(numbers, key=lambda key: int(key[len(head) :]))]

    def records(self, name: str) -> list[dict[str, str]]:
        """The values of `Name.N.Field`, as one dict per number."""
        by_number: dict[int, dict[str, str]] = {}
        head = f"{name}."
        for key, value in self.values.items():
            if key.startswith(head) and (match := _NUMBERED.fullmatch(key, len(head))):
                by_number.setdefault(int(match[1]), {})[match[2]] = value
        return [by_number[number] for number in sorted(by_number)]

    def highest(self, name: str) -> int:
        """The largest N of `Name.N.Field`; 0 without any."""
        numbers = (re.match(re.escape(name) + r"\.([1-9]\d{0,9})\.", key, re.ASCII) for key in self.values)
        return max((int(match[1]) for match in numbers if match), default=0)

    def json_list(self, name: str, code: str) -> list[str] | None:
        """A JSON array of up to 100 strings in one parameter; None when absent."""
        text = self.values.get(name, "")
        if not text:
            return None
        value = loaded(text)
        if not isinstance(value, list) or len(value) > 100 or not all(isinstance(item, str) for item in value):
            raise ApiError(code, 400, f'The specified parameter "{name}" is not valid.')
        return value

    def ids(self, name: str, code: str, *, strict: bool) -> list[str] | None:
        """A JSON array of resource ids; where `strict`, one that is not in the platform's form refuses the call."""
        ids = self.json_list(name, code)
        if strict and not all(_ID.fullmatch(resource_id) for resource_id in ids or ()):
            raise ApiError(code, 400, f'The specified parameter "{name}" is not valid.')
        return ids
