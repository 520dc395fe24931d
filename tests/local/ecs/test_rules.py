"""Rules through the official SDK: what is written, refused and read back."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.params import Params

from tests.local.clients import HOME, PEER, REGION, refused
from tests.local.ecs.helpers import RuleWorld, new_group, permission


@pytest.fixture(name="w")
def _world(rule_world: RuleWorld) -> RuleWorld:
    return rule_world


def test_a_rule_is_read_back_in_the_platforms_spelling(w: RuleWorld) -> None:
    """TCP and Accept are capitalised, Priority is a JSON number, defaults are filled in."""
    w.authorize(w.db, permission(source_group_id=w.app, description="why"))
    raw = w.cloud.ecs.call(
        Caller(HOME, "root"), "DescribeSecurityGroupAttribute", {"RegionId": REGION, "SecurityGroupId": w.db}
    )
    (rule,) = raw["Permissions"]["Permission"]
    assert rule.pop("SecurityGroupRuleId").startswith("sgr-bp1")
    assert (
        rule.items()
        >= {
            "IpProtocol": "TCP",
            "Policy": "Accept",
            "Priority": 1,
            "NicType": "intranet",
            "Direction": "ingress",
            "SourceGroupId": w.app,
            "SourceCidrIp": "",
            "DestCidrIp": "",
            "Description": "why",
        }.items()
    )
    assert raw["InnerAccessPolicy"] == "Accept"
    assert "SecurityGroupType" not in raw


def test_each_rule_has_its_creation_time(w: RuleWorld) -> None:
    """Repeating or modifying the rule does not change it."""
    w.authorize(w.db, permission(source_group_id=w.app))
    w.cloud.clock.sleep(60)
    w.authorize(w.db, permission(source_group_id=w.app), permission(source_cidr_ip="10.0.0.0/8"))
    w.modify(w.db, w.rules(w.db)[0].security_group_rule_id, description="new")
    assert [rule.create_time for rule in w.rules(w.db)] == ["2026-11-25T00:00:00Z", "2026-11-25T00:01:00Z"]


def test_a_peer_accounts_group_needs_its_owners_id(w: RuleWorld) -> None:
    """A missing owner means the caller's own account, where that group does not exist."""
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id=w.peer))
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER)))
    (rule,) = w.rules(w.db)
    assert (rule.source_group_id, rule.source_group_owner_account) == (w.peer, PEER)


@pytest.mark.real_cloud
def test_a_cidr_beside_a_group_wins_and_the_owner_is_ignored(w: RuleWorld) -> None:
    """Without an error: the group need not even exist."""
    w.authorize(w.db, permission(source_cidr_ip="10.9.0.0/16", source_group_id="sg-none", source_group_owner_id=1))
    (rule,) = w.rules(w.db)
    assert (rule.source_cidr_ip, rule.source_group_id, rule.source_group_owner_account) == ("10.9.0.0/16", "", "")


@pytest.mark.real_cloud
def test_the_same_rule_again_succeeds_and_changes_nothing(w: RuleWorld) -> None:
    """No second rule and no new description; another priority makes another rule."""
    w.authorize(w.db, permission(source_group_id=w.app, description="first"))
    w.authorize(w.db, permission(source_group_id=w.app, description="second", ip_protocol="TCP", policy="Accept"))
    assert [rule.description for rule in w.rules(w.db)] == ["first"]
    w.authorize(w.db, permission(source_group_id=w.app, priority="100"))
    assert [rule.priority for rule in w.rules(w.db)] == [1, 100]


@pytest.mark.real_cloud
def test_duplicates_inside_one_call_are_refused(w: RuleWorld) -> None:
    """Even if only their descriptions differ."""
    with refused("InvalidParam.DuplicatePermissions", 400):
        w.authorize(w.db, permission(source_group_id=w.app), permission(source_group_id=w.app, description="again"))
    assert w.rules(w.db) == []


@pytest.mark.real_cloud
def test_one_invalid_permission_writes_none_of_the_call(w: RuleWorld) -> None:
    """Not even the valid one before it."""
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id=w.app), permission(source_group_id="sg-none"))
    assert w.rules(w.db) == []


@pytest.mark.real_cloud
def test_the_two_request_forms_cannot_be_mixed(w: RuleWorld) -> None:
    """That is, flat fields next to Permissions.N."""
    with refused("InvalidParam.Permissions", 400):
        w.authorize(w.db, permission(source_group_id=w.app), nic_type="intranet")


