"""Deploying functions through the official client: create, update and delete, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import requests
from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from darabonba.runtime import RuntimeOptions

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Key
from aliyun_local.core.principals import ManagedPolicy, Role, User, Version, policy_text, trust_text
from aliyun_local.eventbridge import linked_roles
from clients import HOME, ask, config, key_of, refusal

ROLE = f"acs:ram::{HOME}:role/fn"
RULE = {
    "triggerEnable": True,
    "asyncInvocationType": True,
    "eventRuleFilterPattern": '{"source":["acs.ecs"]}',
    "eventSourceConfig": {"eventSourceType": "Default"},
}
STREAM = {
    "triggerEnable": True,
    "asyncInvocationType": False,
    "eventRuleFilterPattern": "{}",
    "eventSourceConfig": {
        "eventSourceType": "MNS",
        "eventSourceParameters": {"sourceMNSParameters": {"QueueName": "requests"}},
    },
    "eventSinkConfig": {"deliveryOption": {"eventSchema": "CloudEvents"}},
    "runOptions": {"mode": "event-streaming"},
}
TIMER = {"cronExpression": "@every 10m", "enable": True, "payload": "sweep"}


@cache  # a zip holds the time at which it was made
def package(answer: str) -> str:
    """A package whose handler answers this text, as `code.zipFile` carries it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", f"def handler(event, context):\n    return {answer!r}\n")
        archive.writestr("where.py", "import sys\ndef handler(event, context):\n    return sys.path\n")
    return base64.b64encode(packed.getvalue()).decode()


