"""The manifest for FC 2.0 describes the same functions as s.yaml, with the keys that its component knows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer_deploy.manifest import Function, Trigger, load, resolved
from link_peer_deploy.project import ROOT

HOME = "1000000000000001"
REGION = "cn-qingdao"
DOCUMENT = resolved(ROOT / "deploy" / "fc2" / "s.yaml", env={}, account=HOME)
SHIPPED = {
    function.handler.partition(".")[0]: function
    for function in load(ROOT / "s.yaml", env={"LINK_PEER_REGION": REGION}, account=HOME).functions
}


def test_the_same_functions_are_deployed() -> None:
    """By the component of FC 2.0, in its edition of the file format."""
    assert DOCUMENT["edition"] == "1.0.0"
    assert {service["component"] for service in DOCUMENT["services"].values()} == {"fc"}
    assert DOCUMENT["services"].keys() == SHIPPED.keys()


def as_written_for_fc2(one: Function) -> dict[str, Any]:
    """A function of s.yaml in the keys of FC 2.0 [src devsapp/fc docs/zh/yaml: service, function, triggers]. The component ignores
    others, so a wrong one would go unnoticed."""
    asynchronous = {
        "statefulInvocation": True,
        "maxAsyncRetryAttempts": one.max_retries,
        "maxAsyncEventAgeInSeconds": one.max_age,
        "destination": {"onFailure": one.on_failure},
    }
    function = {
        "name": one.name,
        "description": one.description,
        "handler": one.handler,
        "timeout": one.timeout,
        "cpu": one.cpu,
        "memorySize": one.memory,
        "diskSize": one.disk,
        "runtime": "python3.10",
        "codeUri": "../../build/package",
        "environmentVariables": {key: text for key, text in one.env.items() if key != "LINK_PEER_CALLS_PER_MINUTE"},
        **({"asyncConfiguration": asynchronous} if one.async_task else {}),
    }
    triggers = [{"name": each.name, "type": each.kind, "config": _config(each)} for each in one.triggers]
    return {"region": REGION, "function": function, "triggers": triggers}


def _config(trigger: Trigger) -> dict[str, Any]:
    """That of a trigger for what was deployed last. Events come without a schema, and the default source without parameters."""
    config: dict[str, Any] = json.loads(json.dumps(trigger.config))
    if trigger.kind == "eventbridge":
        del config["eventSinkConfig"]["deliveryOption"]["eventSchema"]
        if not config["eventSourceConfig"]["eventSourceParameters"]:
            del config["eventSourceConfig"]["eventSourceParameters"]
    return _read(config)


def _read(config: dict[str, Any]) -> dict[str, Any]:
    """With the pattern of events as what it says."""
    pattern = config.get("eventRuleFilterPattern")
    return {**config, **({"eventRuleFilterPattern": json.loads(pattern)} if pattern else {})}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_function_and_its_triggers_equal_those_of_s_yaml(name: str) -> None:
    """Nothing is missing, and there is nothing else. The role, and the log with what FC writes there, are the service's."""
    props, shipped = DOCUMENT["services"][name]["props"], SHIPPED[name]
    service = props.pop("service")
    assert {
        **props,
        "triggers": [{**each, "config": _read(each["config"])} for each in props["triggers"]],
    } == as_written_for_fc2(shipped)
    assert service.keys() == {"name", "description", "internetAccess", "role", "logConfig"}
    assert service["role"].lower() == shipped.role
    assert service["logConfig"] == {
        "project": shipped.log_project,
        "logstore": shipped.log_store,
        "logBeginRule": "DefaultRegex",
        "enableRequestMetrics": shipped.request_metrics,
        "enableInstanceMetrics": True,
    }