@pytest.mark.real_cloud
def test_the_deprecated_flat_form_still_works(w: RuleWorld) -> None:
    """For one rule per call."""
    w.authorize(w.db, ip_protocol="udp", port_range="53/53", source_cidr_ip="10.0.0.7", priority="7")
    (rule,) = w.rules(w.db)
    assert (rule.ip_protocol, rule.source_cidr_ip, rule.priority) == ("UDP", "10.0.0.7", 7)


def test_at_most_a_hundred_permissions_a_call(w: RuleWorld) -> None:
    """100 work (an 18 KB request line), 101 do not."""
    many = [permission(source_cidr_ip="10.0.0.1/32", port_range=f"{n}/{n}") for n in range(1, 102)]
    with refused("InvalidParam.Permissions", 400):
        w.authorize(w.db, *many)
    w.authorize(w.db, *many[:100])
    assert len(w.rules(w.db)) == 100
    one = {"IpProtocol": "tcp", "PortRange": "1/1", "SourceCidrIp": "10.0.0.2/32"}
    for number in (101, 100_000):
        params = {f"Permissions.{number}.{name}": value for name, value in one.items()}
        with pytest.raises(Exception, match=r"400 InvalidParam\.Permissions"):
            w.cloud.ecs.call(
                Caller(HOME, "root"),
                "AuthorizeSecurityGroup",
                {"RegionId": REGION, "SecurityGroupId": w.db, **params},
            )


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"ip_protocol": "sctp"}, "InvalidIpProtocol.ValueNotSupported", 400),
        ({"ip_protocol": "256"}, "InvalidIpProtocol.ValueNotSupported", 400),
        ({"port_range": "-1/-1"}, "OperationDenied", 400),
        ({"port_range": "0/80"}, "OperationDenied", 400),
        ({"port_range": "80/22"}, "OperationDenied", 400),
        ({"port_range": "22/65536"}, "OperationDenied", 400),
        ({"ip_protocol": "icmp", "port_range": "22/22"}, "OperationDenied", 400),
        ({"ip_protocol": "all", "port_range": "1/65535"}, "OperationDenied", 400),
        ({"port_range": "22"}, "InvalidParam.PortRange", 400),
        ({"port_range": None}, "InvalidPortRange.Malformed", 400),
        ({"source_cidr_ip": None}, "MissingParameter.Source", 400),
        ({"source_cidr_ip": None, "source_prefix_list_id": "pl-1"}, "InvalidPrefixListId.NotFound", 404),
        ({"source_cidr_ip": "010.0.0.0/8"}, "InvalidSourceCidrIp.Malformed", 400),
        ({"source_cidr_ip": "10.0.0.0/33"}, "InvalidSourceCidrIp.Malformed", 400),
        ({"source_cidr_ip": "10.0.0.0/255.0.0.0"}, "InvalidSourceCidrIp.Malformed", 400),
        ({"source_cidr_ip": "10.0.0.0/0.255.255.255"}, "InvalidSourceCidrIp.Malformed", 400),
        ({"source_cidr_ip": None, "ipv_6source_cidr_ip": "fe80::1%eth0"}, "InvalidParam.Ipv6SourceCidrIp", 400),
        ({"dest_cidr_ip": "nowhere"}, "InvalidDestCidrIp.Malformed", 400),
        ({"dest_cidr_ip": "10.0.0.0/8"}, "InvalidParamter.Conflict", 400),
        ({"ipv_6source_cidr_ip": "2001:db8::/32"}, "InvalidParam.SourceIp", 400),
        ({"policy": "allow"}, "InvalidPolicy.Malformed", 400),
        ({"priority": "high"}, "InvalidPriority.Malformed", 400),
        ({"priority": "0"}, "InvalidPriority.ValueNotSupported", 400),
        ({"priority": "101"}, "InvalidPriority.ValueNotSupported", 400),
        ({"nic_type": "extranet"}, "InvalidNicType.ValueNotSupported", 400),
        ({"description": "x" * 513}, "InvalidSecurityGroupDiscription.Malformed", 400),
        ({"source_port_range": "1/0"}, "InvalidSourcePortRange.Malformed", 400),
    ],
)
@pytest.mark.real_cloud
def test_an_invalid_permission_is_refused(w: RuleWorld, fields: dict[str, Any], code: str, status: int) -> None:
    """Each with the platform's own code."""
    with refused(code, status):
        w.authorize(w.db, permission(**{"source_cidr_ip": "10.0.0.0/8", **fields}))
    assert w.rules(w.db) == []


