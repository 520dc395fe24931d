"""What security groups are created, changed, counted and listed by."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_conformance.bench import Bench
from aliyun_conformance.question import Need
from aliyun_conformance.sdks import refusal_of

UNKNOWN = "sg-bp1selftestgone00000"


def _policy_of(bench: Bench, group: str) -> str:
    return str(bench.sdks.ask("describe_security_group_attribute", security_group_id=group).inner_access_policy)


def _set_policy(bench: Bench, group: str, policy: str | None) -> tuple[str, int]:
    """How a change of the inner access policy is refused."""
    fields = {"security_group_id": group, "inner_access_policy": policy}
    return refusal_of(lambda: bench.sdks.ask("modify_security_group_policy", **fields))


def references(bench: Bench, *groups: str) -> dict[str, set[tuple[str, str]]]:
    """The groups whose rules name each of these, with their owners."""
    body = bench.sdks.ask("describe_security_group_references", security_group_id=list(groups))
    return {
        str(reference.security_group_id): {
            (str(by.ali_uid), str(by.security_group_id))
            for by in reference.referencing_security_groups.referencing_security_group or []
        }
        for reference in body.security_group_references.security_group_reference or []
    }


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"security_group_name": "x"}, "InvalidSecurityGroupName.Malformed"),
        ({"security_group_name": "http://x"}, "InvalidSecurityGroupName.Malformed"),
        ({"description": "x" * 257}, "InvalidDescription.Malformed"),
        ({"security_group_type": "advanced"}, "InvalidParameter"),
    ],
)
@pytest.mark.real_cloud(133)
def test_an_invalid_group_is_refused(bench: Bench, fields: dict[str, Any], code: str) -> None:
    """CreateSecurityGroup with an invalid name, description or type is refused, and creates nothing."""

    def listed() -> set[str]:
        body = bench.sdks.ask("describe_security_groups", max_results=100)
        return {str(group.security_group_id) for group in body.security_groups.security_group or []}

    before = listed()
    assert refusal_of(lambda: bench.group(**fields)) == (code, 400)
    assert listed() == before


@pytest.mark.real_cloud(54, expected="`Accept`, then `Drop`")
def test_inner_access_policy(bench: Bench) -> None:
    """`InnerAccessPolicy` is returned by DescribeSecurityGroupAttribute for every basic group, and ModifySecurityGroupPolicy sets it."""
    b = bench.group()
    first = _policy_of(bench, b)
    _set_policy(bench, b, "Drop")
    then = bench.until(lambda: _policy_of(bench, b), lambda policy: policy != first)
    assert (first, then) == ("Accept", "Drop")


@pytest.mark.real_cloud(71, expected="an error; `InnerAccessPolicy` stays `Drop`")
def test_inner_access_of_advanced_groups(bench: Bench) -> None:
    """The inner access policy of an advanced group cannot be changed."""
    b = bench.group("enterprise")
    code, status = _set_policy(bench, b, "Accept")
    policy = _policy_of(bench, b)
    bench.saw(f"{code or 'success'}; InnerAccessPolicy {policy}", {"status": status})
    assert code
    assert policy == "Drop"


@pytest.mark.real_cloud(134)
def test_the_inner_access_policy_is_read_in_any_case(bench: Bench) -> None:
    """ModifySecurityGroupPolicy reads `InnerAccessPolicy` in any case, refuses another or a missing value, and for an advanced group answers `InvalidGroupParameter.OperationDenied`."""
    b = bench.group()
    for sent, stored in (("drop", "Drop"), ("ACCEPT", "Accept")):
        assert _set_policy(bench, b, sent) == ("", 0)
        assert bench.until(lambda: _policy_of(bench, b), lambda policy, value=stored: policy == value) == stored  # type: ignore[misc]
    assert _set_policy(bench, b, "maybe") == ("InvalidPolicy.Malformed", 400)
    assert _set_policy(bench, b, None) == ("MissingParameter", 400)
    assert _policy_of(bench, b) == "Accept"
    refused = _set_policy(bench, bench.group("enterprise"), "Accept")
    assert refused == ("InvalidGroupParameter.OperationDenied", 400)


@pytest.mark.real_cloud(135)
def test_references_show_what_rules_say_now(bench: Bench) -> None:
    """References count rules of either direction, none with an address, and end with a revoked rule and with a deleted group."""
    app, db, cache, old = (bench.group() for _ in range(4))
    uid = bench.account
    bench.authorize(db, {"source_group_id": app}, {"source_cidr_ip": "10.0.0.1/32"})
    bench.authorize(old, {"source_group_id": app})
    bench.authorize_egress(cache, dest_group_id=app)
    bench.sdks.ask("delete_security_group", security_group_id=old)
    all_references = {app: {(uid, db), (uid, cache)}}
    assert bench.until(lambda: references(bench, app, db), lambda actual: actual == all_references) == all_references
    bench.clear(db)
    remaining_references = {app: {(uid, cache)}}
    assert (
        bench.until(lambda: references(bench, app), lambda actual: actual == remaining_references)
        == remaining_references
    )


@pytest.mark.real_cloud(136)
def test_references_of_an_unknown_group_fail(bench: Bench) -> None:
    """One unknown or malformed id, or none at all, refuses DescribeSecurityGroupReferences as a whole."""
    app = bench.group()
    cases: dict[tuple[str, ...], tuple[str, int]] = {
        (app, UNKNOWN): ("InvalidSecurityGroupId.NotFound", 404),
        (app, "app"): ("InvalidSecurityGroupId.Malformed", 400),
        (): ("MissingParameter", 400),
    }
    assert {ids: refusal_of(lambda ids=ids: references(bench, *ids)) for ids in cases} == cases  # type: ignore[misc]


@pytest.mark.real_cloud(
    18, expected="all three, and `GroupToGroupRuleCount` is 1 after *write B*, also beside a rule with an address"
)
def test_group_fields(bench: Bench) -> None:
    """DescribeSecurityGroups returns `GroupToGroupRuleCount`, `ServiceManaged` and tags by default."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a}, {"source_cidr_ip": "10.0.0.0/8"})

    def read() -> tuple[Any, Any, Any, int]:
        [group] = bench.described(b)
        tags = len(group.tags.tag or []) if group.tags else 0
        return group.group_to_group_rule_count, group.rule_count, group.service_managed, tags

    count, rules, managed, tags = bench.until(read, lambda fields: fields[0] == 1)
    bench.saw(f"GroupToGroupRuleCount {count} of {rules}, ServiceManaged {managed}, {tags} tag(s)")
    assert (count, managed) == (1, False)
    assert tags


