"""deploy/: RAM policies that allow what the code calls and nothing else, and a log index that supports its queries."""

from __future__ import annotations

import ast
import json
import operator
import re
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from link_peer.domain.tags import managed_tag
from link_peer.runtime import audit
from link_peer_local.cloud import LocalCloud
from link_peer_local.sls import LogGroup, LogRecord
from link_peer_local.world import WORLDS

from deploy import prepare
from tests.functional.lab import HOME, PEER, REGION, Lab

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VALUES = {
    "LINK_PEER_REGION": REGION,
    "LINK_PEER_ROLE": "link-peer-fc",
    "LINK_PEER_QUEUE": "link-peer-requests",
    "LINK_PEER_DEAD_LETTER_QUEUE": "link-peer-dead-letters",
    "LINK_PEER_AUDIT_PROJECT": "link-peer-audit",
    "LINK_PEER_AUDIT_LOGSTORE": "decisions",
    "LINK_PEER_FUNCTION_LOGSTORE": "functions",
    "HOME_ACCOUNT": HOME,
    "PEER_ACCOUNT": PEER,
    "PEER_ROLE": "link-peer",
    "DEPLOYMENT": "prod",
    "EXTERNAL_ID": "link-peer-local-example",
    "REQUESTER_EXTERNAL_ID": "link-peer-requester-example",
}
DASHBOARD = yaml.safe_load((DEPLOY / "dashboard.yaml").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((DEPLOY / "alerts.yaml").read_text(encoding="utf-8"))
POLICIES = sorted(path.name for path in DEPLOY.glob("ram-*.json"))
NO_RESOURCE_LEVEL = {"ecs:AuthorizeSecurityGroup", "ecs:ModifySecurityGroupRule", "ecs:ListTagResources"}
"""[doc ECS RAM authorization]"""
MANAGED_TAG = f"link-managed.prod.{HOME}"


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    return Lab(local_cloud, monkeypatch, tmp_path)


def document(name: str) -> dict[str, Any]:
    """A policy with its placeholders filled in; KeyError for a placeholder that no page explains."""
    found: dict[str, Any] = json.loads(string.Template((DEPLOY / name).read_text(encoding="utf-8")).substitute(VALUES))
    return found


def statements(policy: dict[str, Any], effect: str) -> list[dict[str, Any]]:
    return [statement for statement in policy["Statement"] if statement["Effect"] == effect]


def allowed(name: str, service: str = "") -> set[str]:
    actions = {action for statement in statements(document(name), "Allow") for action in statement["Action"]}
    return {action for action in actions if action.startswith(service)}


def called() -> set[str]:
    """The ECS actions that alicloud/ecs.py calls, from the names of the SDK's operations."""
    tree = ast.parse((ROOT / "shared" / "link_peer" / "alicloud" / "ecs.py").read_text(encoding="utf-8"))
    operations = {
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("_read", "_change", "_pages", "_all")
        and isinstance(node.args[0], ast.Constant)
    }
    return {"ecs:" + str(operation).title().replace("_", "") for operation in operations}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_only_known_placeholders(name: str) -> None:
    """Each file is a RAM policy of version 1 after `envsubst` with the variables that docs/ lists."""
    policy = document(name)
    assert policy["Version"] == "1"
    assert {statement["Effect"] for statement in policy["Statement"]} <= {"Allow", "Deny"}


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-peer-role.json"])
def test_a_role_allows_exactly_the_ecs_actions_that_the_code_calls(name: str) -> None:
    """A missing action would deny links; an unneeded one would help an attacker. Only events look for the groups whose rules
    name a group, and only at home."""
    needed = called()
    assert {"ecs:AuthorizeSecurityGroup", "ecs:DescribeSecurityGroupReferences"} <= needed
    needed -= {"ecs:DescribeSecurityGroupReferences"} if name == "ram-peer-role.json" else set()
    assert allowed(name, "ecs:") == needed


@pytest.mark.parametrize("path", sorted(WORLDS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_roles_of_the_local_worlds_allow_the_same(path: Path) -> None:
    """So that a missing permission is found before the real cloud refuses it."""
    for role in yaml.safe_load(path.read_text(encoding="utf-8"))["roles"]:
        name = "ram-function-role.json" if role["account"] == HOME else "ram-peer-role.json"
        assert set(role["allowed_actions"]) == allowed(name)


def test_outside_ecs_the_function_role_only_writes_logs_and_queues_and_assumes_peer_roles() -> None:
    """It can neither read nor delete the audit log, nor receive messages from a queue."""
    others = [
        (statement["Action"], statement["Resource"])
        for statement in statements(document("ram-function-role.json"), "Allow")
        if not statement["Action"][0].startswith("ecs:")
    ]
    log = f"acs:log:{REGION}:{HOME}:project/link-peer-audit/logstore/"
    queue = f"acs:mns:{REGION}:{HOME}:/queues/"
    assert others == [
        (["sts:AssumeRole"], [f"acs:ram::{PEER}:role/link-peer"]),
        (["log:PostLogStoreLogs"], [f"{log}decisions", f"{log}functions"]),
        (
            ["mns:SendMessage"],
            [
                f"{queue}link-peer-requests/messages",
                f"{queue}link-peer-requests-*/messages",  # the queues of single accounts
                f"{queue}link-peer-dead-letters/messages",
            ],
        ),
    ]


def test_a_peer_role_allows_only_ecs() -> None:
    """The second account grants access to its security groups and instances only."""
    assert allowed("ram-peer-role.json") == allowed("ram-peer-role.json", "ecs:")


@pytest.mark.parametrize("name", POLICIES)
def test_every_allow_is_restricted_to_resources_if_possible(name: str) -> None:
    """`*` is allowed for the actions without a resource level; every other Allow names region and account."""
    for statement in statements(document(name), "Allow"):
        if "Principal" in statement:
            continue
        if set(statement["Action"]) <= NO_RESOURCE_LEVEL:
            assert statement["Resource"] == ["*"]
            continue
        for resource in statement["Resource"]:
            account = resource.split(":")[3]
            assert account in (HOME, PEER), resource


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-peer-role.json"])
def test_no_role_may_open_to_the_world_or_consent_for_itself(name: str) -> None:
    """A second line of defence: no source 0.0.0.0/0 or ::/0, and no consent or lock written or removed by link-peer itself,
    not even beside its own tag in one call."""
    denied = {
        (action, key): values
        for statement in statements(document(name), "Deny")
        for action in statement["Action"]
        for condition in statement["Condition"].values()
        for key, values in condition.items()
    }
    for action in ("ecs:AuthorizeSecurityGroup", "ecs:ModifySecurityGroupRule"):
        assert denied[action, "ecs:SecurityGroupSourceCidrIps"] == ["0.0.0.0/0", "::/0"]
    for action in ("ecs:TagResources", "ecs:UntagResources"):
        assert denied[action, "acs:RequestTag/link-accept"] == ["*"]
        assert denied[action, "acs:RequestTag/link-lock"] == ["*"]


@pytest.mark.parametrize("name", ["ram-function-role.json", "ram-peer-role.json"])
def test_a_role_may_write_and_remove_only_its_own_tag(name: str) -> None:
    """That of this deployment and home, on security groups."""
    tagging = [
        s for s in statements(document(name), "Allow") if set(s["Action"]) & {"ecs:TagResources", "ecs:UntagResources"}
    ]
    assert [(s["Action"], s["Condition"]) for s in tagging] == [
        (["ecs:TagResources", "ecs:UntagResources"], {"StringLike": {f"acs:RequestTag/{MANAGED_TAG}": ["*"]}})
    ]
    assert all(resource.endswith(":securitygroup/*") for s in tagging for resource in s["Resource"])
    assert managed_tag("prod", HOME) == MANAGED_TAG


def test_the_deny_policy_covers_all_tagging_of_groups() -> None:
    """Any key `link-accept.<any>` consents, and RAM's condition keys have no wildcards."""
    unconditional = {
        (action, resource)
        for statement in statements(document("ram-deny-accept-tags.json"), "Deny")
        if "Condition" not in statement
        for action in statement["Action"]
        for resource in statement["Resource"]
    }
    groups = "acs:ecs:*:*:securitygroup/*"
    assert {("ecs:TagResources", groups), ("ecs:UntagResources", groups)} <= unconditional
    assert {("ecs:AddTags", "*"), ("ecs:RemoveTags", "*"), ("tag:TagResources", "*")} <= unconditional
    assert ("ecs:CreateSecurityGroup", "*") in unconditional  # it takes tags, too
    assert not [s for s in document("ram-deny-accept-tags.json")["Statement"] if "Condition" in s]
    assert not statements(document("ram-deny-accept-tags.json"), "Allow")


def test_the_deny_policy_does_not_cover_instances() -> None:
    """Everyone may still ask for links: without a condition, ecs:TagResources is denied only on groups."""
    for statement in document("ram-deny-accept-tags.json")["Statement"]:
        if "ecs:TagResources" in statement["Action"] and "Condition" not in statement:
            assert statement["Resource"] == ["acs:ecs:*:*:securitygroup/*"]


def test_a_requester_may_only_send_to_the_request_queue() -> None:
    """It can neither read other requests nor touch the dead letters."""
    [statement] = document("ram-requester.json")["Statement"]
    assert statement["Action"] == ["mns:SendMessage"]
    assert statement["Resource"] == [f"acs:mns:{REGION}:{HOME}:/queues/link-peer-requests/messages"]


def test_the_peer_role_trusts_one_role_with_the_external_id() -> None:
    """Not the whole home account, and no caller without this account's external id."""
    [statement] = document("ram-peer-role-trust.json")["Statement"]
    assert statement["Principal"] == {"RAM": [f"acs:ram::{HOME}:role/link-peer-fc"]}
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "link-peer-local-example"}}


def test_the_function_role_is_for_function_compute_only() -> None:
    """No person and no other service can assume it."""
    [statement] = document("ram-function-role-trust.json")["Statement"]
    assert statement["Principal"] == {"Service": ["fc.aliyuncs.com"]}


def test_the_ros_template_creates_the_same_role_as_the_json_files() -> None:
    """peer-account.yaml has the same trust policy and policy, for people who use ROS."""
    template = yaml.safe_load((DEPLOY / "peer-account.yaml").read_text(encoding="utf-8"))
    parameters = {
        "HomeAccount": HOME,
        "FunctionRole": template["Parameters"]["FunctionRole"]["Default"],
        "RoleName": template["Parameters"]["RoleName"]["Default"],
        "ExternalId": VALUES["EXTERNAL_ID"],
        "ManagedTag": {f"acs:RequestTag/{MANAGED_TAG}": ["*"]},
        "ALIYUN::Region": REGION,
        "ALIYUN::TenantId": PEER,
    }
    role = rendered(template["Resources"]["Role"]["Properties"], parameters)
    assert role["AssumeRolePolicyDocument"] == document("ram-peer-role-trust.json")
    assert [policy["PolicyDocument"] for policy in role["Policies"]] == [document("ram-peer-role.json")]
    assert f"acs:ram::{PEER}:role/{role['RoleName']}" in allowed_roles()


def rendered(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Evaluates ROS's `Ref` and `Fn::Sub`."""
    if isinstance(value, list):
        return [rendered(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return parameters[value["Ref"]]
    if set(value) == {"Fn::Sub"}:
        return re.sub(r"\$\{([^}]+)\}", lambda match: parameters[match[1]], value["Fn::Sub"])
    return {key: rendered(item, parameters) for key, item in value.items()}


def allowed_roles() -> set[str]:
    return {
        resource
        for statement in statements(document("ram-function-role.json"), "Allow")
        if statement["Action"] == ["sts:AssumeRole"]
        for resource in statement["Resource"]
    }


def test_the_placeholders_are_variables_of_s_yaml() -> None:
    """One `export` block serves policies, queues, logs and functions."""
    read = set(re.findall(r"env\('(LINK_PEER_\w+)'", (ROOT / "s.yaml").read_text(encoding="utf-8")))
    assert {name for name in VALUES if name.startswith("LINK_PEER_")} <= read


def test_the_roles_suffice_to_open_and_close_links(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With these two roles, and ECS denying everything else, in one account and across two."""
    roles = lab.cloud.identity.roles
    function, peer = roles[f"acs:ram::{HOME}:role/link-peer-fc"], roles[f"acs:ram::{PEER}:role/link-peer"]
    function.allowed_actions = sorted(allowed("ram-function-role.json"))
    peer.allowed_actions = sorted(allowed("ram-peer-role.json"))
    keys = lab.cloud.identity.issue(function, "test", lab.cloud.clock.now() + 3600)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", keys.secret)
    monkeypatch.setenv("ALIBABA_CLOUD_SECURITY_TOKEN", str(keys.token))

    app = lab.group()
    database = lab.group(f"{app.id}:tcp/3306")
    ledger = lab.group(f"{app.id}@{HOME}:tcp/443", account=PEER)
    instance = lab.instance(app, tags={"link-peer": f"{database.id}:tcp/3306"})
    lab.instance(ledger)
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.cross_account(lab.request(app, ledger, "tcp/443")) == {"applied": 1}
    assert lab.cross_account(lab.request(app, ledger, "tcp/443", request_id="chg-2")) == {"applied": 1}
    assert lab.cross_account(lab.request(app, ledger, action="unlink")) == {"removed": 1}
    lab.tag(instance, link_peer=None)
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    lab.sweep()
    assert (lab.rules(database), lab.rules(ledger)) == ([], [])
    assert MANAGED_TAG not in lab.tags(database) | lab.tags(ledger)


def test_every_field_of_a_record_is_indexed() -> None:
    """The fields of the contract and our own; the deployed index and the local cloud's are the same file."""
    document = json.loads((DEPLOY / "sls-index.json").read_text(encoding="utf-8"))
    assert all(key["doc_value"] for key in document["keys"].values())
    assert {
        *audit.DECISION_FIELDS,
        "record",
        "time",
        "function",
        "deployment",
        "region",
        "event_id",
        "request_id",
    } <= set(document["keys"])
    assert {"instance", "tagged", "claimed_reason", "changed", "removed", "held", "seconds"} <= set(document["keys"])


def test_prepare_creates_queues_and_logs_and_keeps_existing_ones(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the official clients; a second run changes nothing and does not fail."""
    for name, value in VALUES.items():
        if name.startswith("LINK_PEER_"):
            monkeypatch.setenv(name, value.replace("link-peer-", "new-"))
    assert prepare.main() == 0
    assert prepare.main() == 0
    out = capsys.readouterr().out
    assert out.count("queue new-dead-letters") == 2
    assert out.count("no alerts: set LINK_PEER_ACTION_POLICY") == 2
    for queue in ("new-requests", "new-dead-letters"):
        assert lab.cloud.mns.receive(HOME, queue, max_n=1) == []
    local = lab.cloud.sls.index(HOME, lab.cloud.world.audit_project, lab.cloud.world.audit_logstore)
    made = lab.cloud.sls.index(HOME, "new-audit", "decisions")
    assert (made.line, made.keys, made.analysed) == (local.line, local.keys, local.analysed)


def test_prepare_creates_the_dashboard_and_the_alerts_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dashboard or alert rule that someone has changed since is kept."""
    for name, value in VALUES.items():
        if name.startswith("LINK_PEER_"):
            monkeypatch.setenv(name, value.replace("link-peer-", "new-"))
    monkeypatch.setenv("LINK_PEER_ACTION_POLICY", "on-call")
    assert prepare.main() == 0
    project = lab.cloud.sls.project(HOME, "new-audit")
    [shown] = project.dashboards.values()
    places = {(chart["display"]["xPos"], chart["display"]["yPos"]) for chart in shown["charts"]}
    assert len(places) == len(shown["charts"]) == len(DASHBOARD)
    assert set(project.alerts) == {rule["name"] for rule in ALERTS}
    for rule in project.alerts.values():
        assert rule["configuration"]["policyConfiguration"]["actionPolicyId"] == "on-call"
    shown["charts"].pop()
    assert prepare.main() == 0
    assert len(project.dashboards["link-peer"]["charts"]) == len(DASHBOARD) - 1


@pytest.mark.parametrize("chart", DASHBOARD, ids=lambda chart: chart["title"])
def test_a_chart_has_data(lab: Lab, chart: dict[str, Any]) -> None:
    """Its query runs on the log of a link that is opened, one that is denied, and a sweep."""
    run_once(lab)
    rows = asked(lab, chart["query"], 7 * 86400)
    assert rows
    assert {chart[axis] for axis in "xy" if axis in chart} <= set(rows[0])


def test_duplicate_records_count_once(lab: Lab) -> None:
    """Each sweep records a lasting denial again, and SLS may store a record twice."""
    run_once(lab)
    lab.sweep()
    counts = {row["outcome"]: row["links"] for row in asked(lab, DASHBOARD[0]["query"], 86400)}
    assert counts == {"applied": "1", "denied": "1"}
    [quota] = [rule for rule in ALERTS if rule["name"] == "link-peer-quota"]
    for _ in range(2):
        write(lab, 3, record="outcome", outcome="failed", reason="quota")
    assert asked(lab, quota["query"], 3600) == [{"count": "3"}]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["name"])
def test_an_alert_fires_only_on_its_condition(lab: Lab, rule: dict[str, Any]) -> None:
    """It is silent in normal operation and fires in the situation that it is for."""
    run_once(lab)
    lab.sweep()
    assert not fires(lab, rule)
    situations: dict[str, Callable[[], Any]] = {
        "link-peer-removals-held": lambda: write(lab, 1, record="summary", outcome="failed", reason="removals-held"),
        "link-peer-no-access": lambda: write(lab, 1, record="outcome", outcome="denied", reason="no-access"),
        "link-peer-no-sweep": lambda: lab.cloud.clock.sleep(1900),
        "link-peer-trouble": lambda: write(lab, 21, record="attempt", detail="throttled"),
        "link-peer-quota": lambda: write(lab, 1, record="outcome", outcome="failed", reason="quota"),
        "link-peer-knocking": lambda: write(lab, 51, record="outcome", outcome="denied", reason="bad-request", link=""),
    }
    situations[rule["name"]]()
    assert fires(lab, rule)


def run_once(lab: Lab) -> None:
    """Opens one link, denies another for lack of consent, and runs a sweep."""
    app, db, cache = lab.group(), lab.group("*"), lab.group()
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306 {cache.id}:tcp/6379"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "denied": 1}
    lab.sweep()


def write(lab: Lab, count: int, **fields: str) -> None:
    """Writes records as a function does, each with its own key."""
    now = int(lab.cloud.clock.now())
    records = tuple(LogRecord(now, number + 1, {**fields, "key": f"{number:016x}"}) for number in range(count))
    lab.cloud.sls.put(HOME, lab.cloud.world.audit_project, lab.cloud.world.audit_logstore, LogGroup(records))


def asked(lab: Lab, query: str, seconds: int) -> list[dict[str, str]]:
    now = lab.cloud.clock.now() + 1
    return lab.cloud.sls.search(
        HOME, lab.cloud.world.audit_project, lab.cloud.world.audit_logstore, now - seconds, now, query
    ).logs


def fires(lab: Lab, rule: dict[str, Any]) -> bool:
    """Evaluates a condition as SLS does: the names in it are the columns of the row."""
    [row] = asked(lab, rule["query"], rule["minutes"] * 60)
    name, compare, number = rule["when"].split()
    return {">": operator.gt, "==": operator.eq}[compare](int(row[name]), int(number))
