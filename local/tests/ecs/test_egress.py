"""Egress rules through the official SDK: written, changed, revoked and read, and what they let out."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.core import rpc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request
from aliyun_local.core.identity import Caller
from aliyun_local.core.principals import Role, trust_text
from aliyun_local.ecs import may_reach
from clients import HOME, PEER, REGION, ask, refusal, refused
from ecs_helpers import RuleWorld, permission

EGRESS = ("AuthorizeSecurityGroupEgress", "ModifySecurityGroupEgressRule", "RevokeSecurityGroupEgress")


class World(RuleWorld):
    """Two advanced groups beside the basic ones, and the three actions of egress rules."""

    def __init__(self, cloud: LocalCloud) -> None:
        super().__init__(cloud)
        self.out, self.inner = (cloud.ecs.create_group(HOME, self.shared, type="enterprise").id for _ in range(2))

    def write(self, group: str, *permissions: Any, **fields: Any) -> None:
        ask(
            self.ecs,
            "AuthorizeSecurityGroupEgress",
            security_group_id=group,
            permissions=list(permissions) or None,
            **fields,
        )

    def take(self, group: str, *ids: str, **fields: Any) -> None:
        action = "RevokeSecurityGroupEgress"
        ask(self.ecs, action, security_group_id=group, security_group_rule_id=list(ids) or None, **fields)

    def change(self, group: str, rule: str, **fields: Any) -> None:
        action = "ModifySecurityGroupEgressRule"
        ask(self.ecs, action, security_group_id=group, security_group_rule_id=rule, **fields)

    def instance(self, group: str, account: str = HOME, **fields: Any) -> Any:
        return self.cloud.ecs.create_instance(account, [group], **fields)

    def passes(self, source: Any, target: Any, port: int = 3306) -> bool:
        return may_reach(self.cloud.ecs, source.account, source.id, target.account, target.id, "tcp", port).ok


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> World:
    return World(local_cloud)


def to(address: str, **fields: Any) -> dict[str, Any]:
    """A permission to an address."""
    return permission(dest_cidr_ip=address, **fields)


def ids(w: World, group: str) -> list[str]:
    return [rule.security_group_rule_id for rule in w.rules(group)]


# written


def test_a_call_writes_a_hundred_egress_rules_or_none(w: World) -> None:
    """A second call with the same adds nothing; one that is refused writes nothing."""
    permissions = [to(f"10.2.1.{n}/32") for n in range(101)]
    assert refusal(w.write, w.out, *permissions) == ("InvalidParam.Permissions", 400)
    assert refusal(w.write, w.out, permissions[0], to("10.2.1.1", port_range="x")) == ("InvalidParam.PortRange", 400)
    assert refusal(w.write, w.out) == ("MissingParameter", 400)
    assert w.rules(w.out) == []
    for _ in range(2):
        w.write(w.out, *permissions[:100])
    assert len(w.rules(w.out)) == 100


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({}, "MissingParameter.Dest", 400),
        ({"source_cidr_ip": "10.2.0.1"}, "MissingParameter.Dest", 400),
        ({"dest_prefix_list_id": "pl-1"}, "InvalidPrefixListId.NotFound", 404),
        ({"dest_cidr_ip": "10.2.0.300"}, "InvalidDestCidrIp.Malformed", 400),
        ({"dest_cidr_ip": "10.2.0.1", "ipv_6dest_cidr_ip": "::1/128"}, "InvalidParam.DestIp", 400),
        ({"dest_cidr_ip": "10.2.0.1/32", "source_cidr_ip": "10.2.0.1"}, "InvalidParamter.Conflict", 400),
        ({"dest_cidr_ip": "10.2.0.1", "policy": "deny"}, "InvalidPolicy.Malformed", 400),
        ({"dest_cidr_ip": "10.2.0.1", "priority": "101"}, "InvalidPriority.ValueNotSupported", 400),
        ({"dest_cidr_ip": "10.2.0.1", "ip_protocol": "icmp"}, "OperationDenied", 400),
        ({"dest_cidr_ip": "10.2.0.1", "nic_type": "extranet"}, "InvalidNicType.ValueNotSupported", 400),
        ({"dest_cidr_ip": "10.2.0.1", "description": "x" * 513}, "InvalidSecurityGroupDiscription.Malformed", 400),
        ({"dest_group_id": "sg-none"}, "InvalidDestGroupId.NotFound", 404),
    ],
)
def test_an_invalid_destination_is_refused(w: World, fields: dict[str, str], code: str, status: int) -> None:
    """Of either group, each with the code of its field. The rule before it is not written."""
    assert refusal(w.write, w.db, to("10.2.0.9"), permission(**fields)) == (code, status)
    assert w.rules(w.db) == []


def test_the_same_destination_twice_in_one_call_is_refused(w: World) -> None:
    """Also in another spelling; nor may both forms of a call be mixed."""
    assert refusal(w.write, w.out, to("10.2.0.1/32"), to("10.2.0.1")) == ("InvalidParam.DuplicatePermissions", 400)
    assert refusal(w.write, w.out, to("10.2.0.1"), nic_type="intranet") == ("InvalidParam.Permissions", 400)
    w.write(w.out, **to("10.2.0.1"))
    assert [rule.dest_cidr_ip for rule in w.rules(w.out)] == ["10.2.0.1"]


def test_no_egress_rule_joins_an_advanced_group_and_a_group(w: World) -> None:
    """Neither on one, nor with one as its destination; between basic groups there may be one, of another account,
    too."""
    on_advanced = refusal(w.write, w.out, permission(dest_group_id=w.db))
    assert on_advanced == ("InvalidGroupParameter.OperationDenied", 400)
    to_advanced = refusal(w.write, w.db, permission(dest_group_id=w.out))
    assert to_advanced == ("InvalidGroupAuthParameter.OperationDenied", 400)
    w.write(w.db, permission(dest_group_id=w.peer, dest_group_owner_id=int(PEER)))
    (rule,) = w.rules(w.db)
    assert (rule.dest_group_id, rule.dest_group_owner_account, rule.source_group_id) == (w.peer, PEER, "")


def test_both_directions_count_towards_the_rules_of_a_group(w: World) -> None:
    w.cloud.ecs.quotas.rules_per_group = 2
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"))
    w.write(w.out, to("10.2.0.1"))
    assert refusal(w.write, w.out, to("10.2.0.2")) == ("AuthorizationLimitExceed", 403)
    assert refusal(w.authorize, w.out, permission(source_cidr_ip="10.2.0.2")) == ("AuthorizationLimitExceed", 403)


def test_a_client_token_belongs_to_one_of_the_actions(w: World) -> None:
    """Repeated with it, an egress rule that was revoked is not written again; an ingress rule with it is."""
    w.write(w.out, to("10.2.0.1"), client_token="t")
    w.take(w.out, *ids(w, w.out))
    w.write(w.out, to("10.2.0.1"), client_token="t")
    assert w.rules(w.out) == []
    assert refusal(w.write, w.out, to("10.2.0.2"), client_token="t") == ("IdempotentParameterMismatch", 400)
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"), client_token="t")
    assert [rule.direction for rule in w.rules(w.out)] == ["ingress"]


@pytest.mark.parametrize("reading", ["accept", "refuse"])
@pytest.mark.parametrize("policy", ["accept", "drop"])
def test_whether_policy_may_be_set_on_an_advanced_group_is_a_knob(w: World, reading: str, policy: str) -> None:
    """In either direction, when a rule is made or changed. Without it, the rule accepts; basic groups take it."""
    w.cloud.knobs.change({"advanced_policy": reading})
    denied = ("InvalidGroupParameter.OperationDenied", 400) if reading == "refuse" else ("", 0)

    def answer(call: Any, *values: Any, **fields: Any) -> tuple[str, int]:
        if reading == "refuse":
            return refusal(call, *values, **fields)
        call(*values, **fields)
        return "", 0

    w.write(w.out, to("10.2.0.1"))
    (rule,) = w.rules(w.out)
    assert rule.policy == "Accept"
    assert answer(w.write, w.out, to("10.2.0.2"), to("10.2.0.3", policy=policy)) == denied
    assert answer(w.authorize, w.out, permission(source_cidr_ip="10.2.0.2", policy=policy)) == denied
    assert answer(w.change, w.out, rule.security_group_rule_id, policy=policy) == denied
    assert len(w.rules(w.out)) == (1 if reading == "refuse" else 4)
    w.change(w.out, rule.security_group_rule_id, description="new")
    w.write(w.db, to("10.2.0.2", policy=policy))


# changed and revoked


def test_modifying_an_egress_rule_changes_the_given_fields_and_keeps_the_rest(w: World) -> None:
    """Its id and its end of the group, too; an ingress rule beside it stays as it was."""
    w.write(w.db, to("10.2.0.1/32", source_cidr_ip="10.2.0.9/32", description="old", priority="100"))
    w.authorize(w.db, permission(source_cidr_ip="10.2.0.1/32", description="old"))
    before = {rule.direction: rule.to_map() for rule in w.rules(w.db)}
    egress = before["egress"]["SecurityGroupRuleId"]
    w.change(w.db, egress, description="new", priority="7")
    after = {rule.direction: rule.to_map() for rule in w.rules(w.db)}
    assert after == {**before, "egress": {**before["egress"], "Description": "new", "Priority": 7}}
    w.change(w.db, egress, dest_cidr_ip="10.2.0.2/32")
    assert {rule.dest_cidr_ip for rule in w.rules(w.db) if rule.direction == "egress"} == {"10.2.0.2/32"}


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({}, "InvalidParam.InvalidModifyRuleRequest", 400),
        ({"dest_group_id": "sg-none"}, "InvalidOperation.ModifySgRuleEntityType", 400),
        ({"dest_prefix_list_id": "pl-1"}, "InvalidOperation.ModifySgRuleEntityType", 400),
        ({"nic_type": "internet"}, "InvalidOperation.ModifyNicType", 400),
        ({"dest_cidr_ip": "10.2.0.2"}, "InvalidOperation.RuleDuplicate", 400),
        ({"description": "x" * 513}, "InvalidSecurityGroupDiscription.Malformed", 400),
    ],
)
def test_a_change_that_an_egress_rule_does_not_allow_is_refused(
    w: World, fields: dict[str, str], code: str, status: int
) -> None:
    """The rule stays as it was."""
    w.write(w.out, to("10.2.0.1/32"), to("10.2.0.2/32"))
    before = [rule.to_map() for rule in w.rules(w.out)]
    assert refusal(w.change, w.out, before[0]["SecurityGroupRuleId"], **fields) == (code, status)
    assert [rule.to_map() for rule in w.rules(w.out)] == before


def test_a_new_destination_group_belongs_to_the_caller_unless_its_owner_is_given(w: World) -> None:
    w.write(w.db, permission(dest_group_id=w.peer, dest_group_owner_id=int(PEER)))
    (rule,) = ids(w, w.db)
    w.change(w.db, rule, dest_group_id=w.app)
    assert [(rule.dest_group_id, rule.dest_group_owner_account) for rule in w.rules(w.db)] == [(w.app, "")]
    assert refusal(w.change, w.db, rule, dest_group_id=w.peer) == ("InvalidDestGroupId.NotFound", 404)


def test_each_direction_has_actions_of_its_own(w: World) -> None:
    """The id of a rule of the other direction is that of a rule which is not there."""
    w.write(w.out, to("10.2.0.1"))
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"))
    egress, ingress = ids(w, w.out)
    for call, rule in ((w.take, ingress), (w.revoke, egress)):
        assert refusal(call, w.out, rule) == ("InvalidParam.SecurityGroupRuleId", 400)
    for call, rule in ((w.change, ingress), (w.modify, egress)):
        assert refusal(call, w.out, rule, description="x") == ("InvalidSecurityGroupRuleId.NotFound", 404)
    w.take(w.out, egress)
    assert ids(w, w.out) == [ingress]


def test_egress_rules_are_revoked_by_id_or_by_their_content(w: World) -> None:
    """All ids of a call or none; a content without priority means priority 1, and takes no rule of the other
    direction."""
    w.write(w.out, to("10.2.0.1"), to("10.2.0.2"), to("10.2.0.3", priority="100"))
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"))
    first, second, *_ = ids(w, w.out)
    with refused("InvalidParam.SecurityGroupRuleId", 400):
        w.take(w.out, first, "sgr-none")
    with refused("InvalidParam.SecurityGroupRuleIdRepeated", 400):
        w.take(w.out, first, first)
    with refused("InvalidParam.Permissions", 400):
        w.take(w.out, first, permissions=[to("10.2.0.1")])
    assert len(w.rules(w.out)) == 4
    w.take(w.out, second)
    w.take(w.out, permissions=[to("10.2.0.1/32"), to("10.2.0.3")])
    sources = [(rule.direction, rule.source_cidr_ip or rule.dest_cidr_ip) for rule in w.rules(w.out)]
    assert sources == [("egress", "10.2.0.3"), ("ingress", "10.2.0.1")]
    w.cloud.knobs.missing_permission = "RuleNotExist"
    with refused("InvalidSecurityGroupRule.RuleNotExist", 400):
        w.take(w.out, permissions=[to("10.2.0.3")])


# read


def test_direction_chooses_the_rules_that_are_read(w: World) -> None:
    """In any page. Which come without it, or with an empty one, is a knob."""
    w.write(w.out, *(to(f"10.2.1.{n}") for n in range(12)))
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"))

    def directions(direction: str | None, **page: Any) -> list[str]:
        action = "DescribeSecurityGroupAttribute"
        body = ask(w.ecs, action, security_group_id=w.out, direction=direction, **page)
        following = directions(direction, **{**page, "next_token": body.next_token}) if body.next_token else []
        return [*(rule.direction for rule in body.permissions.permission), *following]

    out = ["egress"] * 12
    for page in ({}, {"max_results": 10}):
        assert directions("egress", **page) == out
        assert directions("all", **page) == directions(None, **page) == directions("", **page) == [*out, "ingress"]
    w.cloud.knobs.no_direction = "ingress"
    assert directions(None) == directions("") == directions("ingress") == ["ingress"]
    assert directions("all") == [*out, "ingress"]


def test_an_egress_rule_reads_back_in_the_captured_order_of_keys(w: World) -> None:
    """That of an ingress rule, with every key; in XML, too."""
    w.write(w.out, to("10.2.0.1", source_cidr_ip="10.2.0.9/32"))
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.1"))
    caller = Caller(HOME, f"acs:ram::{HOME}:root")
    params = {"RegionId": REGION, "SecurityGroupId": w.out}
    answer = w.cloud.ecs.call(caller, "DescribeSecurityGroupAttribute", params)
    egress, ingress = answer["Permissions"]["Permission"]
    assert list(egress) == list(ingress)
    values = {name: value for name, value in egress.items() if value not in ("",)}
    assert values.pop("SecurityGroupRuleId").startswith("sgr-")
    assert values == {
        "Policy": "Accept",
        "Priority": 1,
        "CreateTime": "2026-11-25T00:00:00Z",
        "NicType": "intranet",
        "Direction": "egress",
        "PortRange": "3306/3306",
        "SourceCidrIp": "10.2.0.9/32",
        "IpProtocol": "TCP",
        "DestCidrIp": "10.2.0.1",
    }
    query = "Action=DescribeSecurityGroupAttribute&Version=2014-05-26"
    response = rpc.answer(rpc.parse(Request("GET", "/", query, {"host": "h"})), answer)
    tree = ElementTree.fromstring(response.body)  # noqa: S314  # our own
    assert [element.tag for element in tree.findall("./Permissions/Permission")[0]] == list(egress)


@pytest.mark.parametrize(("reading", "rule_count"), [("both", 3), ("ingress", 1), ("absent", None), ("zero", 0)])
def test_what_the_number_of_rules_counts_is_a_knob(w: World, reading: str, rule_count: int | None) -> None:
    w.cloud.knobs.change({"rule_count": reading})
    w.write(w.db, to("10.2.0.1"), permission(dest_group_id=w.app))
    w.authorize(w.db, permission(source_group_id=w.app))
    (group,) = ask(w.ecs, "DescribeSecurityGroups", security_group_id=w.db).security_groups.security_group
    assert (group.rule_count, group.group_to_group_rule_count) == (rule_count, 2)


# around them


def test_each_write_of_egress_is_an_event(w: World) -> None:
    """Under its own name, with the group; a refused one with its error."""
    published: list[dict[str, Any]] = []
    w.cloud.ecs.on_event = lambda _account, event: published.append(event["data"])
    w.write(w.out, to("10.2.0.1"))
    (rule,) = ids(w, w.out)
    w.change(w.out, rule, description="x")
    w.take(w.out, rule)
    with refused("InvalidParam.SecurityGroupRuleId", 400):
        w.take(w.out, rule)
    assert [(data["eventName"], data.get("errorCode", "")) for data in published] == [
        ("AuthorizeSecurityGroupEgress", ""),
        ("ModifySecurityGroupEgressRule", ""),
        ("RevokeSecurityGroupEgress", ""),
        ("RevokeSecurityGroupEgress", "InvalidParam.SecurityGroupRuleId"),
    ]
    assert all(data["referencedResources"] == {"ACS::ECS::SecurityGroup": [w.out]} for data in published)


@pytest.mark.parametrize(
    ("actions", "resource", "permitted"),
    [
        (("AuthorizeSecurityGroup", "ModifySecurityGroupRule", "RevokeSecurityGroup"), "*", ()),
        (EGRESS, "*", EGRESS),
        (EGRESS, f"acs:ecs:{REGION}:{HOME}:securitygroup/sg-own", ("RevokeSecurityGroupEgress",)),
        (EGRESS, f"acs:ecs:{REGION}:{HOME}:securitygroup/sg-other", ()),
    ],
)
def test_ram_decides_about_each_action_of_egress(
    w: World, actions: tuple[str, ...], resource: str, permitted: tuple[str, ...]
) -> None:
    """Those of ingress allow none of them. A revoke is decided by the group; the others need Resource `*`."""
    group = w.cloud.ecs.create_group(HOME, w.shared, group_id="sg-own").id
    statement = {"Effect": "Allow", "Action": [f"ecs:{action}" for action in actions], "Resource": resource}
    policies = {"egress": json.dumps({"Version": "1", "Statement": [statement]})}
    role = w.cloud.identity.add_role(Role(HOME, "egress", trust_text([f"acs:ram::{HOME}:root"])), policies)
    caller = w.cloud.identity.issue(role, "session", 1).caller

    def code(action: str) -> str:
        with pytest.raises(ApiError) as call:
            w.cloud.ecs.call(caller, action, {"RegionId": REGION, "SecurityGroupId": group})
        return call.value.code

    assert {action for action in EGRESS if code(action) != "Forbidden.RAM"} == {*permitted}


# packets


@pytest.mark.parametrize("source", ["basic", "advanced"])
@pytest.mark.parametrize("target", ["basic", "advanced"])
@pytest.mark.parametrize("place", ["same VPC", "another VPC", "another account"])
def test_only_an_advanced_group_needs_a_rule_to_let_packets_out(w: World, source: str, target: str, place: str) -> None:
    """By default a basic group lets everything out and an advanced one nothing; neither lets anything in."""
    account = PEER if place == "another account" else HOME
    vpc = w.shared if place == "same VPC" else w.cloud.ecs.create_vpc(account, "10.9.0.0/16").id
    w.cloud.ecs.peerings.add(frozenset({w.shared, vpc}))
    kinds = {"basic": "normal", "advanced": "enterprise"}
    sending = w.cloud.ecs.create_group(HOME, w.shared, type=kinds[source]).id
    receiving = w.cloud.ecs.create_group(account, vpc, type=kinds[target]).id
    app, db = w.instance(sending), w.instance(receiving, account)
    outward = to(f"{db.private_ip}/32")
    inward = {"RegionId": REGION, "SecurityGroupId": receiving, "Permissions.1.IpProtocol": "tcp"}
    inward |= {"Permissions.1.PortRange": "3306/3306", "Permissions.1.SourceCidrIp": f"{app.private_ip}/32"}
    assert not w.passes(app, db)
    w.cloud.ecs.call(Caller(account, f"acs:ram::{account}:root"), "AuthorizeSecurityGroup", inward)
    assert w.passes(app, db) is (source == "basic")
    w.write(sending, outward)
    assert w.passes(app, db)
    assert not w.passes(app, db, 3307)
    assert not w.passes(db, app)


def test_members_of_an_advanced_group_need_rules_of_both_directions(w: World) -> None:
    first, second = (w.instance(w.out) for _ in range(2))
    w.authorize(w.out, permission(source_cidr_ip="10.2.0.0/16"))
    assert not w.passes(first, second)
    w.write(w.out, to("10.2.0.0/16", source_cidr_ip=f"{first.private_ip}/32"))
    assert w.passes(first, second)
    assert not w.passes(second, first)


@pytest.mark.parametrize(
    ("accept", "drop", "passes"),
    [("1", "2", True), ("2", "1", False), ("100", "100", False)],
)
def test_the_smaller_priority_of_an_egress_rule_decides(w: World, accept: str, drop: str, passes: bool) -> None:
    """At equal ones the drop does; of another port it does not."""
    app, db = w.instance(w.out), w.instance(w.db)
    w.authorize(w.db, permission(source_cidr_ip=f"{app.private_ip}/32", port_range="3306/3307"))
    w.write(w.out, to(f"{db.private_ip}/32", port_range="3306/3307", priority=accept))
    w.write(w.out, to("10.2.0.0/16", policy="drop", priority=drop))
    assert w.passes(app, db) is passes
    assert w.passes(app, db, 3307)
