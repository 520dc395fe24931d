"""Older clients that are not installed here: FC 2016-08-15 and EventBridge's CloudEvents batch, signed by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from link_peer_deploy.manifest import Function
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Key
from link_peer_local.fc.backend import FcBackend
from link_peer_local.fc.runtime import Result
from link_peer_local.fc.state import role_keys

from tests.local.clients import HOME
from tests.local.core.test_wire_signatures_by_hand import sign

SERVICE = "link-peer"


# Function Compute, 2016-08-15


class Echo:
    """A runtime whose functions return their event."""

    def run(self, function: Function, event: bytes, context: object) -> Result:
        return Result(event)

    def stop(self, request_id: str) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(name="echo")
def _echo(local_cloud: LocalCloud) -> Iterator[None]:
    """A function `echo` in the cloud."""
    fc = local_cloud.fc = FcBackend(
        local_cloud.clock, local_cloud.region, Echo(), role_keys(local_cloud.identity, local_cloud.clock), SERVICE
    )
    fc.deploy(HOME, Function(name="echo", handler="echo.handler", role=f"acs:ram::{HOME}:role/link-peer-fc"))
    yield
    fc.close()


def call_fc(cloud: LocalCloud, key: Key, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
    date, kind = formatdate(usegmt=True), "application/octet-stream"
    more = {f"x-fc-{name.replace('_', '-')}": value for name, value in headers.items()}
    lines = "".join(f"{name}:{value}\n" for name, value in sorted(more.items()))
    text = f"{method}\n\n{kind}\n{date}\n{lines}{path}"
    signed = {"authorization": f"FC {key.access_key_id}:{sign(key, text, 'sha256')}", "date": date}
    sent = {"host": "127.0.0.1", "content-type": kind, **more, **signed}
    return cloud.handle(Request(method, path, "", sent, body))


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize("service", [SERVICE, f"{SERVICE}.LATEST"])
def test_a_function_is_invoked_under_its_service(local_cloud: LocalCloud, key: Key, service: str) -> None:
    """The path is `/2016-08-15/services/<service>[.<qualifier>]/functions/<function>/invocations` [src @alicloud/fc2 2.6.6]."""
    path = f"/2016-08-15/services/{service}/functions/echo/invocations"
    answer = call_fc(local_cloud, key, "POST", path, b"hello")
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.usefixtures("echo")
def test_an_asynchronous_call_has_an_empty_answer(local_cloud: LocalCloud, key: Key) -> None:
    """202 with an empty body, as in later versions."""
    path = f"/2016-08-15/services/{SERVICE}/functions/echo/invocations"
    answer = call_fc(local_cloud, key, "POST", path, b"hello", invocation_type="Async")
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.usefixtures("echo")
@pytest.mark.parametrize(
    ("service", "function", "code"),
    [
        (SERVICE, "other", "FunctionNotFound"),
        ("other", "echo", "ServiceNotFound"),
        (f"{SERVICE}.prod", "echo", "AliasNotFound"),
        (f"{SERVICE}.7", "echo", "VersionNotFound"),
    ],
)
def test_these_clients_read_errorcode(
    local_cloud: LocalCloud, key: Key, service: str, function: str, code: str
) -> None:
    """Errors have `ErrorCode` and `ErrorMessage`, where later clients read `Code` and `Message`."""
    answer = call_fc(local_cloud, key, "GET", f"/2016-08-15/services/{service}/functions/{function}")
    body = json.loads(answer.body)
    assert (answer.status, body["ErrorCode"], body["Code"]) == (404, code, code)
    assert body["ErrorMessage"] == body["Message"]


# EventBridge, CloudEvents batch

EVENT = {
    "id": "e-1",
    "source": "my.app",
    "type": "a:b",
    "aliyuneventbusname": "default",
    "data": {"a": 1},
    "colour": "x",
}


def put(cloud: LocalCloud, key: Key, events: Any, secret: str = "") -> Response:
    date, kind = formatdate(usegmt=True), "application/cloudevents-batch+json; charset=utf-8"
    text = f"POST\n\n{kind}\n{date}\nx-acs-signature-nonce:n\n/openapi/putEvents"
    signer = Key(key.access_key_id, secret or key.secret, key.caller)
    headers = {
        "host": "127.0.0.1",
        "date": date,
        "content-type": kind,
        "x-acs-signature-nonce": "n",
        "x-eventbridge-version": "2015-06-06",
        "authorization": f"acs:{key.access_key_id}:{sign(signer, text, 'sha1')}",
    }
    return cloud.handle(Request("POST", "/openapi/putEvents", "", headers, json.dumps(events).encode()))


def test_a_batch_reaches_the_rules_of_its_bus(local_cloud: LocalCloud, key: Key) -> None:
    """Extension attributes are kept, and the result is at the top level of the answer."""
    taken: list[dict[str, Any]] = []
    local_cloud.events.add_rule(HOME, "mine", '{"source":["my.app"]}', taken.append)
    answer = put(local_cloud, key, [EVENT, {**EVENT, "id": "e-2", "type": "x" * 65}])
    body = json.loads(answer.body)
    assert (answer.status, body["FailedEntryCount"], body["EntryList"][0]["EventId"]) == (200, 1, "e-1")
    assert [(event["id"], event["data"], event["colour"]) for event in taken] == [("e-1", {"a": 1}, "x")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], (400, "EventListEmpty")),
        ([{**EVENT, "aliyuneventbusname": "nothing"}], (404, "EventBusNotExist")),
        ([{key: value for key, value in EVENT.items() if key != "aliyuneventbusname"}], (400, "EventBusNameEmpty")),
    ],
)
def test_a_batch_without_a_valid_bus_is_refused(
    local_cloud: LocalCloud, key: Key, events: list[Any], expected: tuple[int, str]
) -> None:
    """The error has the form that these clients read: `code`, `message`, `requestId`."""
    answer = put(local_cloud, key, events)
    assert (answer.status, json.loads(answer.body)["code"]) == expected


def test_a_batch_with_a_wrong_secret_is_refused(local_cloud: LocalCloud, key: Key) -> None:
    """The signature is verified before the body is read."""
    answer = put(local_cloud, key, [EVENT], secret="another")
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "SignatureDoesNotMatch")
