"""What the local cloud has, what only the real one has, and what neither has."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aliyun_local import coverage
from aliyun_local.cloud import LocalCloud
from aliyun_local.core import real_api, rpc, signatures
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from clients import HOME, code_of

VERSIONS = {service: version for version, service in rpc.SERVICES.items()}
RPC = sorted(set(coverage.OFFERED) & set(VERSIONS))
REST = sorted(set(coverage.OFFERED) - set(VERSIONS))
HEADERS = {
    "fc": {"authorization": "FC x:y"},
    "mns": {"authorization": "MNS x:y", "x-mns-version": "2015-06-06"},
    "sls": {"authorization": "LOG x:y", "x-log-apiversion": "0.6.0"},
}
DOCS = Path(__file__).resolve().parents[2] / "README.md"

Send = Callable[..., Response]


@pytest.fixture(name="send")
def _send(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> Send:
    """Sends a request of the home account, whose signature is not looked at."""
    monkeypatch.setattr(signatures, "verify", lambda *_: Caller(HOME, f"acs:ram::{HOME}:root"))

    def send(service: str, action: str = "", method: str = "POST", path: str = "/") -> Response:
        headers = {"host": "localhost", **HEADERS.get(service, {})}
        if service in VERSIONS:
            headers |= {"x-acs-action": action, "x-acs-version": VERSIONS[service]}
        return local_cloud.handle(Request(method, path, "", headers, b""))

    return send


def is_offered(answer: Response) -> bool:
    return answer.status != 501 and b"InvalidAction.NotFound" not in answer.body


@pytest.mark.parametrize("service", RPC)
def test_the_offered_actions_are_those_that_are_answered(send: Send, service: str) -> None:
    """And every other one of the real service is answered as not offered."""
    real = real_api.names(service)
    assert len(real) > 3
    answered = {action for action in real | coverage.OFFERED[service] if is_offered(send(service, action))}
    assert answered == coverage.OFFERED[service]
    missing = sorted(real - answered)[0]
    refusal = send(service, missing)
    assert (refusal.status, json.loads(refusal.body)["Code"]) == (501, "NotOfferedByLocalCloud")
    assert missing in json.loads(refusal.body)["Message"]


@pytest.mark.parametrize("service", REST)
def test_a_path_that_only_the_real_service_has_is_answered_as_not_offered(send: Send, service: str) -> None:
    """Its other methods and paths are refused as the service refuses them."""
    elsewhere = [
        operation
        for operation in real_api.operations(service)
        if not any(
            each.path == operation.path
            for each in real_api.operations(service)
            if each.name in coverage.OFFERED[service]
        )
    ]
    assert elsewhere
    for operation in elsewhere:
        answer = send(service, method=operation.method, path=operation.path.replace("*", "x"))
        assert (answer.status, b"NotOfferedByLocalCloud" in answer.body) == (501, True), operation
    nowhere = send(service, method="PATCH", path="/2023-03-30/nowhere" if service == "fc" else "/nowhere")
    assert nowhere.status == 400


@pytest.mark.parametrize("service", sorted(coverage.OFFERED))
def test_offered_operations_have_the_names_of_the_real_ones(service: str) -> None:
    """So that faults, counts and permissions name them as everyone does."""
    otherwise = {"ListResourceRecords"}  # after the call of the Python SDK; ListResourceRecord elsewhere
    assert coverage.OFFERED[service] - otherwise <= real_api.names(service)


def test_an_action_that_nobody_has_is_unknown(send: Send) -> None:
    for service in RPC:
        answer = send(service, "NoSuchAction")
        assert (answer.status, json.loads(answer.body)["Code"]) == (404, "InvalidAction.NotFound")


def test_a_service_that_is_not_here_is_answered_as_not_offered(local_cloud: LocalCloud) -> None:
    """By its version; a version that no service has is invalid."""
    codes = {}
    for version in ("2022-01-01", "1999-01-01"):
        headers = {"host": "localhost", "x-acs-action": "ListVpcPeerConnections", "x-acs-version": version}
        answer = local_cloud.handle(Request("POST", "/", "", headers, b""))
        codes[version] = (answer.status, json.loads(answer.body)["Code"])
    assert codes == {"2022-01-01": (501, "NotOfferedByLocalCloud"), "1999-01-01": (400, "InvalidVersion")}


@pytest.mark.parametrize(
    ("service", "action", "path", "expected"),
    [
        ("fc", "", "/2023-03-30/functions", (403, "AccessDenied")),  # as where a permission is missing
        ("eventbridge", "ListEventBuses", "/", (403, "ServiceAccessDenied")),
        ("sls", "", "/", (401, "Unauthorized")),  # for an inactive key
        ("mns", "", "/queues", (403, "AccessDenied")),
    ],
)
def test_a_service_that_is_not_activated_refuses_in_its_own_words(
    local_cloud: LocalCloud, send: Send, service: str, action: str, path: str, expected: tuple[int, str]
) -> None:
    assert send(service, action, "GET", path).status == 200
    local_cloud.inactive.add(service)
    assert code_of(send(service, action, "GET", path)) == expected


def test_the_documented_table_is_that_of_the_code(tmp_path: Path) -> None:
    """`python -m aliyun_local.coverage README.md` writes it."""
    copy = tmp_path / "local.md"
    copy.write_text(DOCS.read_text(encoding="utf-8"), encoding="utf-8")
    coverage.write(copy)
    assert copy.read_text(encoding="utf-8") == DOCS.read_text(encoding="utf-8")
    assert coverage.table() in DOCS.read_text(encoding="utf-8")
