"""deploy/: RAM policies that allow what the code calls and nothing else, and a log index that supports its queries."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from aliyun_local.api import like
from link_peer.domain.tags import tag_keys
from link_peer_deploy.documents import compact, flow_log_reading, peer_roles, render, tag_denials

from tests.functional.lab import HOME, PEER, REGION

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PEER_ROLE = f"acs:ram::{PEER}:role/link-peer"
VALUES = {
    "LINK_PEER_PREFIX": "link-peer",
    "HOME_ACCOUNT": HOME,
    "PEER_ACCOUNT": PEER,
    "DEPLOYMENT": "prod",
    "LINK_PEER_TAG_PREFIX": "link",
    "EXTERNAL_ID": "link-peer-local-example",
    "QUEUE": "link-peer-requests",
    "REQUESTER_ARN": f"acs:ram::{PEER}:role/orders-ci",
    "REQUESTER_EXTERNAL_ID": "link-peer-requester-example",
}
POLICIES = sorted(path.name for path in DEPLOY.glob("ram-*.json"))
NO_RESOURCE_LEVEL = {
    "ecs:AuthorizeSecurityGroup",
    "ecs:AuthorizeSecurityGroupEgress",
    "ecs:ModifySecurityGroupRule",
    "ecs:ModifySecurityGroupEgressRule",
    "ecs:ListTagResources",
    "ecs:DescribeRegions",
    "actiontrail:LookupEvents",
    "mns:GetEndpointAttribute",
}
"""[doc RAM authorization of ECS and of ActionTrail]; of SMQ's endpoints no page says it."""
MANAGED_TAG = f"link-managed.prod.{HOME}"
ROS_PARAMETERS = {
    "HomeAccount": HOME,
    "Prefix": "link-peer",
    "RoleName": "link-peer",
    "ExternalId": VALUES["EXTERNAL_ID"],
    "ManagedTag": {f"acs:RequestTag/{MANAGED_TAG}": ["*"]},
    "InstancesTag": {f"acs:RequestTag/{MANAGED_TAG}.instances": ["*"]},
    "PeopleTags": {
        key.removeprefix("link-"): {f"acs:RequestTag/{key}": ["*"]} for key in tag_keys("link", "prod", HOME).of_people
    },
    "SetDenials": [],
    "FlowLog": [],
    "Closers": f"acs:ram::{HOME}:role/link-peer-operator",
    "ALIYUN::Region": REGION,
    "ALIYUN::TenantId": PEER,
}
"""What the template is given, and what ROS adds."""
TAGGING = ["ecs:TagResources", "ecs:UntagResources"]
WRITERS = ["ram-function-role.json", "ram-operator.json", "ram-peer-role.json"]
READERS = ["ram-audit-reader.json", "ram-operator-read.json", "ram-peer-reader.json"]


def document(name: str) -> dict[str, Any]:
    """A policy with its placeholders filled in; KeyError for a placeholder that no page explains."""
    return render(name, VALUES, [PEER_ROLE], operators=[f"acs:ram::{HOME}:user/admin"])


def statements(policy: dict[str, Any], effect: str) -> list[dict[str, Any]]:
    return [statement for statement in policy["Statement"] if statement["Effect"] == effect]


def allowed(name: str, service: str = "") -> set[str]:
    actions = {action for statement in statements(document(name), "Allow") for action in statement["Action"]}
    return {action for action in actions if action.startswith(service)}


def called() -> set[str]:
    """The ECS actions that alicloud/ecs.py calls, from the names of the SDK's operations."""
    tree = ast.parse((ROOT / "shared" / "link_peer" / "alicloud" / "ecs.py").read_text(encoding="utf-8"))
    operations = {
        name.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("_read", "_change", "_change_rules", "_pages", "_all")
        for name in ([node.args[0].body, node.args[0].orelse] if isinstance(node.args[0], ast.IfExp) else node.args[:1])
        if isinstance(name, ast.Constant)
    }
    return {"ecs:" + str(operation).title().replace("_", "") for operation in operations}


