"""s.yaml: what the deployed functions need to work. The manifest for FC 2.0 describes the same, with the keys that its
component knows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import Pattern
from link_peer.runtime.delivery import LANES
from link_peer_deploy.description import EVENT_RULES
from link_peer_deploy.manifest import OWN_TRIGGERS, Function, Trigger, load, request_triggers, resolved
from link_peer_deploy.names import ALIAS, Names

from tests.infrastructure import fc3_props

ROOT = Path(__file__).resolve().parents[2]
S_YAML = ROOT / "s.yaml"
HOME = "1000000000000001"
PEER_QUEUE = "link-peer-requests-1000000000000002"
MANY = tuple(f"link-peer-requests-{number}" for number in range(1000))


def document(*queues: str, **env: str) -> dict[str, Any]:
    """s.yaml with its variables replaced; its props by function are the second value."""
    return resolved(S_YAML, env=env, account=HOME, queues=queues)


def props_of(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: item["props"] for name, item in description["resources"].items()}


DOCUMENT = document()
FUNCTIONS = props_of(DOCUMENT)
TRIGGERS = [
    pytest.param(name, trigger, id=f"{name}-{trigger['triggerName']}")
    for name, props in FUNCTIONS.items()
    for trigger in props["triggers"]
]
EVENT_TRIGGERS = [case for case in TRIGGERS if case.values[1]["triggerType"] == "eventbridge"]
each_function = pytest.mark.parametrize(("name", "props"), FUNCTIONS.items(), ids=list(FUNCTIONS))
each_event_trigger = pytest.mark.parametrize(("name", "trigger"), EVENT_TRIGGERS)


def test_the_component_is_pinned() -> None:
    """An unpinned component could change its behaviour between two deploys."""
    used = [item["component"] for item in DOCUMENT["resources"].values()]
    used += [step["component"].split()[0] for step in STEPS if "component" in step]
    assert set(used) == {"fc3@0.1.22"}


# no unknown key, no wrong value


STEPS: list[dict[str, str]] = DOCUMENT["resources"]["auto_link"]["actions"]["pre-deploy"]


@pytest.mark.parametrize("runtime", ["python3.12", "python3.10"])
@pytest.mark.parametrize("queues", [(), (PEER_QUEUE, "other"), MANY], ids=["shared", "bound", "many"])
@each_function
def test_the_props_match_the_closed_types(
    name: str, props: dict[str, Any], runtime: str, queues: tuple[str, ...]
) -> None:
    """For both runtimes, and with queues of single accounts."""
    function_props = props_of(document(*queues, LINK_PEER_RUNTIME=runtime))[name]
    assert fc3_props.props(function_props).runtime == runtime
    assert props["runtime"] == "python3.12"


def test_the_file_contains_no_account_and_no_key() -> None:
    """The account is that of the deploying identity."""
    assert not re.search(r"\d{15,20}|LTAI", S_YAML.read_text(encoding="utf-8"))


def test_around_the_props_there_are_known_keys_only() -> None:
    """Serverless Devs ignores others. Each variable is used."""
    assert set(DOCUMENT) == {"edition", "name", "access", "vars", "resources"}
    used = set(re.findall(r"\$\{vars\.(\w+)\}", (ROOT / "s.yaml").read_text("utf-8")))
    assert DOCUMENT["vars"].keys() == used
    for resource in DOCUMENT["resources"].values():
        assert set(resource) == {"component", "actions", "props"}
        assert resource["actions"] == {"pre-deploy": STEPS}


# the functions and their triggers


@each_event_trigger
def test_failed_events_are_dead_lettered(name: str, trigger: dict[str, Any]) -> None:
    """By the stream itself, whose options have a queue for them. A trigger for events of cloud services invokes
    asynchronously, and the function's onFailure does it: its options have none, as in the example of Terraform's
    provider."""
    config = trigger["triggerConfig"]
    is_bus = config["eventSourceConfig"]["eventSourceType"] == "Default"
    assert config["asyncInvocationType"] is is_bus
    assert ("deadLetterQueue" in config["runOptions"]) is not is_bus
    assert config["runOptions"]["mode"] == config["eventSinkConfig"]["deliveryOption"]["mode"]


def test_the_triggers_of_auto_link_are_the_rules_of_the_description() -> None:
    """By name, with the pattern that each matches."""
    triggers = {trigger["triggerName"]: trigger["triggerConfig"] for trigger in FUNCTIONS["auto_link"]["triggers"]}
    assert {name: json.loads(config["eventRuleFilterPattern"]) for name, config in triggers.items()} == EVENT_RULES


def _patterns() -> list[Pattern]:
    return [Pattern(item["triggerConfig"]["eventRuleFilterPattern"]) for item in FUNCTIONS["auto_link"]["triggers"]]


def _matching(event: Any) -> list[int]:
    return [index for index, pattern in enumerate(_patterns()) if pattern.matches(event)]


def sample_events() -> dict[str, dict[str, Any]]:
    """The samples that are one event, by the name of their file."""
    read = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "events").glob("*.json")}
    return {name: event for name, event in read.items() if isinstance(event, dict)}


@pytest.mark.parametrize("name", sorted(sample_events()))
def test_the_patterns_match_our_samples_and_nothing_else(name: str) -> None:
    """Events of states and addresses the first, whatever they say; calls the second; a queue's message none."""
    event = sample_events()[name]
    call = event.get("type", "").startswith("ecs:ActionTrail:")
    assert _matching(event) == ([int(call)] if event.get("source") == "acs.ecs" else [])