@pytest.mark.real_cloud
def test_protocols_are_read_in_any_case_and_as_numbers(w: RuleWorld) -> None:
    """cn-qingdao is one of the regions that accept IANA numbers; an IPv6 block ending in /0 reads back as ::/0."""
    w.authorize(
        w.db,
        permission(ip_protocol="Icmp", port_range="-1/-1", source_cidr_ip="10.1.2.3/8"),
        permission(ip_protocol="6", source_cidr_ip="10.0.0.0/8"),
        permission(ip_protocol="50", port_range="-1/-1", source_cidr_ip="10.0.0.0/8"),
        permission(ip_protocol="255", port_range="-1/-1", source_cidr_ip="10.0.0.0/8"),
        permission(ip_protocol="ALL", port_range="-1/-1", ipv_6source_cidr_ip="2001:db8::/0"),
    )
    read = [(rule.ip_protocol, rule.source_cidr_ip or rule.ipv_6source_cidr_ip) for rule in w.rules(w.db)]
    assert read == [
        ("ICMP", "10.0.0.0/8"),
        ("TCP", "10.0.0.0/8"),
        ("50", "10.0.0.0/8"),
        ("255", "10.0.0.0/8"),
        ("ALL", "::/0"),
    ]


@pytest.mark.real_cloud
def test_a_vpc_has_only_the_intranet(w: RuleWorld) -> None:
    """A CIDR rule for internet becomes intranet; a group rule for internet is refused with 403."""
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.0/8", nic_type="internet"))
    assert [rule.nic_type for rule in w.rules(w.db)] == ["intranet"]
    with refused("InvalidSourceGroupId.Mismatch", 403):
        w.authorize(w.db, permission(source_group_id=w.app, nic_type="internet"))


def test_the_classic_network_defaults_to_internet(w: RuleWorld) -> None:
    """So a group rule there must say intranet, and Describe shows one NIC type per call."""
    one, two = (w.cloud.ecs.create_group(HOME, "").id for _ in range(2))
    with refused("InvalidSourceGroupId.Mismatch", 403):
        w.authorize(one, permission(source_group_id=two))
    w.authorize(one, permission(source_group_id=two, nic_type="intranet"))
    assert w.rules(one) == []
    request = models.DescribeSecurityGroupAttributeRequest(region_id=REGION, security_group_id=one, nic_type="intranet")
    assert len(w.ecs.describe_security_group_attribute(request).body.permissions.permission) == 1
    with refused("InvalidNetworkType.Mismatch", 403):
        w.authorize(one, permission(source_group_id=w.app, nic_type="intranet"))


def test_another_accounts_group_does_not_exist(w: RuleWorld) -> None:
    """Neither for writing nor for reading, and neither does an unknown group of the caller."""
    with refused("InvalidSecurityGroupId.NotFound", 404):
        w.authorize(w.peer, permission(source_group_id=w.app))
    with refused("InvalidSecurityGroupId.NotFound", 404):
        w.rules(w.peer)
    with refused("InvalidSecurityGroupId.Malformed", 400):
        w.rules("group-1")


def test_a_group_cannot_name_itself_or_a_group_of_another_vpc(w: RuleWorld) -> None:
    """403 for itself, 400 for another VPC."""
    with refused("InvalidParamter.Conflict", 403):
        w.authorize(w.db, permission(source_group_id=w.db))
    with refused("InvalidSourceGroupId.Mismatch", 400):
        w.authorize(w.db, permission(source_group_id=new_group(w.ecs)))


@pytest.mark.real_cloud
def test_advanced_groups_neither_hold_nor_are_group_sources(w: RuleWorld) -> None:
    """They may hold rules for addresses, with any priority, and drops [doc 120621]."""
    advanced = new_group(w.ecs, w.shared, security_group_type="enterprise")
    with refused("InvalidGroupParameter.OperationDenied", 400):
        w.authorize(advanced, permission(source_group_id=w.app))
    with refused("InvalidGroupAuthParameter.OperationDenied", 400):
        w.authorize(w.db, permission(source_group_id=advanced))
    w.authorize(advanced, permission(source_cidr_ip="10.0.0.1/32", dest_cidr_ip="10.0.0.2/32"))
    w.authorize(advanced, permission(source_cidr_ip="10.0.0.3/32", policy="drop", priority="7"))
    kept, dropped = w.rules(advanced)
    assert kept.dest_cidr_ip == "10.0.0.2/32"
    assert (dropped.policy, dropped.priority) == ("Drop", 7)