@pytest.mark.parametrize(
    ("names", "peer"),
    [
        (["ram-function-role.json"], False),
        (["ram-operator-read.json", "ram-operator.json"], False),
        (["ram-peer-role.json"], True),
    ],
)
def test_a_role_allows_exactly_the_ecs_actions_that_the_code_calls(names: list[str], peer: bool) -> None:
    """A missing action would deny links; an unneeded one would help an attacker. Only events look for the groups whose
    rules name a group, and only at home. `audit --verify` lists the regions."""
    needed = called()
    assert {"ecs:AuthorizeSecurityGroup", "ecs:DescribeSecurityGroupReferences"} <= needed
    needed -= {"ecs:DescribeSecurityGroupReferences"} if peer else set()
    needed |= {"ecs:DescribeRegions"} if "ram-operator-read.json" in names else set()
    assert {action for name in names for action in allowed(name, "ecs:")} == needed


@pytest.mark.parametrize("name", [*WRITERS, *READERS])
def test_two_deployments_share_nothing_but_what_has_no_name(name: str) -> None:
    """No statement of one, except on ECS, covers a resource of another in the same account, whatever their prefixes."""
    resources = {
        prefix: {
            resource
            for statement in render(name, {**VALUES, "LINK_PEER_PREFIX": prefix, "QUEUE": f"{prefix}-requests"})[
                "Statement"
            ]
            for resource in statement["Resource"]
            if statement["Effect"] == "Allow"
            if resource != "*" and not resource.startswith(("acs:ecs:", "acs:eventbridge:"))
        }
        for prefix in ("link-peer", "link-peer-dev")
    }
    shared = resources["link-peer"] & resources["link-peer-dev"]
    linked_roles = f"acs:ram:*:{HOME}:role/AliyunServiceRoleFor*"
    assert shared <= {f"acs:fc:*:{HOME}:functions/*", f"acs:mns:*:{HOME}:/queues", linked_roles}  # to list names
    for pattern in resources["link-peer"] - shared:
        assert not [resource for resource in resources["link-peer-dev"] if like(pattern, resource)], pattern


@pytest.mark.parametrize("name", POLICIES)
def test_every_allow_is_restricted_to_resources_if_possible(name: str) -> None:
    """`*` is allowed for the actions without a resource level; every other Allow names the account, and none a region:
    RAM is one for all regions, so a second deployment would take away the rights of the first."""
    for statement in statements(document(name), "Allow"):
        if "Principal" in statement:
            continue
        if set(statement["Action"]) <= NO_RESOURCE_LEVEL:
            assert statement["Resource"] == ["*"]
            continue
        for resource in statement["Resource"]:
            service, region, account = resource.split(":")[1:4]
            assert (service, region) == ("ram", "") or (region, account in (HOME, PEER)) == ("*", True), resource


def test_a_policy_is_as_short_as_ram_requires() -> None:
    """At most 6,144 characters, with room for ten names of roles, in as many accounts as there are."""
    peers = [f"acs:ram::{uid}:role/link-peer-{uid % 10}" for uid in range(1000000000000002, 1000000000000502)]
    values = {**VALUES, "LINK_PEER_PREFIX": "l" * 20, "DEPLOYMENT": "d" * 24}
    for name in POLICIES:
        text = compact(render(name, values, peers))
        assert len(text) <= (2048 if name.endswith("trust.json") else 6144), name


