"""How rules are added, changed and revoked: codes and forms that nothing of ours decides by."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_conformance.bench import PERMISSION, Bench
from aliyun_conformance.sdks import refusal_of

ANYWHERE = {"source_cidr_ip": "10.0.0.0/8"}
ANYWHERE_OUT = {"dest_cidr_ip": "10.0.0.0/8"}


def _revoked(bench: Bench, group: str, **fields: Any) -> tuple[str, int]:
    """How a revoke with these fields is refused."""
    return refusal_of(lambda: bench.sdks.ask("revoke_security_group", security_group_id=group, **fields))


def _modified(bench: Bench, group: str, rule: str, **fields: Any) -> tuple[str, int]:
    """How a change of a rule is refused."""
    return refusal_of(lambda: bench.modify(group, rule, **fields))


def _ids(bench: Bench, group: str, least: int) -> list[str]:
    return [str(rule.security_group_rule_id) for rule in bench.rules(group, least)]


@pytest.mark.real_cloud(144)
def test_duplicates_inside_one_call_are_refused(bench: Bench) -> None:
    """Two equal permissions in one call are refused, even if their descriptions differ."""
    a, b = bench.group(), bench.group()
    twice = [{"source_group_id": a}, {"source_group_id": a, "description": "again"}]
    assert refusal_of(lambda: bench.authorize(b, *twice)) == ("InvalidParam.DuplicatePermissions", 400)
    assert bench.rules(b) == []


@pytest.mark.real_cloud(145)
def test_the_two_forms_cannot_be_mixed(bench: Bench) -> None:
    """Flat fields beside Permissions.N are refused, in AuthorizeSecurityGroup."""
    a, b = bench.group(), bench.group()
    permission = bench.models.AuthorizeSecurityGroupRequestPermissions(**PERMISSION, source_group_id=a)
    fields = {"security_group_id": b, "permissions": [permission], "nic_type": "intranet"}
    refused = refusal_of(lambda: bench.sdks.ask("authorize_security_group", **fields))
    assert refused == ("InvalidParam.Permissions", 400)


@pytest.mark.real_cloud(150)
def test_which_code_an_advanced_group_is_refused_with(bench: Bench) -> None:
    """An advanced group is refused with `InvalidGroupParameter.OperationDenied` as target, with `InvalidGroupAuthParameter.OperationDenied` as source of a rule with a group."""
    basic, advanced = bench.group(), bench.group("enterprise")
    target = refusal_of(lambda: bench.authorize(advanced, {"source_group_id": basic}))
    source = refusal_of(lambda: bench.authorize(basic, {"source_group_id": advanced}))
    assert target == ("InvalidGroupParameter.OperationDenied", 400)
    assert source == ("InvalidGroupAuthParameter.OperationDenied", 400)


@pytest.mark.real_cloud(151)
def test_a_call_beyond_the_quota_writes_nothing(bench: Bench) -> None:
    """A call with 21 ports of one source group is refused and writes nothing; 20 are accepted."""
    a, b = bench.group(), bench.group()
    ports = [{"source_group_id": a, "port_range": f"{n}/{n}"} for n in range(1, 22)]
    assert refusal_of(lambda: bench.authorize(b, *ports)) == ("AuthorizedGroupRule.LimitExceed", 400)
    bench.authorize(b, *ports[:20])
    assert len(bench.rules(b, 20)) == 20


@pytest.mark.real_cloud(137)
def test_revoking_by_id_removes_those_rules_only(bench: Bench) -> None:
    """RevokeSecurityGroup removes the rules with these ids; one id that is missing or repeated refuses the whole call."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, *({"source_group_id": a, "port_range": f"{n}/{n}"} for n in (1, 2, 3)))
    ids = _ids(bench, b, 3)
    missing = refusal_of(lambda: bench.revoke(b, ids[0], "sgr-bp1none"))
    twice = refusal_of(lambda: bench.revoke(b, ids[0], ids[0]))
    assert missing == ("InvalidParam.SecurityGroupRuleId", 400)
    assert twice == ("InvalidParam.SecurityGroupRuleIdRepeated", 400)
    assert _ids(bench, b, 3) == ids
    bench.revoke(b, ids[0], ids[2])
    assert bench.until(lambda: _ids(bench, b, 1), lambda remaining_ids: len(remaining_ids) == 1) == [ids[1]]
    assert refusal_of(lambda: bench.revoke(b, ids[0])) == ("InvalidParam.SecurityGroupRuleId", 400)