class Setup:
    """A client of the home account, with a role and a log for functions."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        cloud.identity.add_role(Role(HOME, "fn", trust_text(["fc.aliyuncs.com"])))
        self.client = self.signed_by(key_of(cloud))

    @staticmethod
    def signed_by(key: Key) -> Client:
        return Client(config(key, f"{HOME}.cn-qingdao.fc.aliyuncs.com"))

    def function_fields(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "function_name": "f",
            "runtime": "python3.12",
            "handler": "index.handler",
            "memory_size": 512,
            "cpu": 0.35,
            "disk_size": 512,
            "timeout": 60,
            "role": ROLE,
            "code": models.InputCodeLocation(zip_file=package("one")),
            **changes,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def create(self, client: Client | None = None, **changes: Any) -> Any:
        return ask(client or self.client, "CreateFunction", body=self.function_fields(**changes))

    def update(self, **changes: Any) -> Any:
        return ask(self.client, "UpdateFunction", "f", body=changes)

    def publish(self) -> str:
        return str(ask(self.client, "PublishFunctionVersion", "f", body=models.PublishVersionInput()).version_id)

    def alias(self, version: str) -> None:
        ask(self.client, "CreateAlias", "f", body={"alias_name": "live", "version_id": version})

    def move(self, version: str) -> None:
        ask(self.client, "UpdateAlias", "f", "live", body={"version_id": version})

    def trigger(self, name: str, kind: str, config: dict[str, Any], qualifier: str = "LATEST") -> Any:
        body = {
            "trigger_name": name,
            "trigger_type": kind,
            "trigger_config": json.dumps(config),
            "qualifier": qualifier,
        }
        return ask(self.client, "CreateTrigger", "f", body=body)

    def change(self, trigger: str, config: dict[str, Any], **options: Any) -> Any:
        return ask(self.client, "UpdateTrigger", "f", trigger, body={"trigger_config": json.dumps(config), **options})

    def invoke(self, qualifier: str | None = None) -> str:
        request = models.InvokeFunctionRequest(qualifier=qualifier)
        answer = self.client.invoke_function_with_options(
            "f", request, models.InvokeFunctionHeaders(), RuntimeOptions()
        )
        return str(answer.body.read().decode())


@pytest.fixture(name="setup")
def _setup(local_cloud: LocalCloud) -> Iterator[Setup]:
    yield Setup(local_cloud)
    local_cloud.fc.close()


# functions


def test_an_uploaded_package_runs_with_nothing_else_on_its_path(setup: Setup) -> None:
    """Its folder comes first; no installed package is there."""
    setup.create(handler="where.handler")
    first, *later_paths = json.loads(setup.invoke())
    assert "aliyun-local-fc-" in first
    assert not [path for path in later_paths if "site-packages" in path or "aliyun_local" in path]


def test_the_package_of_a_version_can_be_downloaded(setup: Setup) -> None:
    """As it was uploaded, from an address that needs no other signature; equal packages have one checksum."""
    setup.create()
    setup.publish()
    setup.update(code=models.InputCodeLocation(zip_file=package("two")))
    first, latest = (ask(setup.client, "GetFunctionCode", "f", qualifier=version) for version in ("1", None))
    packed = requests.get(first.url, timeout=5)
    assert (packed.status_code, packed.content) == (200, base64.b64decode(package("one")))
    assert first.checksum != latest.checksum == ask(setup.client, "GetFunctionCode", "f").checksum
    assert requests.get(f"{first.url}0", timeout=5).status_code == 403
    assert refusal(ask, setup.client, "GetFunctionCode", "f", qualifier="2")[0] == "VersionNotFound"


def test_each_version_keeps_its_package(setup: Setup) -> None:
    """An alias that is moved back runs the earlier code: a rollback."""
    setup.create()
    setup.alias(setup.publish())
    assert (setup.invoke(), setup.invoke("live")) == ("one", "one")
    setup.update(code=models.InputCodeLocation(zip_file=package("two")))
    assert (setup.invoke(), setup.invoke("live")) == ("two", "one")
    setup.move(setup.publish())
    assert setup.invoke("live") == "two"
    setup.move("1")
    assert setup.invoke("live") == "one"
    assert refusal(setup.move, "1")[0] == "InvalidArgument"


def test_an_update_keeps_what_it_leaves_out(setup: Setup) -> None:
    """The code, for example; a version is published only after a change. A function is created once."""
    setup.create(description="first")
    assert refusal(setup.create)[0] == "FunctionAlreadyExists"
    setup.publish()
    assert refusal(setup.publish)[0] == "VersionPublishError"
    updated = setup.update(memory_size=1024)
    assert (updated.memory_size, updated.timeout, updated.description, setup.invoke()) == (1024, 60, "first", "one")
    assert setup.publish() == "2"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"runtime": "python3.11"}, "NotOfferedByLocalCloud"),
        ({"runtime": "cobol"}, "InvalidArgument"),
        ({"handler": "index"}, "InvalidArgument"),
        ({"handler": None}, "InvalidArgument"),
        ({"function_name": "1st"}, "InvalidArgument"),
        ({"memory_size": 200}, "InvalidArgument"),
        ({"memory_size": 4096}, "InvalidArgument"),
        ({"cpu": 0.33}, "InvalidArgument"),
        ({"disk_size": 777}, "InvalidArgument"),
        ({"timeout": 0}, "InvalidArgument"),
        ({"description": "x" * 257}, "InvalidArgument"),
        ({"environment_variables": {"FC_REGION": "x"}}, "InvalidArgument"),
        ({"environment_variables": {"A": "x" * 4096}}, "InvalidArgument"),
        ({"role": f"acs:ram::{HOME}:role/nobody"}, "AccessDenied"),
        ({"role": f"acs:ram::{HOME}:role/operator"}, "AccessDenied"),
        ({"log_config": models.LogConfig(project="gone", logstore="functions")}, "InvalidArgument"),
        ({"code": models.InputCodeLocation(zip_file="UEs=")}, "InvalidArgument"),
        ({"code": models.InputCodeLocation(oss_bucket_name="b", oss_object_name="o")}, "NotOfferedByLocalCloud"),
        ({"layers": ["acs:fc:cn-qingdao:1:layers/x/versions/1"]}, "NotOfferedByLocalCloud"),
    ],
)
def test_what_a_function_cannot_be_is_refused(setup: Setup, changes: dict[str, Any], code: str) -> None:
    """And nothing is created."""
    assert refusal(setup.create, **changes)[0] == code
    assert ask(setup.client, "ListFunctions").functions == []


def test_a_user_needs_rights_on_the_function_and_on_its_role(setup: Setup) -> None:
    """fc:CreateFunction on the function's name, and ram:PassRole on the role."""
    identity = setup.cloud.identity
    user = User(HOME, "deployer")
    client = setup.signed_by(identity.add_key(user))
    function = {"Effect": "Allow", "Action": "fc:CreateFunction", "Resource": f"acs:fc:*:{HOME}:functions/f"}
    role = {"Effect": "Allow", "Action": "ram:PassRole", "Resource": ROLE}
    for statements, code in (([role], "AccessDenied"), ([function], "AccessDenied"), ([function, role], "")):
        identity.policies[HOME, "deploy"] = ManagedPolicy("deploy", {"v1": Version(policy_text(statements), 0)})
        user.attached["Custom", "deploy"] = 0
        if code:
            assert refusal(setup.create, client)[0] == code
    assert setup.create(client).function_name == "f"