@pytest.mark.parametrize("name", [name for name, event in sample_events().items() if _matching(event)])
def test_a_change_of_what_a_pattern_names_no_longer_matches(name: str) -> None:
    """Of the source, the type, or the call; of nothing else: where an event of a state has its content is not
    certain."""
    event = sample_events()[name]
    kinds = {"ecs:ActionTrail:ApiCall", "ecs:ActionTrail:ConsoleOperation"}
    calls = event["type"] in kinds
    for key in event:
        matches = _matching({**event, key: "x"})
        assert bool(matches) is (key not in ("source", "type", *(["data"] if calls else []))), key
    if not calls:
        return
    for kind in kinds:
        assert _matching({**event, "type": kind}) == [1]
    for value in ("AuthorizeSecurityGroup", "TagResource", event["data"]["eventName"].lower(), ""):
        assert not _matching({**event, "data": {**event["data"], "eventName": value}})
    assert not _matching({**event, "data": {key: value for key, value in event["data"].items() if key != "eventName"}})


def test_the_stream_pushes_small_batches_at_once() -> None:
    """A batch is no larger than what is carried out side by side. Only a synchronous call lets the stream see a
    failure."""
    (trigger,) = FUNCTIONS["cross_account"]["triggers"]
    config = trigger["triggerConfig"]
    assert config["asyncInvocationType"] is False
    assert config["runOptions"]["batchWindow"] == {"CountBasedWindow": LANES, "TimeBasedWindow": 0}
    source = config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
    assert source == {"RegionId": "cn-qingdao", "QueueName": "link-peer-requests", "IsBase64Decode": True}