@pytest.mark.real_cloud(56, expected="`RuleCount` is 1")
def test_rule_count(bench: Bench) -> None:
    """`RuleCount` is returned by DescribeSecurityGroups without being asked for."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    assert bench.until(lambda: bench.described(b)[0].rule_count, lambda count: count == 1) == 1


@pytest.mark.real_cloud(121, expected="`RuleCount` is 1")
def test_rule_count_of_egress(bench: Bench) -> None:
    """`RuleCount` counts egress rules."""
    b = bench.group()
    bench.authorize_egress(b, dest_cidr_ip="10.0.0.1/32")
    assert bench.until(lambda: bench.described(b)[0].rule_count, lambda count: count == 1) == 1


@pytest.mark.real_cloud(
    175,
    Need.INSTANCES,
    expected="`InvalidOperation.MultiGroupType`, `InstanceLastSecurityGroup`, `InvalidSecurityGroupAssociation.NotFound`; then the advanced group alone",
    cleanup="release the instance, delete the groups",
)
def test_groups_of_an_instance(bench: Bench) -> None:
    """An instance is in at least one group and in groups of one type; ModifyInstanceAttribute may change the type of all at once."""
    basic, advanced, unrelated = bench.group(), bench.group("enterprise"), bench.group()
    instance = bench.instance(basic)
    bench.running(instance)

    def refused(call: str, group: str) -> str:
        return refusal_of(lambda: bench.sdks.ask(call, instance_id=instance, security_group_id=group))[0]

    codes = [
        refused("join_security_group", advanced),
        refused("leave_security_group", basic),
        refused("leave_security_group", unrelated),
    ]
    bench.sdks.raw("ecs", "ModifyInstanceAttribute", InstanceId=instance, SecurityGroupIds_1=advanced)

    def groups() -> list[str]:
        return list(bench.instance_of(instance).security_group_ids.security_group_id)

    group_ids = bench.until(groups, lambda ids: ids == [advanced])
    bench.saw(f"{', '.join(code or 'success' for code in codes)}; then {len(group_ids)} group(s)")
    assert codes[:2] == ["InvalidOperation.MultiGroupType", "InstanceLastSecurityGroup"]
    assert codes[2] in ("InvalidSecurityGroupAssociation.NotFound", "InstanceNotInSecurityGroup")
    assert group_ids == [advanced]
