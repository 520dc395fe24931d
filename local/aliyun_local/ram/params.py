"""The parameters of RAM calls, checked as the API reference says; refusals as in RAM's list of error messages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from aliyun_local.core.errors import ApiError

_NAMES = {  # characters, and how many
    "RoleName": (r"[A-Za-z0-9.-]+", 64),
    "PolicyName": (r"[A-Za-z0-9-]+", 128),
}
MAX_POLICY = 6144  # characters of the document as sent; whether white space counts is unknown [doc CreatePolicy]
MAX_TRUST = 2048  # [inferred: the former limit of every policy document]
SESSION_SECONDS = (3600, 43200)


def require(params: Mapping[str, str], name: str) -> str:
    """A parameter that must be there."""
    value = params.get(name)
    if not value:
        raise ApiError(
            f"MissingParameter.{name}", 400, f"The input parameter {name} that is mandatory is not supplied."
        )
    return value


def name_in(params: Mapping[str, str], name: str) -> str:
    """A RoleName or PolicyName of valid syntax."""
    value = require(params, name)
    pattern, most = _NAMES[name]
    if len(value) > most:
        raise too_long(name)
    if not re.fullmatch(pattern, value):
        raise ApiError(
            f"InvalidParameter.{name}.InvalidChars", 400, f'The parameter - "{name}" contains invalid chars.'
        )
    return value


def too_long(name: str) -> ApiError:
    """The refusal of a parameter's length."""
    return ApiError(f"InvalidParameter.{name}.Length", 400, f'The parameter - "{name}" beyond the length limit.')


def policy_type(params: Mapping[str, str]) -> str:
    """Custom or System."""
    kind = require(params, "PolicyType")
    if kind not in ("Custom", "System"):
        raise ApiError("InvalidParameter.PolicyType", 400)
    return kind


def document(params: Mapping[str, str], name: str, most: int, parse: Callable[[str], object]) -> str:
    """A policy document that can be parsed, as it was sent."""
    text = require(params, name)
    if len(text) > most:
        raise too_long(name)
    try:
        parse(text)
    except ValueError as problem:
        raise ApiError("MalformedPolicyDocument", 400, f"The policy document is malformed: {problem}.") from None
    return text


def description(params: Mapping[str, str], name: str) -> str:
    """A text of up to 1024 characters; empty if absent."""
    text = params.get(name, "")
    if len(text) > 1024:
        raise too_long(name)
    return text


def session_seconds(params: Mapping[str, str], name: str, default: int) -> int:
    """The longest session of a role."""
    text = params.get(name, "")
    least, most = SESSION_SECONDS
    if text and not (re.fullmatch(r"[0-9]{1,6}", text) and least <= int(text) <= most):
        raise ApiError(f"InvalidParameter.{name}", 400, f"The {name} must be between {least} and {most} seconds.")
    return int(text) if text else default


def flag(params: Mapping[str, str], name: str) -> bool:
    """A boolean; False when absent."""
    value = params.get(name, "").lower()
    if value not in ("", "true", "false"):
        raise ApiError(f"InvalidParameter.{name}", 400, f'The parameter - "{name}" is incorrect.')
    return value == "true"


def page(params: Mapping[str, str], rows: list[str]) -> tuple[list[str], str]:
    """The rows from `Marker` on, at most `MaxItems`, and the marker of the next page; empty on the last."""
    size = params.get("MaxItems") or "100"
    if not re.fullmatch(r"[0-9]{1,4}", size) or not 1 <= int(size) <= 1000:
        raise ApiError("InvalidParameter.MaxItems", 400)
    marker = params.get("Marker", "")
    remaining_rows = [row for row in sorted(rows) if row >= marker]
    following = remaining_rows[int(size)] if len(remaining_rows) > int(size) else ""
    return remaining_rows[: int(size)], following