@pytest.mark.real_cloud(138)
def test_revoking_by_permission_removes_the_rule_that_is_equal_in_each_field(bench: Bench) -> None:
    """Revoking by permission removes the rule that is equal in each field but the description, with 1 as priority if none is given; without a match it succeeds and removes nothing."""
    a, b = bench.group(), bench.group()
    fields = ("ip_protocol", "port_range", "policy", "priority", "source_group_id", "source_cidr_ip")
    differing: tuple[dict[str, Any], ...] = (
        {},
        {"port_range": "3307/3307"},
        {"port_range": "3306/3307"},
        {"ip_protocol": "UDP"},
        {"priority": "50"},
        {"policy": "Drop"},
        {"source_group_id": "", **ANYWHERE},
    )
    usual = {
        "ip_protocol": "TCP",
        "port_range": "3306/3306",
        "policy": "Accept",
        "source_group_id": a,
        "priority": None,
    }
    permissions = [{**usual, **each} for each in differing]
    bench.authorize(b, *({name: value or None for name, value in each.items()} for each in permissions))

    def rule_rows() -> set[tuple[str, ...]]:
        return {tuple(str(getattr(rule, name)) for name in fields) for rule in bench.rules(b)}

    def remaining_rows(start: int) -> set[tuple[str, ...]]:
        return {
            tuple(str({"priority": "1", **_set_fields(each)}.get(name, "")) for name in fields)
            for each in permissions[start:]
        }

    assert bench.until(rule_rows, lambda now: now == remaining_rows(0)) == remaining_rows(0)
    for revoked_count, each in enumerate([{**usual, "priority": "51"}, *permissions]):
        permission = bench.models.RevokeSecurityGroupRequestPermissions(
            **_set_fields(each), description="of another person"
        )
        assert _revoked(bench, b, permissions=[permission]) == ("", 0)
        rows = remaining_rows(revoked_count)
        assert bench.until(rule_rows, lambda now, expected=rows: now == expected) == rows  # type: ignore[misc]


def _set_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


@pytest.mark.real_cloud(139)
def test_revoking_by_id_and_by_permission_together_is_refused(bench: Bench) -> None:
    """A revoke by id and by permission, in either form, is refused."""
    a, b = bench.group(), bench.group()
    permission = bench.models.RevokeSecurityGroupRequestPermissions(**PERMISSION, source_group_id=a)
    for form in ({"permissions": [permission]}, {"ip_protocol": "tcp"}):
        refused = _revoked(bench, b, security_group_rule_id=["sgr-1"], **form)
        assert refused == ("InvalidParam.Permissions", 400)


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
@pytest.mark.real_cloud(140)
def test_modifying_makes_no_other_kind_and_no_copy(bench: Bench, fields: dict[str, Any], code: str) -> None:
    """ModifySecurityGroupRule cannot turn a rule into another kind or into a copy of another; the rules stay as they were."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, *({"source_group_id": a, "port_range": ports} for ports in ("3306/3306", "22/22")))
    before = {rule.port_range: rule.to_map() for rule in bench.rules(b, 2)}
    rule = before["3306/3306"]["SecurityGroupRuleId"]
    assert _modified(bench, b, rule, **fields) == (code, 400)
    assert {rule.port_range: rule.to_map() for rule in bench.rules(b, 2)} == before


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"source_group_id": "sg-app"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"ipv_6source_cidr_ip": "2001:db8::/32"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"source_prefix_list_id": "pl-1"}, "InvalidOperation.ModifySgRuleEntityType"),
        ({"source_cidr_ip": "10.0.0.0/255.0.0.0"}, "InvalidSourceCidrIp.Malformed"),
    ],
)
@pytest.mark.real_cloud(141)
def test_a_rule_with_an_address_stays_one(bench: Bench, fields: dict[str, Any], code: str) -> None:
    """ModifySecurityGroupRule refuses another type of source for an address; beside a group the address wins, as in a new rule."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, ANYWHERE)
    [rule] = _ids(bench, b, 1)
    assert _modified(bench, b, rule, **fields) == (code, 400)
    bench.modify(b, rule, source_cidr_ip="10.0.0.0/9", source_group_id=a)
    now = bench.until(lambda: bench.only_rule(b), lambda changed: changed.source_cidr_ip == "10.0.0.0/9")
    assert (now.source_cidr_ip, now.source_group_id) == ("10.0.0.0/9", "")


@pytest.mark.real_cloud(142)
def test_a_missing_rule_cannot_be_modified(bench: Bench) -> None:
    """ModifySecurityGroupRule answers a missing rule with 404, unlike the 400 of a revoke."""
    refused = _modified(bench, bench.group(), "sgr-bp1none", description="new")
    assert refused == ("InvalidSecurityGroupRuleId.NotFound", 404)


