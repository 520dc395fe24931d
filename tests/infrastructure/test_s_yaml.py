"""s.yaml: what the deployed functions need to work."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from link_peer.runtime.delivery import LANES
from link_peer_local.eventbridge.pattern import Pattern
from link_peer_local.fc.manifest import load, resolved

ROOT = Path(__file__).resolve().parents[2]
S_YAML = ROOT / "s.yaml"
HOME = "1000000000000001"
KNOWN_SETTINGS = {
    "PYTHONPATH",
    "LINK_PEER_POLICY",
    "LINK_PEER_REGION",
    "LINK_PEER_AUDIT_PROJECT",
    "LINK_PEER_AUDIT_LOGSTORE",
    "LINK_PEER_QUEUE",
    "LINK_PEER_CALLS_PER_MINUTE",
}
DOCUMENT = resolved(S_YAML, env={}, account=HOME)
FUNCTIONS: dict[str, dict[str, Any]] = {name: item["props"] for name, item in DOCUMENT["resources"].items()}
TRIGGERS = [
    pytest.param(name, trigger, id=f"{name}-{trigger['triggerName']}")
    for name, props in FUNCTIONS.items()
    for trigger in props["triggers"]
]
EVENT_TRIGGERS = [case for case in TRIGGERS if case.values[1]["triggerType"] == "eventbridge"]
SAMPLES = {"instance-state": "ecs-", "instance-tags": "tags-", "requests": "queue-", "every-10m": "timer"}

each_function = pytest.mark.parametrize(("name", "props"), FUNCTIONS.items(), ids=list(FUNCTIONS))
each_trigger = pytest.mark.parametrize(("name", "trigger"), TRIGGERS)
each_event_trigger = pytest.mark.parametrize(("name", "trigger"), EVENT_TRIGGERS)


def test_there_are_exactly_three_functions() -> None:
    """One resource per function."""
    assert set(FUNCTIONS) == {"auto_link", "cross_account", "sweep"}


def test_the_component_is_pinned() -> None:
    """An unpinned component could change its behaviour between two deploys."""
    assert {item["component"] for item in DOCUMENT["resources"].values()} == {"fc3@0.1.22"}


@each_function
def test_the_handler_exists(name: str, props: dict[str, Any]) -> None:
    """`file.handler`: the file in functions/ defines `handler(event, context)`."""
    module, _, attribute = props["handler"].partition(".")
    assert (module, attribute) == (name, "handler")
    source = ROOT / "functions" / f"{module}.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    [handler] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "handler"]
    assert [argument.arg for argument in handler.args.args] == ["event", "context"]


@each_function
def test_all_functions_use_one_package(name: str, props: dict[str, Any]) -> None:
    """The same code and runtime, so they always run the same version of the shared library."""
    assert (props["code"], props["runtime"]) == ("./build/package", "python3.10")


@each_function
def test_a_function_has_enough_time_and_memory(name: str, props: dict[str, Any]) -> None:
    """cpu and diskSize must be set together; the default timeout is 3 s; event triggers allow at most 300 s."""
    assert {"cpu", "memorySize", "diskSize", "timeout"} <= set(props)
    assert 0.05 <= props["cpu"] <= 16
    assert props["memorySize"] % 64 == 0
    assert props["diskSize"] in (512, 10240)
    assert 60 <= props["timeout"] <= 300


@each_function
def test_a_function_has_a_role_and_a_log(name: str, props: dict[str, Any]) -> None:
    """Without a role the function has no credentials; fc3 reads `auto` as a role of that name."""
    assert props["role"] not in ("", "auto")
    assert props["logConfig"]["project"]
    assert props["logConfig"]["logstore"]


@each_function
def test_the_environment_has_only_known_settings(name: str, props: dict[str, Any]) -> None:
    """The function would ignore a misspelt variable. Values must be strings, at most 4 KB in total."""
    env = props["environmentVariables"]
    assert set(env) <= KNOWN_SETTINGS
    assert {"LINK_PEER_AUDIT_PROJECT", "LINK_PEER_AUDIT_LOGSTORE", "LINK_PEER_QUEUE"} <= set(env)
    assert env["PYTHONPATH"] == "/code"
    assert all(isinstance(value, str) for value in env.values())
    assert sum(len(key) + len(value) for key, value in env.items()) < 4096


@each_trigger
def test_a_trigger_has_a_sample_event(name: str, trigger: dict[str, Any]) -> None:
    """events/ contains at least one sample of what each trigger delivers."""
    assert list((ROOT / "events").glob(f"{SAMPLES[trigger['triggerName']]}*.json"))


@each_trigger
def test_a_trigger_is_enabled(name: str, trigger: dict[str, Any]) -> None:
    """A trigger that was left disabled after a test would go unnoticed."""
    config = trigger["triggerConfig"]
    assert config.get("triggerEnable", config.get("enable")) is True
    assert trigger["qualifier"] == "LATEST"


@each_event_trigger
def test_event_triggers_dead_letter_failed_events(name: str, trigger: dict[str, Any]) -> None:
    """errorsTolerance NONE, the default, blocks a stream at one poison message; without a queue the message is
    discarded."""
    options = trigger["triggerConfig"]["runOptions"]
    assert options["errorsTolerance"] == "ALL"
    assert re.fullmatch(r"acs:mns:cn-qingdao:1000000000000001:/queues/[\w-]+", options["deadLetterQueue"]["Arn"])
    assert options["retryStrategy"]["PushRetryStrategy"] in ("BACKOFF_RETRY", "EXPONENTIAL_DECAY_RETRY")
    assert options["mode"] == trigger["triggerConfig"]["eventSinkConfig"]["deliveryOption"]["mode"]


@each_function
def test_asynchronous_functions_have_task_records_and_dead_letters(name: str, props: dict[str, Any]) -> None:
    """`failed` and `replay` read the task records; onFailure names the dead-letter queue."""
    kinds = {(item["triggerType"], item["triggerConfig"].get("asyncInvocationType")) for item in props["triggers"]}
    if kinds == {("eventbridge", False)}:
        assert "asyncInvokeConfig" not in props
        return
    config = props["asyncInvokeConfig"]
    assert config["asyncTask"] is True
    assert config["destinationConfig"]["onFailure"]["destination"].startswith("acs:mns:cn-qingdao::/queues/")
    assert 0 <= config["maxAsyncRetryAttempts"] <= 8


@each_function
def test_eventbridge_triggers_come_last(name: str, props: dict[str, Any]) -> None:
    """fc3 stops at an unchanged eventbridge trigger and would never update one listed after it."""
    kinds = [item["triggerType"] for item in props["triggers"]]
    assert kinds == sorted(kinds, key=lambda kind: kind == "eventbridge")


def _patterns() -> list[Pattern]:
    return [Pattern(item["triggerConfig"]["eventRuleFilterPattern"]) for item in FUNCTIONS["auto_link"]["triggers"]]


@pytest.mark.parametrize("state", ["Created", "Pending", "Running", "Deleted"])
def test_auto_link_receives_instance_state_changes(state: str) -> None:
    """Created, in older documents Pending; Running, when it has its address; Deleted."""
    event = {"source": "acs.ecs", "type": "ecs:Instance:StateChange", "data": {"state": state}}
    assert sum(pattern.matches(event) for pattern in _patterns()) == 1


@pytest.mark.parametrize("kind", ["ApiCall", "ConsoleOperation"])
@pytest.mark.parametrize("name", ["TagResources", "UntagResources", "AddTags", "RemoveTags"])
def test_auto_link_receives_tag_changes(kind: str, name: str) -> None:
    """ECS publishes no event for a tag change, so ActionTrail's record of the call is used."""
    event = {"source": "acs.ecs", "type": f"ecs:ActionTrail:{kind}", "data": {"eventName": name}}
    assert sum(pattern.matches(event) for pattern in _patterns()) == 1


