"""Rules through the official SDK: how they are added, changed and revoked."""

from __future__ import annotations

from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Caller
from link_peer_local.ecs.params import Params

from tests.local.clients import HOME, PEER, REGION, ask, refused
from tests.local.ecs.helpers import RuleWorld, permission


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> RuleWorld:
    return RuleWorld(local_cloud)


def test_a_peer_accounts_group_needs_its_owners_id(w: RuleWorld) -> None:
    """A missing owner means the caller's own account, where that group does not exist."""
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id=w.peer))


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


def test_the_classic_network_defaults_to_internet(w: RuleWorld) -> None:
    """So a group rule there must say intranet, and Describe shows one NIC type per call."""
    one, two = (w.cloud.ecs.create_group(HOME, "").id for _ in range(2))
    with refused("InvalidSourceGroupId.Mismatch", 403):
        w.authorize(one, permission(source_group_id=two))
    w.authorize(one, permission(source_group_id=two, nic_type="intranet"))
    assert w.rules(one) == []
    assert (
        len(
            ask(
                w.ecs, "DescribeSecurityGroupAttribute", security_group_id=one, nic_type="intranet"
            ).permissions.permission
        )
        == 1
    )
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


def test_a_group_cannot_name_itself(w: RuleWorld) -> None:
    with refused("InvalidParamter.Conflict", 403):
        w.authorize(w.db, permission(source_group_id=w.db))


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


@pytest.mark.parametrize("most", [200, 1000])
def test_a_group_may_have_as_many_rules_as_the_knob_says(w: RuleWorld, most: int) -> None:
    w.cloud.ecs.knobs.change({"rules_per_group": most})
    ports = [permission(source_cidr_ip="10.0.0.1", port_range=f"{n}/{n}") for n in range(1, most + 2)]
    for start in range(0, most, 100):
        w.authorize(w.db, *ports[start : start + 100])
    with refused("AuthorizationLimitExceed", 403):
        w.authorize(w.db, ports[most])


def test_the_rules_of_an_instance_are_limited(w: RuleWorld) -> None:
    """Counted over all its groups and both directions, whether the rule or the membership is new."""
    w.cloud.ecs.quotas.rules_per_instance = 3
    empty = w.cloud.ecs.create_group(HOME, w.shared).id
    w.authorize(empty, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in range(3)))
    w.authorize(w.db, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in range(2)))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    instance = w.cloud.ecs.create_instance(HOME, [w.app]).id
    join = models.JoinSecurityGroupRequest(security_group_id=w.db, instance_id=instance)
    w.ecs.join_security_group(join)
    with refused("AuthorizationLimitExceed", 403):
        w.authorize(w.app, permission(source_cidr_ip="10.0.0.2"))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    ask(w.ecs, "LeaveSecurityGroup", security_group_id=w.db, instance_id=instance)
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.2"))
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.2"))  # the instance that left does not count
    with refused("AclLimitExceed", 403):
        w.ecs.join_security_group(join)
    with refused("AclLimitExceed", 403):
        ask(w.ecs, "RunInstances", image_id="i", instance_type="t", security_group_ids=[w.app, w.db])


def test_an_owner_may_be_given_by_login_name(w: RuleWorld) -> None:
    """In SourceGroupOwnerAccount; it reads back as the uid."""
    w.cloud.ecs.account_names["b@aliyun.com"] = PEER
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_account="b@aliyun.com"))
    (rule,) = w.rules(w.db)
    assert (rule.source_group_id, rule.source_group_owner_account) == (w.peer, PEER)
    with refused("InvalidSourceGroupId.NotFound", 404):  # the name given counts, not the owner that the rule has
        w.modify(w.db, rule.security_group_rule_id, source_group_id=w.peer, source_group_owner_account=HOME)


def test_indexed_parameters_are_read_in_numerical_order() -> None:
    """`.10` comes after `.9`, and a longer name is not mistaken for its suffix."""
    params = Params({"Id.10": "ten", "Id.9": "nine", "GroupId.1": "no", "Id.0": "no", "Id.x": "no"})
    assert params.listed("Id") == ["nine", "ten"]


# revoking, modifying, repeating a call, reading many


def test_modifying_changes_the_given_fields_and_keeps_the_id(w: RuleWorld) -> None:
    """This is the only way to change a description."""
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER), description="old"))
    (old,) = w.rules(w.db)
    w.modify(w.db, old.security_group_rule_id, description="new", port_range="3307/3307")
    (new,) = w.rules(w.db)
    assert new.security_group_rule_id == old.security_group_rule_id
    assert (new.description, new.port_range, new.source_group_owner_account) == ("new", "3307/3307", PEER)


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
        body = ask(w.ecs, "DescribeSecurityGroupAttribute", security_group_id=w.db, **fields)
        return len(body.permissions.permission), body.next_token

    count, token = read()
    assert count == 500
    assert read(next_token=token) == (100, "")
    assert read(max_results=1)[0] == 10
    assert read(max_results=5000) == (600, "")
    assert read(direction="egress") == (0, "")
    with refused("InvalidParameter", 400):
        read(next_token="caeba0bbb2be03f84eb48b699f0a4883")


@pytest.mark.parametrize(
    ("number", "name", "source"),
    [
        ("1", "ICMP", ""),
        ("6", "TCP", ""),
        ("17", "UDP", ""),
        ("47", "GRE", ""),
        ("58", "ICMPv6", "::/0"),
        ("99", "99", ""),
    ],
)
def test_a_protocol_that_is_given_by_its_number_reads_back_by_its_name(
    w: RuleWorld, number: str, name: str, source: str
) -> None:
    where = {"ipv_6source_cidr_ip": source} if source else {"source_cidr_ip": "10.0.0.1"}
    w.authorize(w.db, permission(ip_protocol=number, port_range="1/1" if name in ("TCP", "UDP") else "-1/-1", **where))
    assert [rule.ip_protocol for rule in w.rules(w.db)] == [name]