def test_each_queue_of_the_policy_has_a_trigger() -> None:
    """Beside the shared queue's: equal but for its name and the queue."""
    shared, *bound = props_of(document("b-queue", "a-queue"))["cross_account"]["triggers"]
    assert [trigger["triggerName"] for trigger in bound] == ["requests-a-queue", "requests-b-queue"]
    for trigger, queue in zip(bound, ("a-queue", "b-queue"), strict=True):
        source = trigger["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
        assert source.pop("QueueName") == queue
        trigger["triggerName"] = shared["triggerName"]
    source = shared["triggerConfig"]["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]
    assert source.pop("QueueName") == "link-peer-requests"
    assert bound == [shared, shared]


def test_more_queues_than_a_function_has_triggers_for_are_read_by_the_function() -> None:
    """Once a minute, all of them. The timer comes first: fc3 stops at a trigger of EventBridge that has not changed.
    What an earlier deploy made stays, and still fits."""
    most, many_triggers = (
        props_of(document(*MANY[:count]))["cross_account"]["triggers"] for count in (OWN_TRIGGERS, OWN_TRIGGERS + 1)
    )
    assert len(most) + 1 == 10
    assert [(trigger["triggerName"], trigger["triggerType"]) for trigger in many_triggers] == [
        ("own-queues", "timer"),
        ("requests", "eventbridge"),
    ]
    assert many_triggers == props_of(document(*MANY))["cross_account"]["triggers"]


# names


def strings(node: Any) -> Iterator[str]:
    """Every text in a document but its keys."""
    if isinstance(node, str):
        yield node
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from strings(value)


def test_two_deployments_share_no_name() -> None:
    """Each name begins with the prefix. Nothing else has it in it."""
    ours, other_texts = (
        list(strings(props_of(document(LINK_PEER_PREFIX=prefix)))) for prefix in ("link-peer", "other-prefix")
    )
    assert not [text for text in other_texts if "link-peer" in text]
    named_texts = [text for text in ours if "link-peer" in text]
    renamed = [text.replace("link-peer", "other-prefix") for text in named_texts]
    assert renamed == [text for text in other_texts if "other-prefix" in text]
    assert not {*named_texts} & {*other_texts}


@pytest.mark.parametrize("prefix", ["link-peer", "a1"])
def test_the_names_are_those_of_the_commands(prefix: str) -> None:
    """`link-peer setup` makes what s.yaml names, and the commands look for it."""
    names = Names(HOME, prefix)
    props_by_function = props_of(document(LINK_PEER_PREFIX=prefix, LINK_PEER_REGION="cn-hangzhou"))
    assert {name: props["functionName"] for name, props in props_by_function.items()} == names.functions
    manifest = load(S_YAML, env={"LINK_PEER_PREFIX": prefix, "LINK_PEER_REGION": "cn-hangzhou"}, account=HOME)
    assert manifest.region == "cn-hangzhou"
    for function in manifest.functions:
        assert function.role == f"acs:ram::{HOME}:role/{names.function_role}"
        assert (function.log_project, function.log_store) == (
            names.audit_project("cn-hangzhou"),
            names.function_logstore,
        )
        assert function.env["LINK_PEER_AUDIT_PROJECT"] == names.audit_project("cn-hangzhou")
        assert function.env["LINK_PEER_AUDIT_LOGSTORE"] == names.audit_logstore
        assert function.env["LINK_PEER_QUEUE"] == names.queue
        assert function.on_failure in (None, f"acs:mns:cn-hangzhou:{HOME}:/queues/{names.dead_letters}/messages")
        for trigger in function.triggers:
            assert trigger.qualifier == ALIAS
            if trigger.config.get("runOptions", {}).get("mode") == "event-streaming":
                arn = f"acs:mns:cn-hangzhou:{HOME}:/queues/{names.dead_letters}"
                assert trigger.config["runOptions"]["deadLetterQueue"] == {"Arn": arn}


def test_variables_of_request_triggers_are_left_to_the_cli() -> None:
    """The file that `link-peer package` writes fits every prefix and account."""
    assert "${vars.prefix}-requests" in json.dumps(request_triggers(()))
    assert HOME not in json.dumps(request_triggers(()))


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


REGION = "cn-qingdao"
FC2 = resolved(ROOT / "deploy" / "fc2" / "s.yaml", env={}, account=HOME)


# FC 2.0

SHIPPED = {
    function.handler.partition(".")[0]: function
    for function in load(ROOT / "s.yaml", env={"LINK_PEER_REGION": REGION}, account=HOME).functions
}


def test_the_same_functions_are_deployed() -> None:
    """By the component of FC 2.0, in its edition of the file format."""
    assert FC2["edition"] == "1.0.0"
    assert {service["component"] for service in FC2["services"].values()} == {"fc"}
    assert FC2["services"].keys() == SHIPPED.keys()


def as_written_for_fc2(fc3_function: Function) -> dict[str, Any]:
    """A function of s.yaml in the keys of FC 2.0 [src devsapp/fc docs/zh/yaml: service, function, triggers]. The
    component ignores others, so a wrong one would go unnoticed."""
    asynchronous = {
        "statefulInvocation": True,
        "maxAsyncRetryAttempts": fc3_function.max_retries,
        "maxAsyncEventAgeInSeconds": fc3_function.max_age,
        "destination": {"onFailure": fc3_function.on_failure},
    }
    function = {
        "name": fc3_function.name,
        "description": fc3_function.description,
        "handler": fc3_function.handler,
        "timeout": fc3_function.timeout,
        "cpu": fc3_function.cpu,
        "memorySize": fc3_function.memory,
        "diskSize": fc3_function.disk,
        "runtime": "python3.10",
        "codeUri": "../../build/package",
        "environmentVariables": {
            key: text for key, text in fc3_function.env.items() if key != "LINK_PEER_CALLS_PER_MINUTE"
        },
        **({"asyncConfiguration": asynchronous} if fc3_function.async_task else {}),
    }
    triggers = [{"name": each.name, "type": each.kind, "config": _config(each)} for each in fc3_function.triggers]
    return {"region": REGION, "function": function, "triggers": triggers}


def _config(trigger: Trigger) -> dict[str, Any]:
    """That of a trigger for what was deployed last. Events come without a schema, and the default source without
    parameters."""
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
    """Nothing is missing, and there is nothing else. The role, and the log with what FC writes there, are the
    service's."""
    props, shipped = FC2["services"][name]["props"], SHIPPED[name]
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