@pytest.mark.parametrize(
    "event",
    [
        {"source": "acs.ecs", "type": "ecs:Instance:StateChange", "data": {"state": "Stopping"}},
        {"source": "acs.ecs", "type": "ecs:ActionTrail:ApiCall", "data": {"eventName": "AuthorizeSecurityGroup"}},
    ],
)
def test_auto_link_is_not_triggered_by_its_own_calls(event: dict[str, Any]) -> None:
    """Otherwise every rule that it writes would invoke it again."""
    assert not any(pattern.matches(event) for pattern in _patterns())


def test_the_stream_pushes_small_batches_at_once() -> None:
    """A batch is no larger than what is carried out side by side. Only a synchronous call lets the stream see a failure."""
    [trigger] = FUNCTIONS["cross_account"]["triggers"]
    config = trigger["triggerConfig"]
    assert config["asyncInvocationType"] is False
    assert config["runOptions"]["batchWindow"] == {"CountBasedWindow": LANES, "TimeBasedWindow": 0}
    source = config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
    assert source == {"RegionId": "cn-qingdao", "QueueName": "link-peer-requests", "IsBase64Decode": True}


def test_the_file_contains_no_account_and_no_key() -> None:
    """The account is that of the deploying identity."""
    assert not re.search(r"\d{15,20}|LTAI", S_YAML.read_text(encoding="utf-8"))


def test_names_can_be_set_by_environment_variables() -> None:
    """Every name in vars has a variable."""
    names = ["REGION", "QUEUE", "DEAD_LETTER_QUEUE", "AUDIT_PROJECT", "AUDIT_LOGSTORE", "FUNCTION_LOGSTORE"]
    env = {f"LINK_PEER_{name}": f"{name.lower()}-x" for name in names} | {"LINK_PEER_ROLE": "Fn"}
    manifest = load(S_YAML, env=env, account=HOME)
    assert manifest.region == "region-x"
    function = next(item for item in manifest.functions if item.name == "link-peer-auto-link")
    assert function.env["LINK_PEER_QUEUE"] == "queue-x"
    assert (function.log_project, function.log_store) == ("audit_project-x", "function_logstore-x")
    assert function.on_failure == "acs:mns:region-x::/queues/dead_letter_queue-x/messages"
    assert function.role == f"acs:ram::{HOME}:role/fn"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("${env('LINK_PEER_UNSET')}", "not set"),
        ("${vars.missing}", "no missing"),
        ("${output.x}", "not a variable that is supported here"),
    ],
)
def test_a_variable_that_cannot_be_resolved_is_an_error(tmp_path: Path, expression: str, problem: str) -> None:
    """As in Serverless Devs: without a default there is no value."""
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({"vars": {"a": 1}, "resources": {"x": expression}}), encoding="utf-8")
    with pytest.raises(ValueError, match=problem):
        resolved(path, env={}, account=HOME)


def test_a_lone_variable_keeps_its_type(tmp_path: Path) -> None:
    """`${vars.n}` alone is a number, within text it is text; references may name other resources."""
    path = tmp_path / "s.yaml"
    text = {
        "vars": {"n": 3},
        "resources": {"a": {"props": {"n": "${vars.n}"}}, "b": "${resources.a.props.n}/${vars.n}"},
    }
    path.write_text(json.dumps(text), encoding="utf-8")
    assert resolved(path, env={}, account=HOME)["resources"] == {"a": {"props": {"n": 3}}, "b": "3/3"}
