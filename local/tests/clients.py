"""What official clients of the local cloud are given, and checks that a call is refused."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from alibabacloud_tea_openapi.models import Config
from aliyun.log import LogClient, LogException
from mns.account import Account

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response
from aliyun_local.core.identity import Key
from aliyun_local.world import WORLDS

HOME, PEER = "1000000000000001", "1000000000000002"
REGION = "cn-qingdao"
PROJECT, FUNCTION_ROLE = f"logs-{HOME}", "functions"
"""The log project and the role for functions of the default world."""


def world_file(folder: Path, name: str = "two-accounts", **parts: Any) -> Path:
    """A world that is shipped, with these parts instead of its own, as a file."""
    text = yaml.safe_load((WORLDS / f"{name}.yaml").read_text(encoding="utf-8"))
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump({**text, **parts}), encoding="utf-8")
    return path


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


def logs_of(key: Key, endpoint: str = f"{REGION}.log.aliyuncs.com", **options: Any) -> LogClient:
    """A client of SLS."""
    return LogClient(
        endpoint, key.access_key_id, key.secret, **{"securityToken": key.token, "source": "10.0.0.9", **options}
    )


def queues_of(key: Key, host: str = f"http://{HOME}.mns.{REGION}.aliyuncs.com") -> Account:
    """A client of MNS."""
    return Account(host, key.access_key_id, key.secret, key.token or "")


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
    except LogException as problem:
        return problem.get_error_code(), problem.get_resp_status()
    return "", 0


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect the SDK's exception, or the backend's, with this code and HTTP status."""
    with pytest.raises((ClientException, ServerException, ApiError)) as refusal:
        yield refusal
    error = refusal.value
    assert error.code == code
    assert status in (None, error.status if isinstance(error, ApiError) else error.status_code)


def code_of(answer: Response) -> tuple[int, str]:
    """Status and error code of an answer in JSON or XML."""
    if answer.body.startswith(b"<"):
        return answer.status, ElementTree.fromstring(answer.body).findtext("{*}Code") or ""  # noqa: S314
    body = json.loads(answer.body or b"{}")
    return answer.status, body.get("Code") or body.get("errorCode") or ""
