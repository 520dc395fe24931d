"""The manifest for FC 2.0 describes the same functions as s.yaml, with the keys that its component knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from link_peer_deploy.manifest import Function, load, resolved
from link_peer_deploy.project import ROOT

HOME = "1000000000000001"
REGION = "cn-qingdao"

# [src devsapp/fc docs/zh/yaml: service, function, triggers]
KEYS = {
    "props": {"region", "service", "function", "triggers"},
    "service": {"name", "description", "internetAccess", "role", "logConfig"},
    "logConfig": {"project", "logstore", "enableRequestMetrics", "enableInstanceMetrics", "logBeginRule"},
    "function": {
        *("name", "description", "codeUri", "handler", "memorySize", "runtime", "timeout", "cpu", "diskSize"),
        *("environmentVariables", "asyncConfiguration"),
    },
    "asyncConfiguration": {
        *("statefulInvocation", "maxAsyncRetryAttempts", "maxAsyncEventAgeInSeconds", "destination"),
    },
    "destination": {"onSuccess", "onFailure"},
    "trigger": {"name", "type", "config", "qualifier"},
    "eventbridge": {
        *("triggerEnable", "asyncInvocationType", "eventRuleFilterPattern", "eventSourceConfig"),
        *("eventSinkConfig", "runOptions"),
    },
    "timer": {"cronExpression", "enable", "payload"},
    "eventSourceConfig": {"eventSourceType", "eventSourceParameters"},
    "eventSinkConfig": {"deliveryOption"},
    "runOptions": {
        *("mode", "maximumTasks", "errorsTolerance", "retryStrategy", "deadLetterQueue", "batchWindow"),
    },
}


DOCUMENT = resolved(ROOT / "deploy" / "fc2" / "s.yaml", env={}, account=HOME)
SERVICES = DOCUMENT["services"]
SHIPPED = {
    function.handler.partition(".")[0]: function
    for function in load(ROOT / "s.yaml", env={"LINK_PEER_REGION": REGION}, account=HOME).functions
}


@pytest.fixture(name="props", params=sorted(SHIPPED))
def _props(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Function]:
    """The properties of one function here, and the function of s.yaml."""
    return SERVICES[request.param]["props"], SHIPPED[request.param]


def test_the_same_functions_are_deployed() -> None:
    """By the component of FC 2.0, in its edition of the file format."""
    assert DOCUMENT["edition"] == "1.0.0"
    assert {service["component"] for service in SERVICES.values()} == {"fc"}
    assert SERVICES.keys() == SHIPPED.keys()


def test_every_key_is_known(props: tuple[dict[str, Any], Function]) -> None:
    """The component ignores a key that it does not know, so a wrong one would go unnoticed."""
    found, _ = props
    for kind, value in parts(found):
        assert value.keys() <= KEYS[kind], kind


def parts(props: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each mapping of the properties with the name of its kind in KEYS."""
    service, function = props["service"], props["function"]
    yield from (("props", props), ("service", service), ("logConfig", service["logConfig"]), ("function", function))
    if asynchronous := function.get("asyncConfiguration"):
        yield from (("asyncConfiguration", asynchronous), ("destination", asynchronous["destination"]))
    for trigger in props["triggers"]:
        config = trigger["config"]
        yield from (("trigger", trigger), (trigger["type"], config))
        yield from (
            (kind, config[kind]) for kind in ("eventSourceConfig", "eventSinkConfig", "runOptions") if kind in config
        )


def test_the_functions_equal_those_of_s_yaml(props: tuple[dict[str, Any], Function]) -> None:
    """Names, handlers, sizes, timeouts, environment, role, log, and what becomes of failed calls."""
    found, shipped = props
    function, service = found["function"], found["service"]
    asynchronous = function.get("asyncConfiguration", {})
    assert (function["name"], function["handler"], function["timeout"]) == (
        shipped.name,
        shipped.handler,
        shipped.timeout,
    )
    assert [function[k] for k in ("memorySize", "cpu", "diskSize")] == [shipped.memory, shipped.cpu, shipped.disk]
    environment = {name: value for name, value in shipped.env.items() if name != "LINK_PEER_CALLS_PER_MINUTE"}
    assert function["environmentVariables"] == environment
    assert (service["role"].lower(), service["logConfig"]["project"]) == (shipped.role, shipped.log_project)
    assert service["logConfig"]["logstore"] == shipped.log_store
    assert asynchronous.get("statefulInvocation", False) == shipped.async_task
    assert asynchronous.get("destination", {}).get("onFailure") == shipped.on_failure
    if shipped.async_task:
        assert asynchronous["maxAsyncRetryAttempts"] == shipped.max_retries
        assert asynchronous["maxAsyncEventAgeInSeconds"] == shipped.max_age


def test_the_triggers_equal_those_of_s_yaml(props: tuple[dict[str, Any], Function]) -> None:
    """Patterns, queue, schedule, batches, retries and dead letters. FC 2.0 triggers invoke what was deployed last."""
    found, shipped = props
    assert [trigger["name"] for trigger in found["triggers"]] == [trigger.name for trigger in shipped.triggers]
    for trigger, wanted in zip(found["triggers"], shipped.triggers, strict=True):
        config = trigger["config"]
        assert (trigger["type"], "qualifier" in trigger) == (wanted.kind, False)
        if wanted.kind == "timer":
            assert config == wanted.config
            continue
        patterns = [json.loads(one["eventRuleFilterPattern"]) for one in (config, wanted.config)]
        assert patterns[0] == patterns[1]
        assert config.get("runOptions") == wanted.config.get("runOptions")
        assert config["asyncInvocationType"] == wanted.config["asyncInvocationType"]
        sources = [one["eventSourceConfig"].get("eventSourceParameters") or {} for one in (config, wanted.config)]
        assert sources[0] == sources[1]
