"""What official clients of the local cloud are given, and checks that a call is refused."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from alibabacloud_tea_openapi.models import Config
from aliyun_local.api import ApiError, Key, LocalCloud

from tests.functional.lab import HOME, REGION


def key_of(cloud: LocalCloud, account: str = HOME) -> Key:
    """The access key of an account."""
    return cloud.identity.keys[cloud.identity.accounts[account].access_key_id]


def config(key: Key, endpoint: str | None = None, **options: Any) -> Config:
    """A client's settings: these keys, at an endpoint or at that of the region."""
    return Config(
        access_key_id=key.access_key_id,
        access_key_secret=key.secret,
        security_token=key.token,
        endpoint=endpoint,
        **{"region_id": REGION, "protocol": "http", **options},
    )


def ask(client: Any, action: str, *names: str, **fields: Any) -> Any:
    """Call an operation by its name, in the region of these tests if it has one; return the body of the answer, if it
    has one. `names` are those of the path, in Function Compute, and `body` the fields of its input. A list of dicts is
    one of the request's own records."""
    models = sys.modules[f"{type(client).__module__.rpartition('.')[0]}.models"]
    for name, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            record = getattr(models, f"{action}Request{name.title().replace('_', '')}")
            fields[name] = [record(**element) for element in value]
    if isinstance(fields.get("body"), dict):
        fields["body"] = getattr(models, f"{action}Input")(**fields["body"])
    request = getattr(models, f"{action}Request")(**fields)
    if getattr(request, "region_id", REGION) is None:
        request.region_id = REGION
    answer = getattr(client, re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower())(*names, request)
    return getattr(answer, "body", None)


def refusal(call: Callable[..., object], *arguments: Any, **fields: Any) -> tuple[str, int]:
    """Code and HTTP status with which a call is refused, by the SDK's exception or the backend's; no code if it is
    not."""
    try:
        call(*arguments, **fields)
    except ApiError as problem:
        return problem.code, problem.status
    except (ClientException, ServerException) as problem:
        return problem.code, problem.status_code
    return "", 0


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect the SDK's exception, or the backend's, with this code and HTTP status."""
    with pytest.raises((ClientException, ServerException, ApiError)) as refusal:
        yield refusal
    error = refusal.value
    assert error.code == code
    assert status in (None, error.status if isinstance(error, ApiError) else error.status_code)


def permission(**fields: Any) -> dict[str, Any]:
    """A permission on TCP 3306 unless other fields are given."""
    return {"ip_protocol": "tcp", "port_range": "3306/3306", **fields}