# deletion


def test_a_function_is_deleted_after_all_that_belongs_to_it(setup: Setup) -> None:
    """In the order of fc3: triggers, aliases, versions, the function."""
    setup.create()
    setup.alias(setup.publish())
    setup.trigger("tick", "timer", TIMER, "live")
    client = setup.client
    assert refusal(client.delete_function, "f")[0] == "FunctionNotEmpty"
    client.delete_trigger("f", "tick")
    assert refusal(client.delete_function_version, "f", "1")[0] == "InvalidArgument"
    client.delete_alias("f", "live")
    assert refusal(client.delete_function, "f")[0] == "FunctionNotEmpty"
    client.delete_function_version("f", "1")
    client.delete_function("f")
    assert refusal(ask, client, "GetFunction", "f")[0] == "FunctionNotFound"
    assert setup.cloud.triggers.timers == []


# triggers


def test_a_trigger_on_events_is_a_rule_on_the_default_bus(setup: Setup) -> None:
    """The rule follows the trigger: it is made, changed and removed with it."""
    setup.create()
    setup.trigger("events", "eventbridge", RULE)
    [rule] = setup.cloud.events._rules[HOME]
    assert (rule.text, rule.endpoint) == ('{"source":["acs.ecs"]}', f"acs:fc:cn-qingdao:{HOME}:functions/f/LATEST")
    second_rule = {**RULE, "eventRuleFilterPattern": '{"source":["acs.oss"]}'}
    assert setup.change("events", second_rule, description="new").description == "new"
    assert [rule.text for rule in setup.cloud.events._rules[HOME]] == ['{"source":["acs.oss"]}']
    setup.client.delete_trigger("f", "events")
    assert setup.cloud.events._rules[HOME] == []


@pytest.mark.parametrize(
    ("kind", "config", "switch"), [("timer", TIMER, "enable"), ("eventbridge", STREAM, "triggerEnable")]
)
def test_a_trigger_that_is_switched_off_calls_nothing(
    setup: Setup, kind: str, config: dict[str, Any], switch: str
) -> None:
    """It is still there, and can be switched on. A timer or a stream ends with its trigger."""
    setup.create()
    triggers = setup.cloud.triggers
    setup.trigger("t", kind, {**config, switch: False})
    assert (triggers.timers, triggers.streams) == ([], [])
    setup.change("t", config)
    assert len([*triggers.timers, *triggers.streams]) == 1
    setup.client.delete_trigger("f", "t")
    assert (triggers.timers, triggers.streams) == ([], [])


def test_the_type_of_a_triggers_source_stays(setup: Setup) -> None:
    """An update with another one changes the rest."""
    setup.create()
    setup.trigger("events", "eventbridge", RULE)
    queue_rule = {**RULE, "eventSourceConfig": {"eventSourceType": "MNS"}, "eventRuleFilterPattern": "{}"}
    assert json.loads(setup.change("events", queue_rule).trigger_config) == {**RULE, "eventRuleFilterPattern": "{}"}