def test_managed_groups_are_read_only_and_cannot_be_named(w: RuleWorld) -> None:
    """Reading one is allowed."""
    managed = w.cloud.ecs.create_group(HOME, w.shared, managed=True).id
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        w.authorize(managed, permission(source_cidr_ip="10.0.0.0/8"))
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        w.authorize(w.db, permission(source_group_id=managed))
    assert w.rules(managed) == []


def test_group_sources_have_a_quota_of_their_own(w: RuleWorld) -> None:
    """Each port counts; repeating a rule adds none and still succeeds at the limit."""
    w.cloud.ecs.quotas.group_source_rules = 1
    w.authorize(w.db, permission(source_group_id=w.app))
    w.authorize(w.db, permission(source_group_id=w.app))
    with refused("AuthorizedGroupRule.LimitExceed", 400):
        w.authorize(w.db, permission(source_group_id=w.app, port_range="22/22"))
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.0/8"))
    w.cloud.ecs.quotas.rules_per_group = 2
    with refused("AuthorizationLimitExceed", 403):
        w.authorize(w.db, permission(source_cidr_ip="10.0.0.0/9"))


@pytest.mark.real_cloud
def test_the_real_quota_is_twenty_group_sources(w: RuleWorld) -> None:
    """A call that exceeds it writes nothing."""
    ports = [permission(source_group_id=w.app, port_range=f"{n}/{n}") for n in range(1, 22)]
    with refused("AuthorizedGroupRule.LimitExceed", 400):
        w.authorize(w.db, *ports)
    w.authorize(w.db, *ports[:20])
    assert len(w.rules(w.db)) == 20


def test_the_rules_of_an_instance_are_limited(w: RuleWorld) -> None:
    """Counted over all its groups and both directions, whether the rule or the membership is new."""
    w.cloud.ecs.quotas.rules_per_instance = 3
    w.authorize(w.db, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in range(2)))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    instance = w.cloud.ecs.create_instance(HOME, [w.app]).id
    join = models.JoinSecurityGroupRequest(security_group_id=w.db, instance_id=instance)
    w.ecs.join_security_group(join)
    with refused("AuthorizationLimitExceed", 403):
        w.authorize(w.app, permission(source_cidr_ip="10.0.0.2"))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    w.ecs.leave_security_group(models.LeaveSecurityGroupRequest(security_group_id=w.db, instance_id=instance))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.2"))
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.2"))  # the instance that left does not count
    with refused("AclLimitExceed", 403):
        w.ecs.join_security_group(join)
    create = models.RunInstancesRequest(
        region_id=REGION, image_id="i", instance_type="t", security_group_ids=[w.app, w.db]
    )
    with refused("AclLimitExceed", 403):
        w.ecs.run_instances(create)


@pytest.mark.real_cloud
def test_egress_rules_name_a_destination(w: RuleWorld) -> None:
    """They are listed with the ingress rules and revoked by their own action."""
    request = models.AuthorizeSecurityGroupEgressRequest(
        region_id=REGION,
        security_group_id=w.db,
        permissions=[
            models.AuthorizeSecurityGroupEgressRequestPermissions(
                ip_protocol="tcp", port_range="443/443", policy="drop", dest_cidr_ip="10.0.0.0/8"
            )
        ],
    )
    w.ecs.authorize_security_group_egress(request)
    (rule,) = w.rules(w.db)
    assert (rule.direction, rule.dest_cidr_ip, rule.policy, rule.source_cidr_ip) == ("egress", "10.0.0.0/8", "Drop", "")
    with refused("InvalidParam.SecurityGroupRuleId", 400):
        w.revoke(w.db, rule.security_group_rule_id)
    w.ecs.revoke_security_group_egress(
        models.RevokeSecurityGroupEgressRequest(
            region_id=REGION, security_group_id=w.db, security_group_rule_id=[rule.security_group_rule_id]
        )
    )
    assert w.rules(w.db) == []


def test_an_owner_may_be_given_by_login_name(w: RuleWorld) -> None:
    """In SourceGroupOwnerAccount; it reads back as the uid."""
    w.cloud.ecs.account_names["b@aliyun.com"] = PEER
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_account="b@aliyun.com"))
    assert w.rules(w.db)[0].source_group_owner_account == PEER


def test_indexed_parameters_are_read_in_numerical_order() -> None:
    """`.10` comes after `.9`, and a longer name is not mistaken for its suffix."""
    params = Params({"Id.10": "ten", "Id.9": "nine", "GroupId.1": "no", "Id.0": "no", "Id.x": "no"})
    assert params.listed("Id") == ["nine", "ten"]
