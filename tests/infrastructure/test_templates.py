"""deploy/ros and deploy/terraform: they create what `link-peer setup` creates, with types and properties that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from link_peer_cli.names import Names

from deploy.ros import generate
from tests.functional.lab import HOME, PEER, REGION
from tests.infrastructure.ros import Stack
from tests.infrastructure.wanted import ACTION_POLICY, ALONE, BOUND, MAIL, PREFIX, TOGETHER, States, bare, states

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
TEMPLATE = yaml.safe_load((ROOT / "deploy/ros/link-peer.yaml").read_text(encoding="utf-8"))
ROS = json.loads((SCHEMAS / "ros.json").read_text(encoding="utf-8"))["resources"]
TERRAFORM = json.loads((SCHEMAS / "terraform.json").read_text(encoding="utf-8"))["resources"]
MODULES = [ROOT / "deploy/terraform", ROOT / "deploy/terraform/peer-account"]
META = {"for_each", "count", "depends_on", "lifecycle"}
"""Arguments that every resource of Terraform has."""

WITH_EVERYTHING = {
    "Prefix": PREFIX,
    "Deployment": "prod",
    "PeerRoleArns": f"acs:ram::{PEER}:role/{PREFIX},acs:ram::1000000000000003:role/other",
    "BoundQueues": BOUND,
    "Mail": MAIL,
    "ActionPolicy": ACTION_POLICY,
    "EventRules": True,
}
EVENTS = {"ALIYUN::EventBridge::Rule", "ALIYUN::FC3::Trigger"}


def stack(**parameters: Any) -> Stack:
    """The ROS template in the home account."""
    return Stack(TEMPLATE, HOME, REGION, parameters)


class TestRos:
    """deploy/ros/link-peer.yaml."""

    def test_is_what_generate_writes(self) -> None:
        """The template is up to date with the other files of deploy/."""
        written = (ROOT / "deploy/ros/link-peer.yaml").read_text(encoding="utf-8")
        assert written == generate.text(), "run: python deploy/ros/generate.py"

    @pytest.mark.parametrize("events", [True, False])
    def test_creates_what_setup_creates(self, events: bool) -> None:
        """With other accounts and somebody to notify."""
        created = ros_states(stack(**{**WITH_EVERYTHING, "EventRules": events}))
        assert created == wanted(TOGETHER, MAIL, ACTION_POLICY)

    def test_creates_what_setup_creates_alone(self) -> None:
        """Without other accounts, and with nobody to notify."""
        assert ros_states(stack(Prefix=PREFIX, Deployment="prod")) == wanted(ALONE, "", "")

    def test_notifies_a_group_that_exists(self) -> None:
        """Alarms use the contact group that is given, and none is created."""
        created = ros_states(stack(Prefix=PREFIX, Deployment="prod", ContactGroup="on-call-group"))
        assert created == wanted(ALONE, "on-call-group", "")

    def test_uses_only_properties_that_exist(self) -> None:
        """Every type, property and attribute is one that ROS has, and the required ones are there."""
        for kind, properties in [*stack(**WITH_EVERYTHING).resources(), *stack(Deployment="prod").resources()]:
            assert list(wrong(properties, ROS[kind]["properties"], kind, "properties")) == []
        for name, attribute in attributes(TEMPLATE):
            assert attribute in ROS[TEMPLATE["Resources"][name]["Type"]]["attributes"]

    def test_uses_every_parameter_and_condition(self) -> None:
        """None is without effect."""
        full = stack(**WITH_EVERYTHING)
        full.resources()
        grouped = stack(Deployment="prod", ContactGroup="on-call-group")
        grouped.resources()
        assert full.used | grouped.used == {*TEMPLATE["Parameters"], *TEMPLATE["Conditions"]}

    def test_keeps_the_audit_log(self) -> None:
        """Deleting the stack deletes neither the log project nor a logstore."""
        logs = [
            r for r in TEMPLATE["Resources"].values() if r["Type"] in ("ALIYUN::SLS::Project", "ALIYUN::SLS::Logstore")
        ]
        assert [resource.get("DeletionPolicy") for resource in logs] == ["Retain"] * 3

    def test_events_equal_the_triggers(self) -> None:
        """The rules match what the triggers of s.yaml match, and invoke the alias; the streams are configured as there."""
        created = [(kind, p) for kind, p in stack(**WITH_EVERYTHING).resources() if kind in EVENTS]
        rules = {p["RuleName"]: p for kind, p in created if kind == "ALIYUN::EventBridge::Rule"}
        streams = {p["TriggerName"]: p for kind, p in created if kind == "ALIYUN::FC3::Trigger"}
        patterns = {f"{PREFIX}-auto-link-{name}": pattern for name, pattern in filter_patterns().items()}
        assert {name: rule["FilterPattern"] for name, rule in rules.items()} == patterns
        for rule in rules.values():
            [target] = rule["Targets"]
            assert parameters(target["ParamList"], "ResourceKey", "Form", "Value") == TARGET
            assert target["Endpoint"] == f"acs:fc:{REGION}:{HOME}:functions/{PREFIX}-auto-link"
            assert target["DeadLetterQueue"] == {"Arn": f"acs:mns:{REGION}:{HOME}:/queues/{PREFIX}-dead-letters"}
        assert {name: p["TriggerConfig"] for name, p in streams.items()} == {
            "requests": stream(f"{PREFIX}-requests"),
            f"requests-{BOUND}": stream(BOUND),
        }
        assert {(p["FunctionName"], p["Qualifier"]) for p in streams.values()} == {(f"{PREFIX}-cross-account", "live")}


class TestTerraform:
    """deploy/terraform, read without Terraform; tests/infrastructure/terraform has what Terraform itself says."""

    @pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
    def test_uses_only_arguments_that_exist(self, module: Path) -> None:
        """Every resource, argument and block is one that the provider has, and the required ones are there."""
        for kind, body in resources(module):
            given = {name: value for name, value in body.items() if name not in META}
            assert list(wrong(given, TERRAFORM[kind], kind, "arguments")) == []

    @pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
    def test_references_resolve(self, module: Path) -> None:
        """Every var., local. and resource that is named is there, and every variable and local is used."""
        text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(module.glob("*.tf")))
        declared = {f"var.{name}" for name, _ in labelled(module, "variable")}
        declared |= {f"local.{name}" for block in blocks(module, "locals") for name in block}
        assert set(re.findall(r"\b(?:var|local)\.\w+", text)) == declared
        kinds = {kind for kind, _ in resources(module)}
        for kind, attribute in re.findall(r"\b(alicloud_\w+)\.this(?:\[[^\]]+\]+)?(?:\.(\w+))?", text):
            assert kind in kinds
            assert not attribute or attribute in TERRAFORM[kind]

    @pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
    def test_everything_is_described(self, module: Path) -> None:
        """Variables and outputs have a description, and the README names each variable."""
        readme = (ROOT / "deploy/terraform/README.md").read_text(encoding="utf-8")
        for label, body in [*labelled(module, "variable"), *labelled(module, "output")]:
            assert body["description"].strip('"'), label
        for name, _ in labelled(module, "variable"):
            assert f"`{name}`" in readme

    def test_versions_are_the_same(self) -> None:
        """Both modules ask for the same versions of Terraform and of the provider."""
        assert len({(module / "versions.tf").read_text(encoding="utf-8") for module in MODULES}) == 1

    def test_files_exist(self) -> None:
        """Every file of deploy/ that the modules read is there."""
        for module, files in zip(MODULES, ("..", "../.."), strict=True):
            text = (module / "main.tf").read_text(encoding="utf-8")
            names = re.findall(r"[\w-]+\.(?:json|yaml)", text)
            assert names
            assert all((module / files / name).is_file() for name in names)


TARGET = {
    "functionName": ("CONSTANT", f"{PREFIX}-auto-link"),
    "Qualifier": ("CONSTANT", "live"),
    "InvocationType": ("CONSTANT", "Async"),
    "DataFormat": ("CONSTANT", "Object"),
    "Body": ("ORIGINAL", ""),
}


def parameters(items: list[dict[str, Any]], key: str, form: str, value: str) -> dict[str, tuple[str, str]]:
    """The parameters of an event target by key."""
    return {item[key]: (item[form], item.get(value) or "") for item in items}


def filter_patterns() -> dict[str, Any]:
    """What the triggers of auto_link match, by trigger."""
    manifest = yaml.safe_load((ROOT / "s.yaml").read_text(encoding="utf-8"))
    triggers = manifest["resources"]["auto_link"]["props"]["triggers"]
    return {t["triggerName"]: json.loads(t["triggerConfig"]["eventRuleFilterPattern"]) for t in triggers}


def stream(queue: str) -> Any:
    """The configuration of the trigger on a queue, in the region and account of the tests."""
    names = {"vars.region": REGION, "vars.prefix": PREFIX, "config('AccountID')": HOME}
    text = json.dumps(
        yaml.safe_load((ROOT / "deploy/request-trigger.yaml").read_text(encoding="utf-8"))["triggerConfig"]
    )
    for name, value in names.items():
        text = text.replace(f"${{{name}}}", value)
    config = json.loads(text)
    config["eventSourceConfig"]["eventSourceParameters"]["sourceMNSParameters"]["QueueName"] = queue
    return config


def wanted(policy: str, notify: str, action_policy: str) -> States:
    """What setup creates. The switch `status` of alerts has no property in ROS, which sends `state`."""
    found = states(policy, notify, action_policy)
    assert {name for kind, name in found if kind == "queue"} >= {
        Names(HOME, PREFIX).queue,
        Names(HOME, PREFIX).dead_letters,
    }
    for (kind, _), state in found.items():
        if kind == "alert":
            del state["rule"]["status"]
    return bare(found)


def ros_states(created: Stack) -> States:
    """What a stack creates, in the words of setup."""
    found: States = {}
    for kind, p in created.resources():
        for key, state in _ros_state(kind, p):
            assert key not in found
            found[key] = state
    return bare(found)


def _ros_state(kind: str, p: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], Any]]:
    if kind == "ALIYUN::RAM::ManagedPolicy":
        yield ("policy", p["PolicyName"]), {"document": p["PolicyDocument"]}
    elif kind == "ALIYUN::RAM::Role":
        policies = sorted(p["PolicyAttachments"]["Custom"])
        yield ("role", p["RoleName"]), {"trust": p["AssumeRolePolicyDocument"], "policies": policies}
    elif kind == "ALIYUN::MNS::Queue":
        yield ("queue", p["QueueName"]), {"seconds": p["MessageRetentionPeriod"]}
    elif kind == "ALIYUN::SLS::Project":
        yield ("log project", p["Name"]), {}
    elif kind == "ALIYUN::SLS::Logstore":
        yield ("logstore", p["LogstoreName"]), {"days": p["TTL"]}
    elif kind == "ALIYUN::SLS::Index":
        yield ("index", p["LogstoreName"]), _ros_index(p)
    elif kind == "ALIYUN::SLS::Dashboard":
        yield ("dashboard", p["DashboardName"]), {"displayName": p["DisplayName"], "charts": p["Charts"]}
    elif kind == "ALIYUN::SLS::Savedsearch":
        yield ("saved search", p["Detail"]["SavedsearchName"]), camel(p["Detail"])
    elif kind == "ALIYUN::SLS::Alert":
        yield ("alert", p["Detail"]["Name"]), alert_state(camel(p["Detail"]))
    elif kind == "ALIYUN::CMS::Contact":
        yield ("alarm contact", p["ContactName"]), {"mail": p["Channels"]["Mail"]}
    elif kind == "ALIYUN::CMS::ContactGroup":
        yield ("contact group", p["ContactGroupName"]), {"contacts": p["ContactNames"]}
    elif kind == "ALIYUN::CMS::ResourceMetricRule":
        assert p["RuleId"] == p["RuleName"]
        critical = p["Escalations"]["Critical"]
        assert (critical["ComparisonOperator"], critical["Times"]) == ("GreaterThanThreshold", 1)
        yield (
            ("alarm", p["RuleName"]),
            {
                "metric": f"{p['Namespace']}/{p['MetricName']}",
                "resources": p["Resources"],
                "statistics": critical["Statistics"],
                "threshold": critical["Threshold"],
                "period": str(p["Period"]),
                "contact group": ",".join(p["ContactGroups"]),
            },
        )
    else:
        assert kind in EVENTS


def _ros_index(p: Mapping[str, Any]) -> Any:
    line = p["FullTextIndex"]
    assert line["Enable"]
    keys = {}
    for key in p["KeyIndices"]:
        keys[key["Name"]] = {"type": key["Type"], "doc_value": key["EnableAnalytics"]}
        if key["Type"] == "text":
            keys[key["Name"]] |= {"token": list(key["Delimiter"]), "caseSensitive": key["CaseSensitive"]}
    return {"line": {"token": list(line["Delimiter"]), "caseSensitive": line["CaseSensitive"]}, "keys": keys}


def alert_state(detail: dict[str, Any]) -> Any:
    """An alert in the format of CreateAlert, and its action policy by itself."""
    return {"rule": detail, "action policy": detail["configuration"]["policyConfiguration"].pop("actionPolicyId")}


def camel(value: Any) -> Any:
    """A value whose names begin with a capital, with names that do not."""
    if isinstance(value, dict):
        return {key[0].lower() + key[1:]: camel(part) for key, part in value.items()}
    return [camel(part) for part in value] if isinstance(value, list) else value


def attributes(part: Any) -> Iterator[tuple[str, str]]:
    """Every resource and attribute that Fn::GetAtt names."""
    if isinstance(part, dict):
        if "Fn::GetAtt" in part:
            name, attribute = part["Fn::GetAtt"]
            yield name, attribute
        for value in part.values():
            yield from attributes(value)
    elif isinstance(part, list):
        for value in part:
            yield from attributes(value)


def wrong(given: Mapping[str, Any], allowed: Mapping[str, Any], where: str, inner: str) -> Iterator[str]:
    """What is not in a closed table, deprecated or computed, and what is required there and missing."""
    for name, rule in allowed.items():
        if rule.get("required") and name not in given:
            yield f"{where}: {name} is missing"
    for name, value in given.items():
        rule = allowed.get(name, {"computed": True})
        if rule.get("computed") or rule.get("deprecated"):
            yield f"{where}: {name}"
        elif inner in rule:
            for part in value if isinstance(value, list) else [value]:
                yield from wrong(part, rule[inner], f"{where}.{name}", inner)


def blocks(module: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The blocks of a kind in a module, without what the parser adds."""
    for path in sorted(module.glob("*.tf")):
        yield from plain(hcl2.loads(path.read_text(encoding="utf-8"))).get(kind, [])


def labelled(module: Path, kind: str) -> list[tuple[str, dict[str, Any]]]:
    """Label and body of each block of a kind."""
    return [(label, body) for block in blocks(module, kind) for label, body in block.items()]


def resources(module: Path) -> list[tuple[str, dict[str, Any]]]:
    """Type and body of each resource of a module; their names are all `this`."""
    found = labelled(module, "resource")
    assert found
    assert all(set(body) == {"this"} for _, body in found)
    return [(kind, body["this"]) for kind, body in found]


def plain(value: Any) -> Any:
    """What python-hcl2 parsed, without quotes around names and without its own fields."""
    if isinstance(value, dict):
        return {key.strip('"'): plain(part) for key, part in value.items() if not key.startswith("__")}
    return [plain(part) for part in value] if isinstance(value, list) else value
