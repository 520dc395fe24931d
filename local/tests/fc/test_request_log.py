"""The record of each request that Function Compute writes into the function's logstore."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.fc.runtime import UNHANDLED, Result, Runtime
from aliyun_local.fc.triggers import install
from aliyun_local.fc.values import Function
from aliyun_local.fc.worker import Context
from clients import FUNCTION_ROLE, HOME, PROJECT


class Sample(Runtime):
    """Does what the name of the function says."""

    def __init__(self, clock: Any) -> None:
        self.env, self.clock = {}, clock

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        self.clock.advance({"done": 0.25, "slow": 11}.get(function.name, 0))
        return Result(b"done") if function.name == "done" else Result(b"throttled", UNHANDLED)


@pytest.fixture(name="cloud")
def _cloud(local_cloud: LocalCloud) -> LocalCloud:
    """The world's cloud with three functions that have its log and role."""
    functions = tuple(function(local_cloud, name) for name in ("done", "fail", "slow"))
    install(local_cloud, functions, HOME, Sample(local_cloud.clock))
    return local_cloud


def function(cloud: LocalCloud, name: str, **changes: Any) -> Function:
    """A function of the sample."""
    settings: dict[str, Any] = {
        "handler": f"sample.{name}",
        "role": f"acs:ram::{HOME}:role/{FUNCTION_ROLE}",
        "timeout": 10,
        "max_retries": 2,
        "log_project": PROJECT,
        "log_store": "functions",
    }
    return Function(name=name, **{**settings, **changes})


def records(cloud: LocalCloud) -> list[dict[str, str]]:
    """What the logstore of the functions holds."""
    now = cloud.clock.now()
    return cloud.sls.search(HOME, PROJECT, "functions", now - 3600, now + 1, "*").logs


def test_a_request_leaves_one_record(cloud: LocalCloud) -> None:
    """With the platform's topic and fields; there is an error type only where there is an error."""
    called = cloud.fc.invoke(HOME, "done", b"", "live")
    [record] = records(cloud)
    assert record["__topic__"] == "FCRequestMetrics:/done"
    assert {name: value for name, value in record.items() if not name.startswith("__")} == {
        "functionName": "done",
        "qualifier": "live",
        "versionId": "1",
        "requestId": called.request_id,
        "operation": "InvokeFunction",
        "invocationType": "Sync",
        "resourceMode": "OnDemand",
        "memoryMB": "512",
        "durationMs": "250.00",
        "hasFunctionError": "false",
    }


@pytest.mark.parametrize(("name", "kind"), [("fail", "FunctionUnhandledError"), ("slow", "FunctionTimeoutError")])
def test_a_failed_request_says_so(cloud: LocalCloud, name: str, kind: str) -> None:
    """An exception, and a run that takes longer than the function's timeout."""
    cloud.fc.invoke(HOME, name, b"")
    [record] = records(cloud)
    assert (record["hasFunctionError"], record["errorType"]) == ("true", kind)


def test_every_attempt_of_an_asynchronous_request_has_a_record(cloud: LocalCloud) -> None:
    """All with the id of the one request, so that counting ids counts requests."""
    called = cloud.fc.invoke_async(HOME, "fail", b"")
    cloud.fc.drain()
    assert [(r["requestId"], r["invocationType"]) for r in records(cloud)] == [(called.request_id, "Async")] * 3


def test_nothing_is_written_unless_the_function_asks_for_it(cloud: LocalCloud) -> None:
    """`enableRequestMetrics: false`, or no log."""
    cloud.fc.deploy(HOME, function(cloud, "done", request_metrics=False))
    cloud.fc.invoke(HOME, "done", b"")
    cloud.fc.deploy(HOME, function(cloud, "done", log_project="", log_store=""))
    cloud.fc.invoke(HOME, "done", b"")
    assert records(cloud) == []


def test_a_record_that_is_refused_is_lost(cloud: LocalCloud) -> None:
    """By RAM, or because there is no such logstore; the request itself succeeds."""
    cloud.fc.deploy(HOME, function(cloud, "done", log_store="other"))
    cloud.identity.allow_only(f"acs:ram::{HOME}:role/{FUNCTION_ROLE}", ["log:PostLogStoreLogs"])
    unrecorded = cloud.fc.invoke(HOME, "done", b"").result
    cloud.fc.deploy(HOME, function(cloud, "done"))
    cloud.identity.allow_only(f"acs:ram::{HOME}:role/{FUNCTION_ROLE}", ["ecs:*"])
    refused = cloud.fc.invoke(HOME, "done", b"").result
    assert [result.body if result else b"" for result in (unrecorded, refused)] == [b"done", b"done"]
    assert records(cloud) == []