@pytest.mark.real_cloud(
    120,
    expected="both rules, with `Direction` and these fields, of a rule with an address (a group is left to a person)",
)
def test_rules_of_both_directions(bench: Bench) -> None:
    """DescribeSecurityGroupAttribute without `Direction` gives both directions; an egress rule has its destination in `DestGroupId` or `DestCidrIp`, and the owner in `DestGroupOwnerAccount`."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    bench.authorize_egress(b, dest_cidr_ip="10.0.0.0/8", policy="drop")
    bench.authorize_egress(b, dest_group_id=a)
    rules = bench.rules(b, 3, direction=None)
    read = {(rule.direction, rule.dest_cidr_ip, rule.dest_group_id, rule.policy) for rule in rules}
    owners = {str(rule.dest_group_owner_account or "") for rule in rules if rule.dest_group_id}
    bench.saw(f"{', '.join(sorted(rule.direction for rule in rules))}; owner {owners}")
    assert read == {("ingress", "", "", "Accept"), ("egress", "10.0.0.0/8", "", "Drop"), ("egress", "", a, "Accept")}
    assert owners <= {"", bench.account}


@pytest.mark.real_cloud(152)
def test_egress_rules_are_revoked_by_their_own_action(bench: Bench) -> None:
    """RevokeSecurityGroup refuses the id of an egress rule, which RevokeSecurityGroupEgress removes."""
    b = bench.group()
    bench.authorize_egress(b, dest_cidr_ip="10.0.0.0/8", policy="drop")
    [rule] = bench.rules(b, 1, "egress")
    assert refusal_of(lambda: bench.revoke(b, rule.security_group_rule_id)) == ("InvalidParam.SecurityGroupRuleId", 400)
    bench.revoke(b, rule.security_group_rule_id, egress=True)
    assert bench.until(lambda: bench.rules(b, 0, "egress"), lambda rules: not rules) == []


@pytest.mark.real_cloud(191, expected="one egress rule, Accept, to that address; then nothing")
def test_egress_to_an_address_on_an_advanced_group(bench: Bench) -> None:
    """An advanced group accepts an egress rule to a /32 without `Policy`, which accepts, once however often it is written; RevokeSecurityGroupEgress removes it by id."""
    b = bench.group("enterprise")
    for _ in range(2):
        bench.authorize_egress(b, policy=None, dest_cidr_ip="10.0.0.1/32")
    [rule] = bench.rules(b, 1, "egress")
    bench.saw(f"{rule.policy}, {rule.dest_cidr_ip}, source {rule.source_cidr_ip!r}")
    assert (rule.policy, rule.source_cidr_ip, rule.source_group_id) == ("Accept", "", "")
    assert rule.dest_cidr_ip in ("10.0.0.1/32", "10.0.0.1")
    bench.revoke(b, rule.security_group_rule_id, egress=True)
    assert bench.until(lambda: bench.rules(b, 0, "egress"), lambda rules: not rules) == []


@pytest.mark.real_cloud(192, expected="the description is `x`; every other field, and the rule's id, are as before")
def test_modifying_an_egress_rule(bench: Bench) -> None:
    """ModifySecurityGroupEgressRule with only Description and Priority leaves everything else unchanged, also on an advanced group."""
    for kind in ("normal", "enterprise"):
        b = bench.group(kind)
        bench.authorize_egress(b, policy=None, dest_cidr_ip="10.0.0.1/32", description="w")
        [rule] = bench.rules(b, 1, "egress")
        bench.modify(b, rule.security_group_rule_id, egress=True, description="x", priority="100")
        [changed] = bench.until(lambda b=b: bench.rules(b, 1, "egress"), lambda rules: rules[0].description == "x")  # type: ignore[misc]
        assert changed.to_map() == {**rule.to_map(), "Description": "x"}


@pytest.mark.real_cloud(193)
def test_a_rule_is_modified_by_the_action_of_its_direction(bench: Bench) -> None:
    """ModifySecurityGroupEgressRule refuses the id of an ingress rule, and ModifySecurityGroupRule that of an egress rule."""
    b = bench.group()
    bench.authorize(b, ANYWHERE)
    bench.authorize_egress(b, **ANYWHERE_OUT)
    ids = {rule.direction: rule.security_group_rule_id for rule in bench.rules(b, 2, "all")}
    for egress, direction in ((True, "ingress"), (False, "egress")):
        refused = refusal_of(lambda i=ids[direction], e=egress: bench.modify(b, i, egress=e, description="new"))  # type: ignore[misc]
        assert refused == ("InvalidSecurityGroupRuleId.NotFound", 404)


@pytest.mark.real_cloud(194)
def test_equal_egress_permissions_in_one_call_are_refused(bench: Bench) -> None:
    """Two equal egress permissions in one call, or one beside flat fields, are refused and write nothing."""
    b = bench.group()
    permission = bench.models.AuthorizeSecurityGroupEgressRequestPermissions(**PERMISSION, **ANYWHERE_OUT)
    cases: dict[str, dict[str, Any]] = {
        "InvalidParam.DuplicatePermissions": {"permissions": [permission, permission]},
        "InvalidParam.Permissions": {"permissions": [permission], "nic_type": "intranet"},
    }
    for code, fields in cases.items():
        refused = refusal_of(
            lambda f=fields: bench.sdks.ask("authorize_security_group_egress", security_group_id=b, **f)  # type: ignore[misc]
        )
        assert refused == (code, 400)
    assert bench.rules(b, 0, "egress") == []
