"""The forms in which captures of the real API answer, and the knobs for those that no capture settles."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Caller
from aliyun_local.core.knobs import readings
from clients import HOME, PEER, REGION, ask, refusal, refused
from ecs_helpers import RuleWorld, new_group, permission


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> RuleWorld:
    return RuleWorld(local_cloud)


def raw(w: RuleWorld, action: str, **params: str) -> dict[str, Any]:
    """An answer as it is sent, which the SDK's models would complete."""
    return w.cloud.ecs.call(Caller(HOME, f"acs:ram::{HOME}:root"), action, {"RegionId": REGION, **params})


def raw_rules(w: RuleWorld, group: str) -> list[dict[str, Any]]:
    return raw(w, "DescribeSecurityGroupAttribute", SecurityGroupId=group)["Permissions"]["Permission"]


# captured forms


@pytest.mark.parametrize(
    ("protocol", "ports", "source_ports"),
    [("tcp", "22/22", ""), ("udp", "53/53", ""), ("all", "-1/-1", "-1/-1"), ("icmp", "-1/-1", "-1/-1")],
)
def test_a_rule_without_ports_shows_minus_one_for_its_source_ports(
    w: RuleWorld, protocol: str, ports: str, source_ports: str
) -> None:
    """Whether it was written with them or without; both are the same rule."""
    fields = permission(ip_protocol=protocol, port_range=ports, source_group_id=w.app)
    w.authorize(w.db, fields)
    if source_ports:
        fields["source_port_range"] = source_ports
        w.authorize(w.db, fields)
    (rule,) = w.rules(w.db)
    assert rule.source_port_range == source_ports
    w.modify(w.db, rule.security_group_rule_id, ip_protocol="tcp", port_range="22/22")
    assert [rule.source_port_range for rule in w.rules(w.db)] == [""]


def test_only_own_source_groups_show_their_names(w: RuleWorld) -> None:
    """Another account's group shows its owner's uid and no name. Whether one's own shows its owner is a knob."""
    named_group = new_group(w.ecs, w.shared, security_group_name="app")
    w.authorize(w.db, permission(source_group_id=named_group))
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER)))
    own_rule, foreign = raw_rules(w, w.db)
    assert (own_rule["SourceGroupName"], own_rule["SourceGroupOwnerAccount"]) == ("app", "")
    assert (foreign["SourceGroupName"], foreign["SourceGroupOwnerAccount"]) == ("", PEER)
    w.cloud.knobs.own_source_owner = "uid"
    assert [rule["SourceGroupOwnerAccount"] for rule in raw_rules(w, w.db)] == [HOME, PEER]


def test_an_untagged_group_has_an_empty_list_of_tags(w: RuleWorld) -> None:
    groups = raw(w, "DescribeSecurityGroups")["SecurityGroups"]["SecurityGroup"]
    assert [group["Tags"] for group in groups] == [{"Tag": []}] * 2


# knobs


def test_whether_a_mask_of_32_is_read_back_is_a_knob(w: RuleWorld) -> None:
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.7/32", dest_cidr_ip="10.0.0.8/32"))
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.0/8"))
    w.cloud.knobs.host_mask = "dropped"
    cidrs = [(rule.source_cidr_ip, rule.dest_cidr_ip) for rule in w.rules(w.db)]
    assert cidrs == [("10.0.0.7", "10.0.0.8"), ("10.0.0.0/8", "")]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InvalidParam.SecurityGroupRuleId", 400),
        ("InvalidSecurityGroupRule.RuleNotExist", 400),
        ("InvalidSecurityGroupRuleId.NotFound", 404),
        ("InvalidGroupAuthItem.NotFound", 403),
    ],
)
def test_the_error_for_a_missing_rule_is_a_knob(w: RuleWorld, code: str, status: int) -> None:
    w.cloud.knobs.change({"missing_rule": code})
    assert refusal(w.revoke, w.db, "sgr-bp1missing") == (code, status)


@pytest.mark.parametrize("code", readings()["missing_rule_modify"])
def test_the_error_for_modifying_a_missing_rule_is_a_knob(w: RuleWorld, code: str) -> None:
    w.cloud.knobs.change({"missing_rule_modify": code})
    with refused(code, 400 if code.startswith("InvalidParam") else 404):
        w.modify(w.db, "sgr-bp1missing", description="new")


def test_whether_groups_have_page_numbers_is_a_knob(w: RuleWorld) -> None:
    """Its page documents both. MaxResults and NextToken work either way, as does no paging at all."""

    def listed(**paging: int) -> int:
        return len(ask(w.ecs, "DescribeSecurityGroups", **paging).security_groups.security_group)

    assert listed(page_number=1, page_size=10) == 2
    w.cloud.knobs.page_numbers = False
    for page_params in ({"page_number": 1}, {"page_size": 10}):
        assert refusal(listed, **page_params) == ("NotSupported.PageNumberAndPageSize", 400)
    assert listed() == listed(max_results=10) == 2


# what tools send


def test_an_empty_optional_parameter_counts_as_absent(w: RuleWorld) -> None:
    """Alibaba's Ansible module revokes with an empty Description; others send every parameter they know."""
    empty = dict.fromkeys(("description", "policy", "priority", "source_group_id", "dest_cidr_ip", "nic_type"), "")
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.7", description="kept"))
    w.authorize(w.db, permission(**{**empty, "source_cidr_ip": "10.0.0.7"}))
    assert [rule.description for rule in w.rules(w.db)] == ["kept"]
    w.revoke(w.db, ip_protocol="tcp", port_range="3306/3306", source_cidr_ip="10.0.0.7", description="", policy="")
    assert w.rules(w.db) == []
    empty_fields = {"SecurityGroupIds": "", "VpcId": "", "MaxResults": "", "NextToken": "", "Tag.1.Key": ""}
    assert raw(w, "DescribeSecurityGroups", **empty_fields)["TotalCount"] == 2


def test_a_tag_may_have_an_empty_value(w: RuleWorld) -> None:
    """So an empty value is no absent one: it is found by it, and not by another."""
    instance_id = w.cloud.ecs.create_instance(HOME, [w.app], tags={"a": "1"}).id
    tag = {"ResourceType": "instance", "ResourceId.1": instance_id, "Tag.1.Key": "a", "Tag.1.Value": ""}
    filtered = {"Tag.1.Key": "a", "Tag.1.Value": ""}
    assert raw(w, "DescribeInstances", **filtered)["TotalCount"] == 0
    raw(w, "TagResources", **tag)
    for tag_filter in (filtered, {"Tag.1.key": "a", "Tag.1.value": ""}):
        assert raw(w, "DescribeInstances", **tag_filter)["TotalCount"] == 1
