"""The oldest API of Function Compute, 2016-08-15, whose clients are not installed here: signed by hand."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.http import Request, Response
from aliyun_local.fc.backend import FcBackend
from aliyun_local.fc.runtime import Result
from aliyun_local.fc.state import role_keys
from aliyun_local.fc.values import Function
from clients import HOME, key_of

SERVICE = "jobs"


class Echo:
    """A runtime whose functions return their event."""

    def run(self, function: Function, event: bytes, context: object) -> Result:
        del function, context
        return Result(event)

    def stop(self, request_id: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(name="echo", autouse=True)
def _echo(local_cloud: LocalCloud) -> Iterator[None]:
    """A function `echo` in the cloud."""
    keys = role_keys(local_cloud.identity, local_cloud.clock)
    fc = local_cloud.fc = FcBackend(local_cloud.clock, local_cloud.region, Echo(), keys, SERVICE)
    fc.deploy(HOME, Function(name="echo", handler="echo.handler", role=f"acs:ram::{HOME}:role/functions"))
    yield
    fc.close()


def call(cloud: LocalCloud, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
    """The answer to a request that is signed as these clients do [src @alicloud/fc2 2.6.6]."""
    key, date, kind = key_of(cloud), formatdate(usegmt=True), "application/octet-stream"
    fc_headers = {f"x-fc-{name.replace('_', '-')}": value for name, value in headers.items()}
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(fc_headers.items()))
    text = f"{method}\n\n{kind}\n{date}\n{lines}/2016-08-15{path}"
    signature = base64.b64encode(hmac.new(key.secret.encode(), text.encode(), "sha256").digest()).decode()
    signed = {"authorization": f"FC {key.access_key_id}:{signature}", "date": date}
    sent = {"host": "127.0.0.1", "content-type": kind, **fc_headers, **signed}
    return cloud.handle(Request(method, f"/2016-08-15{path}", "", sent, body))


@pytest.mark.parametrize("service", [SERVICE, f"{SERVICE}.LATEST"])
def test_a_function_is_invoked_under_its_service(local_cloud: LocalCloud, service: str) -> None:
    """Which may have a qualifier, after a dot. An asynchronous call has an empty answer, as in later versions."""
    path = f"/services/{service}/functions/echo/invocations"
    answer = call(local_cloud, "POST", path, b"hello")
    assert (answer.status, answer.body) == (200, b"hello")
    answer = call(local_cloud, "POST", path, b"hello", invocation_type="Async")
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/services/{SERVICE}/functions/other", (404, "FunctionNotFound")),
        ("/services/other/functions/echo", (404, "ServiceNotFound")),
        (f"/services/{SERVICE}.prod/functions/echo", (404, "AliasNotFound")),
        (f"/services/{SERVICE}.7/functions/echo", (404, "VersionNotFound")),
        (f"/services/{SERVICE}/functions/other/stateful-async-invocations/1", (404, "FunctionNotFound")),
        (f"/services/{SERVICE}/functions/echo/stateful-async-invocations/1", (404, "StatefulAsyncInvocationNotFound")),
        (f"/services/{SERVICE}/versions", (501, "NotOfferedByLocalCloud")),
        (f"/services/{SERVICE}/nothing", (400, "PathNotSupported")),
    ],
)
def test_these_clients_read_another_code(local_cloud: LocalCloud, path: str, expected: tuple[int, str]) -> None:
    """Errors have `ErrorCode` and `ErrorMessage`, where later clients read `Code` and `Message`."""
    answer = call(local_cloud, "GET", path)
    body = json.loads(answer.body)
    assert (answer.status, body["ErrorCode"]) == expected
    assert (body["Code"], body["Message"]) == (body["ErrorCode"], body["ErrorMessage"])