@pytest.mark.parametrize("name", WRITERS)
def test_no_role_may_open_to_the_world_or_consent_for_itself(name: str) -> None:
    """A second line of defence: no source 0.0.0.0/0 or ::/0, and no consent written or removed by link-peer itself, not
    even beside its own tag in one call. The same for locks, which only operators write. Both follow the tag prefix, and
    so does what a role may tag; the lock that binds every deployment is denied to all functions."""
    policy = render(name, {**VALUES, "LINK_PEER_TAG_PREFIX": "acme"}, [PEER_ROLE])
    denied = denials(policy)
    for action in ("ecs:AuthorizeSecurityGroup", "ecs:ModifySecurityGroupRule"):
        assert denied[action, "ecs:SecurityGroupSourceCidrIps"] == ["0.0.0.0/0", "::/0"]
    acme = tag_keys("acme", "prod", HOME)
    closes = name == "ram-operator.json"
    lock_tags = ["acme-lock", *acme.closing] if closes else []
    keys = set(acme.consenting) if closes else {*acme.of_people, "link-lock", "link-refuse"}
    tagging = {key: of for key, of in denied.items() if key[1].startswith("acs:RequestTag/")}
    assert tagging == {(action, f"acs:RequestTag/{key}"): ["*"] for action in TAGGING for key in keys}
    allowed = {key for s in statements(policy, "Allow") for key in s.get("Condition", {}).get("StringLike", {})}
    assert allowed == {
        f"acs:RequestTag/{key}" for key in (*tag_keys("acme", "prod", HOME).of_group(instances=True), *lock_tags)
    }


def test_the_tags_of_sets_are_denied_where_consent_is() -> None:
    """To every role that may tag at all: they decide what `never` forbids."""
    for name in POLICIES:
        tags = {key for _, key in denials(document(name)) if key.startswith("acs:RequestTag/")}
        set_keys = {key for _, key in denials(render(name, VALUES, [PEER_ROLE], denied_keys=["env", "tier"]))} - tags
        request_keys = {key for key in set_keys if key.startswith("acs:RequestTag/")}
        assert request_keys == ({"acs:RequestTag/env", "acs:RequestTag/tier"} if tags else set()), name


