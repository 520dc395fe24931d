"""RAM policies: what statements allow, and that whatever is not understood never allows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aliyun_local.core.policy import Access, allowed, parse, parse_trust

GROUP = "acs:ecs:cn-qingdao:1000000000000001:securitygroup/sg-1"
UID = "1000000000000001"


def statement(action: Any = "ecs:*", resource: Any = "*", effect: str = "Allow", **fields: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **fields}


def allows(access: Access, *statements: dict[str, Any]) -> bool:
    return parse(json.dumps({"Version": "1", "Statement": statements})).allows(access)


def tagging(**tags: str) -> Access:
    context = {f"acs:RequestTag/{key.replace('_', '-')}": [value] for key, value in tags.items()}
    return Access("ecs:TagResources", [GROUP], context)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("ecs:RevokeSecurityGroup", True),
        ("ECS:revokesecuritygroup", True),
        ("ecs:Revoke*", True),
        ("*", True),
        ("*:*", True),
        ("ecs:Describe*", False),
        ("ecs:RevokeSecurityGrou", False),
        ("cs:RevokeSecurityGroup", False),
        ("ecs:Revoke[A-Z]ecurityGroup", False),
        ([], None),
    ],
)
def test_an_action_is_matched_as_a_whole(pattern: Any, matches: bool | None) -> None:
    """Without regard to case, and with `*` alone as a wildcard."""
    if matches is None:
        with pytest.raises(ValueError, match="list of strings"):
            allows(Access("ecs:RevokeSecurityGroup", [GROUP]), statement(pattern))
    else:
        assert allows(Access("ecs:RevokeSecurityGroup", [GROUP]), statement(pattern)) is matches


@pytest.mark.parametrize(
    ("resource", "matches"),
    [
        ("*", True),
        (GROUP, True),
        (f"acs:ecs:cn-qingdao:{UID}:securitygroup/*", True),
        (f"acs:ecs:*:{UID}:*", True),
        ("acs:*:*:*:*", True),
        (f"acs:ecs:cn-hangzhou:{UID}:securitygroup/*", False),
        ("acs:ecs:cn-qingdao:1000000000000002:securitygroup/*", False),
        (f"acs:ecs:cn-qingdao:{UID}:securitygroup/sg-2", False),
        (f"acs:ecs:cn-qingdao:{UID}:instance/*", False),
        (f"acs:ecs::{UID}:securitygroup/*", False),
        (["acs:ecs:*:*:instance/*", GROUP], True),
    ],
)
def test_a_resource_is_matched_part_by_part(resource: Any, matches: bool) -> None:
    assert allows(Access("ecs:RevokeSecurityGroup", [GROUP]), statement(resource=resource)) is matches


def test_a_star_for_the_region_does_not_reach_into_another_account() -> None:
    """A resource whose own name looks like the rest of an ARN."""
    access = Access("ecs:RevokeSecurityGroup", [f"acs:ecs:cn-qingdao:{UID}:x:1000000000000002:securitygroup/sg-1"])
    assert not allows(access, statement(resource="acs:ecs:*:1000000000000002:securitygroup/*"))


@pytest.mark.parametrize("resource", ["acs:ecs:*", "securitygroup/*", "acs:ecs:*:securitygroup/*", "", {}, [""]])
def test_what_is_no_resource_is_no_policy(resource: Any) -> None:
    with pytest.raises(ValueError):
        parse(json.dumps({"Version": "1", "Statement": [statement(resource=resource)]}))


def test_every_resource_of_a_call_must_be_allowed() -> None:
    """One statement for each will do."""
    two = Access("ecs:UntagResources", [GROUP, GROUP.replace("sg-1", "sg-2")])
    assert not allows(two, statement(resource=GROUP))
    assert allows(two, statement(resource=GROUP), statement(resource=GROUP.replace("sg-1", "sg-*")))
    assert not allows(two, statement(), statement(resource=GROUP, effect="Deny"))
    assert not allows(Access("ecs:UntagResources", []), statement())


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_without_a_resource_level_only_a_star_counts(effect: str) -> None:
    """As with AuthorizeSecurityGroup: nothing narrower allows it, and nothing narrower denies it."""
    access = Access("ecs:AuthorizeSecurityGroup")
    narrow = statement(resource=["acs:ecs:*:*:*", GROUP], effect=effect)
    assert allows(access, statement(), narrow)
    assert not allows(access, narrow)


def test_a_deny_wins_whichever_policy_has_it() -> None:
    policies = [
        parse(json.dumps({"Version": "1", "Statement": [entry]})) for entry in (statement(), statement(effect="Deny"))
    ]
    access = Access("ecs:RevokeSecurityGroup", [GROUP])
    assert allowed(policies[:1], access)
    assert not allowed(policies, access)
    assert not allowed(policies[::-1], access)
    assert not allowed([], access)


def test_not_action_is_every_other_action() -> None:
    other_actions = {"Effect": "Allow", "NotAction": ["ecs:Delete*"], "Resource": "*"}
    assert allows(Access("ecs:RevokeSecurityGroup", [GROUP]), other_actions)
    assert not allows(Access("ecs:DeleteSecurityGroup", [GROUP]), other_actions)


@pytest.mark.parametrize(
    ("operator", "value", "met"),
    [
        ("StringEquals", "true", True),
        ("StringEquals", "True", False),
        ("StringEquals", ["no", "true"], True),
        ("StringEquals", "*", False),
        ("StringEqualsIgnoreCase", "TRUE", True),
        ("StringLike", "*", True),
        ("StringLike", "tr?e", True),
        ("StringLike", "t", False),
        ("StringNotEquals", "true", False),
        ("StringNotEquals", "false", True),
        ("StringNotEquals", ["false", "true"], False),
        ("StringNotEqualsIgnoreCase", "TRUE", False),
        ("StringNotLike", "t*", False),
        ("StringNotLike", "f*", True),
    ],
)
def test_a_condition_on_text(operator: str, value: Any, met: bool) -> None:
    """Of several values of a policy, one must match; of a negated operator, none may."""
    condition = {operator: {"acs:RequestTag/x": value}}
    assert allows(tagging(x="true"), statement(Condition=condition)) is met
    assert allows(tagging(x="true"), statement(), statement(effect="Deny", Condition=condition)) is not met


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"acs:RequestTag/other": "true"}},
        {"StringNotEquals": {"acs:RequestTag/other": "true"}},
        {"StringLike": {"acs:ResourceTag/x": "*"}},
        {"StringLike": {"ecs:tag/x": "*"}},
        {"stringlike": {"acs:RequestTag/x": "*"}},
        {"ForAllValues:StringLike": {"acs:RequestTag/x": "*"}},
        {"StringLikeIfExists": {"acs:RequestTag/x": "*"}},
        {"Bool": {"acs:SecureTransport": "true"}},
        {"NotIpAddress": {"acs:SourceIp": "10.0.0.1"}},
        {"StringLike": {"acs:RequestTag/x": "*", "acs:SourceIp": "*"}},
        {"StringLike": {"acs:RequestTag/x": "*"}, "Bool": {"acs:SecureTransport": "false"}},
    ],
    ids=str,
)
def test_what_is_not_understood_never_allows(condition: dict[str, Any]) -> None:
    """An operator or key that is not known here, a key that the call lacks, and one such condition beside one that is
    met."""
    assert not allows(tagging(x="true"), statement(Condition=condition))


@pytest.mark.parametrize(
    ("condition", "denied"),
    [
        ({"Bool": {"acs:SecureTransport": "false"}}, True),
        ({"StringNotEquals": {"acs:RequestTag/other": "true"}}, True),
        ({"StringEquals": {"acs:RequestTag/other": "true"}}, False),
        ({"StringEquals": {"acs:RequestTag/other": "true"}, "Bool": {"acs:SecureTransport": "false"}}, False),
    ],
    ids=str,
)
def test_a_deny_counts_unless_it_surely_does_not_apply(condition: dict[str, Any], denied: bool) -> None:
    assert allows(tagging(x="true"), statement(), statement(effect="Deny", Condition=condition)) is not denied


def test_of_several_values_of_a_call_all_are_allowed_and_any_is_denied() -> None:
    """Two permissions with two sources in one call: one of them is the world."""
    access = Access("ecs:AuthorizeSecurityGroup", context={"ecs:SecurityGroupSourceCidrIps": ["10.0.0.1", "0.0.0.0/0"]})
    private = {"StringLike": {"ecs:SecurityGroupSourceCidrIps": "10.*"}}
    world = {"StringEquals": {"ecs:SecurityGroupSourceCidrIps": ["0.0.0.0/0", "::/0"]}}
    assert not allows(access, statement(Condition=private))
    assert not allows(access, statement(), statement(effect="Deny", Condition=world))


@pytest.mark.parametrize(
    "document",
    [
        "{}",
        "[]",
        '{"Version": "2", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}',
        '{"Version": "1", "Statement": []}',
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*"}]}',
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "NotResource": "*"}]}',
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*"}]}',
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {}}}]}',
        '{"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": 1}}}]}',
    ],
)
def test_an_invalid_document_is_no_policy(document: str) -> None:
    """A part that is not read would make it mean less or more than it says."""
    with pytest.raises(ValueError):
        parse(document)


def trust(principal: Any, **condition: Any) -> str:
    condition_field = {"Condition": condition} if condition else {}
    trust_statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal, **condition_field}
    return json.dumps({"Version": "1", "Statement": [trust_statement]})


@pytest.mark.parametrize(
    ("principal", "trusted"),
    [
        ({"RAM": [f"acs:ram::{UID}:role/a"]}, True),
        ({"RAM": f"acs:ram::{UID}:root"}, True),
        ({"RAM": [f"acs:ram::{UID}:role/*"]}, False),
        ({"RAM": ["*"]}, False),
        ({"RAM": [f"acs:ram::{UID}:user/a"]}, False),
        ({"Service": ["fc.aliyuncs.com"]}, False),
    ],
    ids=str,
)
def test_a_trust_policy_names_its_principals(principal: Any, trusted: bool) -> None:
    """By their ARNs; a wildcard is none."""
    caller = frozenset({f"acs:ram::{UID}:root", f"acs:ram::{UID}:role/a"})
    assert parse_trust(trust(principal)).allows(Access("sts:AssumeRole", principals=caller)) is trusted


@pytest.mark.parametrize("principal", [{}, {"Federated": "x"}, "*", [], {"RAM": []}, None], ids=str)
def test_a_trust_policy_without_a_known_principal_is_invalid(principal: Any) -> None:
    with pytest.raises(ValueError):
        parse_trust(trust(principal))