@pytest.mark.parametrize(
    ("kind", "config", "qualifier", "code"),
    [
        ("timer", {"cronExpression": "@evry 10m"}, "LATEST", "InvalidArgument"),
        ("timer", {}, "LATEST", "InvalidArgument"),
        ("timer", TIMER, "live", "AliasNotFound"),
        ("timer", TIMER, "7", "VersionNotFound"),
        ("eventbridge", {**RULE, "eventRuleFilterPattern": "{"}, "LATEST", "InvalidArgument"),
        ("eventbridge", {"triggerEnable": True}, "LATEST", "InvalidArgument"),
        ("oss", {}, "LATEST", "NotOfferedByLocalCloud"),
    ],
)
def test_what_a_trigger_cannot_be_is_refused(
    setup: Setup, kind: str, config: dict[str, Any], qualifier: str, code: str
) -> None:
    """And none is created."""
    setup.create()
    assert refusal(setup.trigger, "t", kind, config, qualifier)[0] == code
    assert ask(setup.client, "ListTriggers", "f").triggers == []


def test_a_trigger_on_eventbridge_may_need_a_service_linked_role(setup: Setup) -> None:
    """Function Compute's own, by one reading; a timer needs none."""
    setup.create()
    del setup.cloud.identity.roles[f"acs:ram::{HOME}:role/{linked_roles.FC_TRIGGER}"]
    setup.cloud.knobs.change({"trigger_role": "required"})
    assert refusal(setup.trigger, "events", "eventbridge", RULE)[0] == "InvalidArgument"
    setup.trigger("timer", "timer", TIMER)
    linked_roles.create(setup.cloud.identity, HOME, 0, linked_roles.FC_TRIGGER)
    setup.trigger("events", "eventbridge", RULE)


def test_a_function_has_at_most_ten_triggers(setup: Setup) -> None:
    """And each name once. One page says ten, another 50: here the least holds."""
    setup.create()
    for number in range(10):
        setup.trigger(f"t{number}", "timer", TIMER)
    assert refusal(setup.trigger, "t0", "timer", TIMER)[0] == "TriggerAlreadyExists"
    assert refusal(setup.trigger, "one-more", "timer", TIMER)[0] == "ResourceExhausted"


# asynchronous settings


def test_asynchronous_settings_belong_to_a_qualifier(setup: Setup) -> None:
    """They are put, read and deleted; the alias must exist."""
    setup.create()
    settings = {"async_task": True, "max_async_retry_attempts": 8}

    def put() -> None:
        ask(setup.client, "PutAsyncInvokeConfig", "f", qualifier="live", body=settings)

    def read() -> Any:
        return ask(setup.client, "GetAsyncInvokeConfig", "f", qualifier="live")

    assert refusal(put)[0] == "AliasNotFound"
    setup.alias(setup.publish())
    put()
    assert (read().async_task, read().max_async_retry_attempts) == (True, 8)
    assert read().function_arn.endswith(":functions/f/live")
    assert refusal(ask, setup.client, "GetAsyncInvokeConfig", "f")[0] == "AsyncConfigNotExists"
    ask(setup.client, "DeleteAsyncInvokeConfig", "f", qualifier="live")
    assert refusal(read)[0] == "AsyncConfigNotExists"
    settings["max_async_retry_attempts"] = 9
    assert refusal(put)[0] == "InvalidArgument"


def test_whether_a_destination_must_name_the_account_is_a_knob(setup: Setup) -> None:
    """One that names it is accepted either way."""
    setup.create()

    def put(account: str) -> None:
        arn = f"acs:mns:cn-qingdao:{account}:/queues/dead/messages"
        failed = models.DestinationConfig(on_failure=models.Destination(destination=arn))
        ask(setup.client, "PutAsyncInvokeConfig", "f", body={"destination_config": failed})

    put("")
    setup.cloud.knobs.destination_account = "required"
    put(HOME)
    assert refusal(put, "")[0] == "InvalidArgument"