def denials(policy: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """The values of the conditions under which actions are denied, by action and condition key."""
    return {
        (action, key): values
        for statement in statements(policy, "Deny")
        for action in statement["Action"]
        for condition in statement.get("Condition", {}).values()
        for key, values in condition.items()
    }


def test_the_deny_policy_covers_all_tagging_of_groups_and_none_of_instances() -> None:
    """It protects the lock too, in all its spellings, and the keys of policies' sets. Everyone may still ask for
    links."""
    policy = document("ram-deny-accept-tags.json")["Statement"]
    assert {(statement["Effect"], "Condition" in statement) for statement in policy} == {("Deny", False)}
    denied = {action: statement["Resource"] for statement in policy for action in statement["Action"]}
    assert {denied[action][0] for action in TAGGING} == {"acs:ecs:*:*:securitygroup/*"}
    everywhere = {
        "ecs:AddTags",
        "ecs:RemoveTags",
        "tag:TagResources",
        "ecs:CreateSecurityGroup",
    }  # which takes tags, too
    assert {denied[action][0] for action in everywhere} == {"*"}
    assert {len(resources) for resources in denied.values()} == {1}


def test_a_requester_may_only_send_to_the_request_queue() -> None:
    """It can neither read other requests nor touch the dead letters."""
    [statement] = document("ram-requester.json")["Statement"]
    assert statement["Action"] == ["mns:SendMessage"]
    assert statement["Resource"] == [f"acs:mns:*:{HOME}:/queues/link-peer-requests/messages"]


@pytest.mark.parametrize(
    ("role", "trusted"),
    [
        ("function-role", {"Service": ["fc.aliyuncs.com"]}),
        ("reader", {"RAM": [f"acs:ram::{HOME}:root"]}),
        ("operator", {"RAM": [f"acs:ram::{HOME}:user/admin"]}),
        ("requester", {"RAM": [VALUES["REQUESTER_ARN"]]}),
        ("peer-role", {"RAM": [f"acs:ram::{HOME}:role/link-peer-{role}" for role in ("fc", "operator")]}),
        ("peer-reader", {"RAM": [f"acs:ram::{HOME}:role/link-peer-reader"]}),
        ("peer-closer", {"RAM": [f"acs:ram::{HOME}:role/link-peer-operator"]}),
    ],
)
def test_who_may_assume_a_role(role: str, trusted: dict[str, list[str]]) -> None:
    """Function Compute alone that of the functions; people of home, as their own policies decide, that of its readers;
    named users alone that of its operators; and a peer's only roles of home, not the whole account, with this account's
    external id. Who operates as a user, or closes there, has signed in with a second factor."""
    [statement] = document(f"ram-{role}-trust.json")["Statement"]
    assert statement["Principal"] == trusted
    needed: dict[str, Any] = {}
    if role == "requester":
        needed["StringEquals"] = {"sts:ExternalId": VALUES["REQUESTER_EXTERNAL_ID"]}
    if role.startswith("peer"):
        needed["StringEquals"] = {"sts:ExternalId": "link-peer-local-example"}
    if role in ("operator", "peer-closer"):
        needed["Bool"] = {"acs:MFAPresent": "true"}
    assert statement.get("Condition", {}) == needed


@pytest.mark.parametrize(("sets", "log"), [([], []), (["env", "tier"], flow_log_reading(PEER, "own-logs/flows"))])
def test_the_ros_template_creates_the_same_roles_as_the_json_files(sets: list[str], log: list[dict[str, Any]]) -> None:
    """peer-account.yaml has the same trust policies and policies, for people who use ROS, also with the tags of sets
    and with a flow log to read."""
    template = yaml.safe_load((DEPLOY / "peer-account.yaml").read_text(encoding="utf-8"))
    defaults = {
        name: parameter["Default"] for name, parameter in template["Parameters"].items() if "Default" in parameter
    }
    assert {name: value for name, value in ROS_PARAMETERS.items() if name in defaults} == {
        **defaults,
        "Closers": ROS_PARAMETERS["Closers"],  # its owner names them, else there is no such role
    }
    assert (defaults["Closers"], template["Resources"]["Closer"]["Condition"]) == ("", "HasCloser")
    assert template["Conditions"] == {"HasCloser": {"Fn::Not": {"Fn::Equals": ["", {"Ref": "Closers"}]}}}
    parameters = {**ROS_PARAMETERS, "SetDenials": tag_denials(sets), "FlowLog": log}
    for resource, files in zip(("Role", "Reader", "Closer"), peer_roles("link-peer"), strict=True):
        role = rendered(template["Resources"][resource]["Properties"], parameters)
        assert role["RoleName"] == files.name
        assert role["AssumeRolePolicyDocument"] == document(files.trust)
        policies = {name: render(file, VALUES, [PEER_ROLE], denied_keys=sets) for name, file in files.policies.items()}
        for policy in policies.values():
            policy["Statement"] += log if resource == "Reader" else []
        assert {policy["PolicyName"]: policy["PolicyDocument"] for policy in role["Policies"]} == policies
    assert set(template["Parameters"]) == {name for name in ROS_PARAMETERS if "::" not in name}


def rendered(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Evaluates ROS's `Ref`, `Fn::ListMerge`, `Fn::Select` (of a map [doc ROS Fn::Select]), `Fn::Split` and
    `Fn::Sub`."""
    if isinstance(value, list):
        return [rendered(item, parameters) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"Ref"}:
        return parameters[value["Ref"]]
    if set(value) == {"Fn::Select"}:
        key, among = rendered(value["Fn::Select"], parameters)
        return among[key]
    if set(value) == {"Fn::ListMerge"}:
        return [item for part in rendered(value["Fn::ListMerge"], parameters) for item in part]
    if set(value) == {"Fn::Split"}:
        separator, text = rendered(value["Fn::Split"], parameters)
        return text.split(separator)
    if set(value) == {"Fn::Sub"}:
        return re.sub(r"\$\{([^}]+)\}", lambda match: parameters[match[1]], value["Fn::Sub"])
    return {key: rendered(item, parameters) for key, item in value.items()}
