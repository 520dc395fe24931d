"""Versions, aliases, triggers and asynchronous configuration of FC 3.0, through the official client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from darabonba.runtime import RuntimeOptions

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.http import Request
from aliyun_local.core.principals import Role, trust_text
from aliyun_local.fc import routes
from aliyun_local.fc.runtime import Result, Runtime
from aliyun_local.fc.values import Function, Trigger
from aliyun_local.fc.worker import Context
from clients import HOME, ask, config, key_of, refusal, refused


class VersionRuntime(Runtime):
    """Answers [memory, qualifier] of the function that is called."""

    def __init__(self) -> None:
        self.env = {}

    def run(self, function: Function, event: bytes, context: Context) -> Result:
        return Result(json.dumps([context.function.memory, context.service.qualifier]).encode())


class Setup:
    """A function `f`, deployed twice with 128 and then 256 MB, and a client."""

    def __init__(self, cloud: LocalCloud) -> None:
        cloud.fc.runtime = VersionRuntime()
        cloud.identity.add_role(Role(HOME, "fn", trust_text(["fc.aliyuncs.com"])))
        self.fc = cloud.fc
        self.clock: Any = cloud.clock
        self.deploy(128)
        self.clock.sleep(60)
        self.deploy(256)
        self.client = Client(config(key_of(cloud), f"{HOME}.cn-qingdao.fc.aliyuncs.com"))

    def deploy(self, memory: int) -> None:
        timer = Trigger("tick", "timer", {"cronExpression": "@every 10m", "enable": True})
        settings: dict[str, Any] = {"role": f"acs:ram::{HOME}:role/fn", "async_task": True, "async_qualifier": "live"}
        self.fc.deploy(HOME, Function("f", "sample.which", memory=memory, triggers=(timer,), timeout=9, **settings))

    def invoked_version(self, qualifier: str | None = None) -> Any:
        """[memory, qualifier] as the function that was called sees them."""
        request = models.InvokeFunctionRequest(qualifier=qualifier)
        answer = self.client.invoke_function_with_options(
            "f", request, models.InvokeFunctionHeaders(), RuntimeOptions()
        )
        return json.loads(answer.body.read())

    def alias(self, **body: Any) -> Any:
        return ask(self.client, "UpdateAlias", "f", "live", body=body)


@pytest.fixture(name="setup")
def _setup(local_cloud: LocalCloud) -> Setup:
    return Setup(local_cloud)


def test_each_deployment_publishes_a_version_and_moves_live(setup: Setup) -> None:
    """The newest version comes first; what is deployed again unchanged publishes none."""
    setup.deploy(256)
    versions = ask(setup.client, "ListFunctionVersions", "f")
    assert [version.version_id for version in versions.versions] == ["2", "1"]
    assert setup.client.get_alias("f", "live").body.version_id == "2"
    assert [alias.alias_name for alias in ask(setup.client, "ListAliases", "f").aliases] == ["live"]


def test_a_qualifier_chooses_the_version(setup: Setup) -> None:
    """A number means a version, anything else an alias; without one, it is LATEST."""
    assert setup.invoked_version() == [256, "LATEST"]
    assert [setup.invoked_version("1"), setup.invoked_version("2"), setup.invoked_version("live")] == [
        [128, "1"],
        [256, "2"],
        [256, "live"],
    ]
    for unknown, code in (("7", "VersionNotFound"), ("prod", "AliasNotFound")):
        assert refusal(setup.invoked_version, unknown) == (code, 404)


def test_a_qualifier_given_twice_is_the_last_for_rights_too() -> None:
    """Otherwise, the right to call one version would be that to call any."""
    path = "/2023-03-30/functions/f/invocations"
    access = routes.access(Request("POST", path, "qualifier=1&qualifier=2", {}), "r", HOME)
    assert access is not None
    assert access.resources == [f"acs:fc:r:{HOME}:functions/f/2"]


def test_a_canary_release_shares_the_calls(setup: Setup) -> None:
    """A weight sends that share of the calls to another version."""
    setup.alias(version_id="1", additional_version_weight={"2": 0.5})
    assert {setup.invoked_version("live")[0] for _ in range(20)} == {128, 256}


def test_an_alias_is_created_once(setup: Setup) -> None:
    """409 the second time; its version must exist."""
    body = {"alias_name": "canary", "version_id": "1", "description": "d"}
    alias = ask(setup.client, "CreateAlias", "f", body=body)
    assert (alias.alias_name, alias.version_id, alias.description) == ("canary", "1", "d")
    assert refusal(ask, setup.client, "CreateAlias", "f", body=body) == ("AliasAlreadyExists", 409)
    with refused("VersionNotFound"):
        setup.alias(version_id="7")


def test_triggers_are_listed(setup: Setup) -> None:
    """Their configuration is JSON text."""
    [trigger] = ask(setup.client, "ListTriggers", "f").triggers
    assert (trigger.trigger_name, trigger.trigger_type, trigger.qualifier) == ("tick", "timer", "LATEST")
    assert json.loads(trigger.trigger_config) == {"cronExpression": "@every 10m", "enable": True}
    assert setup.client.get_trigger("f", "tick").body.trigger_id == trigger.trigger_id
    with refused("TriggerNotFound"):
        setup.client.get_trigger("f", "tock")


def test_tasks_are_listed_by_qualifier(setup: Setup) -> None:
    """Without one, those of LATEST."""
    for qualifier in (None, "live", "live"):
        request = models.InvokeFunctionRequest(qualifier=qualifier)
        headers = models.InvokeFunctionHeaders(x_fc_invocation_type="Async")
        setup.client.invoke_function_with_options("f", request, headers, RuntimeOptions())
    setup.fc.drain()

    def count(qualifier: str | None) -> int:
        return len(ask(setup.client, "ListAsyncTasks", "f", qualifier=qualifier).tasks)

    assert (count(None), count("live")) == (1, 2)
