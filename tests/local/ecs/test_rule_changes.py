"""Rules through the official SDK: revoking, modifying, repeating a call, reading many."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_ecs20140526 import models

from tests.local.clients import PEER, REGION, refused
from tests.local.ecs.helpers import RuleWorld, permission


@pytest.fixture(name="w")
def _world(rule_world: RuleWorld) -> RuleWorld:
    return rule_world


@pytest.mark.real_cloud
def test_revoking_by_id_removes_those_rules_only(w: RuleWorld) -> None:
    """One missing id refuses the whole call."""
    w.authorize(w.db, *(permission(source_group_id=w.app, port_range=f"{n}/{n}") for n in (1, 2, 3)))
    ids = [rule.security_group_rule_id for rule in w.rules(w.db)]
    with refused("InvalidParam.SecurityGroupRuleId", 400):
        w.revoke(w.db, ids[0], "sgr-bp1none")
    with refused("InvalidParam.SecurityGroupRuleIdRepeated", 400):
        w.revoke(w.db, ids[0], ids[0])
    assert len(w.rules(w.db)) == 3
    w.revoke(w.db, ids[0], ids[2])
    assert [rule.port_range for rule in w.rules(w.db)] == ["2/2"]
    with refused("InvalidParam.SecurityGroupRuleId", 400):
        w.revoke(w.db, ids[0])


@pytest.mark.real_cloud
def test_revoking_by_permission_removes_the_rule_that_is_equal_in_each_field(w: RuleWorld) -> None:
    """The priority defaults to one, the description does not matter. Without a match the call succeeds and removes nothing."""

    def revoke(**fields: Any) -> None:
        wanted = {"ip_protocol": "tcp", "port_range": "3306/3306", "source_group_id": w.app, **fields}
        w.revoke(w.db, permissions=[models.RevokeSecurityGroupRequestPermissions(**wanted)])

    differing = (
        {},
        {"port_range": "3307/3307"},
        {"port_range": "3306/3307"},
        {"ip_protocol": "udp"},
        {"priority": "50"},
        {"policy": "drop"},
        {"source_group_id": None, "source_cidr_ip": "10.0.0.0/8"},
    )
    w.authorize(w.db, *(permission(**{"source_group_id": w.app, **fields}) for fields in differing))
    ids = [rule.security_group_rule_id for rule in w.rules(w.db)]
    assert len(set(ids)) == len(differing)
    revoke(priority="51")
    for done, fields in enumerate(differing):
        assert {rule.security_group_rule_id for rule in w.rules(w.db)} == set(ids[done:])
        revoke(description="of another person", **fields)
    assert w.rules(w.db) == []


@pytest.mark.real_cloud
def test_revoking_by_id_and_by_permission_together_is_refused(w: RuleWorld) -> None:
    """In either form of the permission."""
    one = models.RevokeSecurityGroupRequestPermissions(ip_protocol="tcp", port_range="3306/3306", source_group_id=w.app)
    with refused("InvalidParam.Permissions", 400):
        w.revoke(w.db, "sgr-1", permissions=[one])
    with refused("InvalidParam.Permissions", 400):
        w.revoke(w.db, "sgr-1", ip_protocol="tcp")


def test_modifying_changes_the_given_fields_and_keeps_the_id(w: RuleWorld) -> None:
    """This is the only way to change a description."""
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER), description="old"))
    (old,) = w.rules(w.db)
    w.modify(w.db, old.security_group_rule_id, description="new", port_range="3307/3307")
    (new,) = w.rules(w.db)
    assert new.security_group_rule_id == old.security_group_rule_id
    assert (new.description, new.port_range, new.source_group_owner_account) == ("new", "3307/3307", PEER)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"description": ""}, "InvalidParam.InvalidModifyRuleRequest"),
        ({"description": "x" * 513}, "InvalidSecurityGroupDiscription.Malformed"),
        ({"source_cidr_ip": "10.0.0.0/8"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"nic_type": "internet"}, "InvalidOperation.ModifyNicType"),
        ({"port_range": "22/22"}, "InvalidOperation.RuleDuplicate"),
        ({"ip_protocol": "icmp"}, "OperationDenied"),
        ({}, "InvalidParam.InvalidModifyRuleRequest"),
    ],
)
@pytest.mark.real_cloud
def test_modifying_cannot_turn_a_rule_into_another_kind_or_a_copy(
    w: RuleWorld, fields: dict[str, Any], code: str
) -> None:
    """The rule stays as it was."""
    w.authorize(w.db, *(permission(source_group_id=w.app, port_range=ports) for ports in ("3306/3306", "22/22")))
    before = [rule.to_map() for rule in w.rules(w.db)]
    with refused(code, 400):
        w.modify(w.db, before[0]["SecurityGroupRuleId"], **fields)
    assert [rule.to_map() for rule in w.rules(w.db)] == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"source_group_id": "sg-app"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"ipv_6source_cidr_ip": "2001:db8::/32"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"source_prefix_list_id": "pl-1"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"source_cidr_ip": "10.0.0.0/255.0.0.0"}, "InvalidSourceCidrIp.Malformed"),
    ],
)
@pytest.mark.real_cloud
def test_a_cidr_rule_stays_a_cidr_rule(w: RuleWorld, fields: dict[str, Any], code: str) -> None:
    """Another type of source is refused; next to a group the CIDR wins, as it does in a new rule."""
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.0/8"))
    (rule,) = w.rules(w.db)
    with refused(code, 400):
        w.modify(w.db, rule.security_group_rule_id, **fields)
    w.modify(w.db, rule.security_group_rule_id, source_cidr_ip="10.0.0.0/9", source_group_id=w.app)
    (rule,) = w.rules(w.db)
    assert (rule.source_cidr_ip, rule.source_group_id) == ("10.0.0.0/9", "")


@pytest.mark.real_cloud
def test_a_missing_rule_cannot_be_modified(w: RuleWorld) -> None:
    """404, unlike the 400 of a revoke."""
    with refused("InvalidSecurityGroupRuleId.NotFound", 404):
        w.modify(w.db, "sgr-bp1none", description="new")


def test_a_client_token_returns_the_old_success_after_a_revoke(w: RuleWorld) -> None:
    """The call succeeds without creating the rule. Once the token has expired it works again."""
    again = {"client_token": "token-1"}
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    w.revoke(w.db, w.rules(w.db)[0].security_group_rule_id)
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    assert w.rules(w.db) == []
    with refused("IdempotentParameterMismatch", 400):
        w.authorize(w.db, permission(source_group_id=w.app, priority="2"), **again)
    w.cloud.clock.sleep(w.cloud.ecs.tokens.retention + 1)
    w.authorize(w.db, permission(source_group_id=w.app), **again)
    assert len(w.rules(w.db)) == 1


def test_a_refused_call_is_not_remembered_by_its_token(w: RuleWorld) -> None:
    """A token longer than 64 characters is refused."""
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id="sg-none"), client_token="t")
    w.authorize(w.db, permission(source_group_id=w.app), client_token="t")
    with refused("InvalidClientToken.ValueNotSupported", 400):
        w.authorize(w.db, permission(source_group_id=w.app), client_token="t" * 65)


def test_a_group_with_more_than_a_page_of_rules_needs_next_token(w: RuleWorld) -> None:
    """500 per page by default, at least 10, at most 1,000; both directions are listed by default."""
    w.cloud.ecs.quotas.rules_per_group = 1100
    for block in range(6):
        many = [permission(source_cidr_ip=f"10.0.{block}.{n}", port_range="1/1") for n in range(100)]
        w.authorize(w.db, *many)

    def read(**fields: Any) -> tuple[int, str]:
        request = models.DescribeSecurityGroupAttributeRequest(region_id=REGION, security_group_id=w.db, **fields)
        body = w.ecs.describe_security_group_attribute(request).body
        return len(body.permissions.permission), body.next_token

    count, token = read()
    assert count == 500
    assert read(next_token=token) == (100, "")
    assert read(max_results=1)[0] == 10
    assert read(max_results=5000) == (600, "")
    assert read(direction="egress") == (0, "")
    with refused("InvalidParameter", 400):
        read(next_token="caeba0bbb2be03f84eb48b699f0a4883")
