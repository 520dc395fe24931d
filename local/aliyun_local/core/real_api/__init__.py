"""What the real services offer: the operations that their official SDKs can call.

The local cloud answers those that it lacks with 501, `NotOfferedByLocalCloud`, so that nobody takes its gaps for
mistakes of their own. Anything else is refused as the service refuses it. The sources of the installed SDKs are read as
text: importing ECS's alone would take seconds.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from msgspec import Struct

from aliyun_local.core.errors import ApiError

_SDKS = {
    "ecs": ("alibabacloud_ecs20140526",),
    "eventbridge": ("alibabacloud_eventbridge20200401",),
    "fc": ("alibabacloud_fc20230330", "alibabacloud_fc_open20210406"),
    "ram": ("alibabacloud_ram20150501",),
    "sts": ("alibabacloud_sts20150401",),
}
_PARAMS = re.compile(r"\.Params\((.*?)\)\n", re.DOTALL)
_FIELD = re.compile(r"(action|method|pathname)\s*=\s*f?(['\"])(.*?)\2")
_VARIABLE = re.compile(r"\{[^{}]*\}")


class Operation(Struct, frozen=True):
    """One operation; `*` stands for a name in its path, which is `/` for RPC services."""

    name: str
    method: str
    path: str

    def matches(self, method: str, path: str) -> bool:
        """Whether a request is for this operation, as far as its method and path tell."""
        pattern = re.escape(self.path).replace(r"\*", "[^/]+")
        return method == self.method and re.fullmatch(pattern, path or "/") is not None


@cache
def operations(service: str) -> tuple[Operation, ...]:
    """The operations of a service, sorted by name; none for a service that is not known."""
    listed = Path(__file__).parent / f"{service}.txt"
    if listed.is_file():
        rows = (line.split(" ") for line in listed.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
        return tuple(Operation(*row) for row in rows)
    unique_operations = {operation for sdk in _SDKS.get(service, ()) for operation in _read(sdk)}
    return tuple(sorted(unique_operations, key=lambda each: (each.name, each.path)))


def names(service: str) -> frozenset[str]:
    """The names of the operations of a service."""
    return frozenset(operation.name for operation in operations(service))


def operation_name(service: str, method: str, path: str) -> str:
    """The name of an operation that has this method and path; empty if none has."""
    path = re.sub("^/2016-08-15/", "/2021-04-06/", path)  # the paths of FC 2.0 are those of both [src @alicloud/fc2]
    return next((each.name for each in operations(service) if each.matches(method, path)), "")


def not_offered(service: str, action: str) -> ApiError:
    """The refusal of what the real service has and the local cloud has not."""
    message = f"{action} of {service} exists, but the local cloud does not offer it."
    return ApiError("NotOfferedByLocalCloud", 501, message)


def _read(sdk: str) -> list[Operation]:
    """The operations of an installed SDK, by the `Params` of its calls."""
    spec = find_spec(sdk)
    if spec is None or spec.origin is None:
        return []
    source = Path(spec.origin).with_name("client.py").read_text(encoding="utf-8")
    sdk_operations = []
    for params in _PARAMS.findall(source):
        fields = {name: value for name, _, value in _FIELD.findall(params)}
        if fields.keys() >= {"action", "method", "pathname"}:
            path = _VARIABLE.sub("*", fields["pathname"]).partition("?")[0]
            sdk_operations.append(Operation(fields["action"], fields["method"], path))
    return sdk_operations
