"""Rules through the official SDK: how they are added, changed and revoked."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from msgspec.structs import replace

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Caller
from aliyun_local.ecs.params import Params
from clients import HOME, PEER, REGION, ask, refusal, refused
from ecs_helpers import RuleWorld, new_group, permission


@pytest.fixture(name="w")
def _world(local_cloud: LocalCloud) -> RuleWorld:
    return RuleWorld(local_cloud)


def test_at_most_a_hundred_permissions_a_call(w: RuleWorld) -> None:
    """Nor ids of rules; 100 work (an 18 KB request line). At least one permission."""
    many = [permission(source_cidr_ip="10.0.0.1/32", port_range=f"{n}/{n}") for n in range(1, 102)]
    assert refusal(w.authorize, w.db, *many) == ("InvalidParam.Permissions", 400)
    w.authorize(w.db, *many[:100])
    w.authorize(w.db, many[100])
    ids = [rule.security_group_rule_id for rule in w.rules(w.db)]
    assert refusal(w.revoke, w.db, *ids) == ("InvalidParam.SecurityGroupRuleId", 400)
    w.revoke(w.db, *ids[1:])
    assert [rule.security_group_rule_id for rule in w.rules(w.db)] == ids[:1]
    assert refusal(w.authorize, w.db) == ("MissingParameter", 400)
    params_of_one = {"IpProtocol": "tcp", "PortRange": "1/1", "SourceCidrIp": "10.0.0.2/32"}
    for number in (101, 100_000):
        params = {f"Permissions.{number}.{name}": value for name, value in params_of_one.items()}
        with pytest.raises(Exception, match=r"400 InvalidParam\.Permissions"):
            w.cloud.ecs.call(
                Caller(HOME, "root"),
                "AuthorizeSecurityGroup",
                {"RegionId": REGION, "SecurityGroupId": w.db, **params},
            )


def test_the_classic_network_defaults_to_internet(w: RuleWorld) -> None:
    """So a group rule there must say intranet, and Describe shows one NIC type per call."""
    first_group, two = (w.cloud.ecs.create_group(HOME, "").id for _ in range(2))
    assert refusal(w.authorize, first_group, permission(source_group_id=two)) == ("InvalidSourceGroupId.Mismatch", 403)
    w.authorize(first_group, permission(source_group_id=two, nic_type="intranet"))
    assert w.rules(first_group) == []
    permissions_shown = ask(
        w.ecs, "DescribeSecurityGroupAttribute", security_group_id=first_group, nic_type="intranet"
    ).permissions
    assert len(permissions_shown.permission) == 1
    w.authorize(first_group, permission(source_cidr_ip="10.0.0.1"))
    for _ in range(2):
        ((nic_type, rule),) = ((rule.nic_type, rule.security_group_rule_id) for rule in w.rules(first_group))
        assert nic_type == "internet"
        w.modify(first_group, rule, description="new")
    with refused("InvalidNetworkType.Mismatch", 403):
        w.authorize(first_group, permission(source_group_id=w.app, nic_type="intranet"))


def test_another_accounts_group_does_not_exist(w: RuleWorld) -> None:
    """Neither for writing nor for reading, and neither does an unknown group of the caller."""
    assert refusal(w.authorize, w.peer, permission(source_group_id=w.app)) == ("InvalidSecurityGroupId.NotFound", 404)
    assert refusal(w.rules, w.peer) == ("InvalidSecurityGroupId.NotFound", 404)
    assert refusal(w.rules, "group-1") == ("InvalidSecurityGroupId.Malformed", 400)


def test_managed_groups_are_read_only_and_cannot_be_named(w: RuleWorld) -> None:
    """Reading one is allowed."""
    managed = w.cloud.ecs.create_group(HOME, w.shared, managed=True).id
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        w.authorize(managed, permission(source_cidr_ip="10.0.0.0/8"))
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        w.authorize(w.db, permission(source_group_id=managed))
    assert w.rules(managed) == []
    fields = {"security_group_id": managed, "inner_access_policy": "Drop"}
    with refused("InvalidOperation.ResourceManagedByCloudProduct", 403):
        ask(w.ecs, "ModifySecurityGroupPolicy", **fields)


@pytest.mark.parametrize("counted", ["rules", "groups"])
def test_group_sources_have_a_quota_of_their_own(w: RuleWorld, counted: str) -> None:
    """Of rules, or of groups: a knob. Repeating a rule adds none and still succeeds at the limit."""
    w.cloud.knobs.change({"group_sources": counted})
    w.cloud.ecs.quotas.group_source_rules = 1
    w.authorize(w.db, permission(source_group_id=w.app))
    w.authorize(w.db, permission(source_group_id=w.app))
    with nullcontext() if counted == "groups" else refused("AuthorizedGroupRule.LimitExceed", 400):
        w.authorize(w.db, permission(source_group_id=w.app, port_range="22/22"))
    with refused("AuthorizedGroupRule.LimitExceed", 400):
        w.authorize(w.db, permission(source_group_id=new_group(w.ecs, w.shared)))
    assert refusal(w.egress, w.db, w.app) == ("AuthorizedGroupRule.LimitExceed", 400)
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.8"))
    w.cloud.ecs.quotas.rules_per_group = len(w.rules(w.db))
    assert refusal(w.authorize, w.db, permission(source_cidr_ip="10.0.0.9")) == ("AuthorizationLimitExceed", 403)


@pytest.mark.parametrize("partial", [False, True])
def test_whether_permissions_before_an_invalid_one_are_written_is_a_knob(w: RuleWorld, partial: bool) -> None:
    w.cloud.knobs.partial_writes = partial
    with refused("InvalidSourceGroupId.NotFound", 404):
        w.authorize(w.db, permission(source_group_id=w.app), permission(source_group_id="sg-none"))
    assert len(w.rules(w.db)) == partial


def test_a_rule_names_another_group_of_its_vpc(w: RuleWorld) -> None:
    """In either direction; whether of another VPC is a knob."""
    far = new_group(w.ecs)
    for group, code, status in ((w.db, "InvalidParamter.Conflict", 403), (far, "InvalidSourceGroupId.Mismatch", 400)):
        assert refusal(w.authorize, w.db, permission(source_group_id=group)) == (code, status)
    for group, code, status in (
        (w.db, "InvalidSecurityGroup.IsSame", 403),
        ("sg-none", "InvalidDestGroupId.NotFound", 404),
        (far, "InvalidDestGroupId.Mismatch", 400),
    ):
        assert refusal(w.egress, w.db, group) == (code, status)
    w.cloud.knobs.cross_vpc_sources = True
    w.authorize(w.db, permission(source_group_id=far))
    assert [rule.source_group_id for rule in w.rules(w.db)] == [far]


def test_whether_revoking_what_is_not_there_fails_is_a_knob(w: RuleWorld) -> None:
    missing = {"ip_protocol": "tcp", "port_range": "1/1", "source_cidr_ip": "10.0.0.7"}
    w.revoke(w.db, **missing)
    w.cloud.knobs.missing_permission = "RuleNotExist"
    assert refusal(w.revoke, w.db, **missing) == ("InvalidSecurityGroupRule.RuleNotExist", 400)
    w.authorize(w.db, missing)
    w.revoke(w.db, **missing)


@pytest.mark.parametrize("most", [200, 1000])
def test_a_group_may_have_as_many_rules_as_the_knob_says(w: RuleWorld, most: int) -> None:
    w.cloud.ecs.knobs.change({"rules_per_group": most})
    ports = [permission(source_cidr_ip="10.0.0.1", port_range=f"{n}/{n}") for n in range(1, most + 2)]
    for start in range(0, most, 100):
        w.authorize(w.db, *ports[start : start + 100])
    assert refusal(w.authorize, w.db, ports[most]) == ("AuthorizationLimitExceed", 403)


def test_the_rules_of_an_instance_are_limited(w: RuleWorld) -> None:
    """Counted over all its groups and both directions, whether the rule or the membership is new."""
    w.cloud.ecs.quotas.rules_per_instance = 3
    empty = w.cloud.ecs.create_group(HOME, w.shared).id
    w.authorize(empty, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in range(3)))
    w.authorize(w.db, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in range(2)))
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    instance, released, _ = (w.cloud.ecs.create_instance(HOME, [w.app]).id for _ in range(3))
    ask(w.ecs, "DeleteInstance", instance_id=released, force=True)
    joining = {"security_group_id": w.db, "instance_id": instance}
    ask(w.ecs, "JoinSecurityGroup", **joining)
    assert refusal(w.authorize, w.app, permission(source_cidr_ip="10.0.0.2")) == ("AuthorizationLimitExceed", 403)
    w.authorize(w.app, permission(source_cidr_ip="10.0.0.1"))
    ask(w.ecs, "LeaveSecurityGroup", security_group_id=w.db, instance_id=instance)
    w.authorize(w.app, *(permission(source_cidr_ip=f"10.0.0.{n}") for n in (2, 3)))
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.2"))  # the instance that left does not count
    assert refusal(ask, w.ecs, "JoinSecurityGroup", **joining) == ("AclLimitExceed", 403)
    with refused("AclLimitExceed", 403):
        ask(w.ecs, "RunInstances", image_id="i", instance_type="t", security_group_ids=[w.app, w.db])


def test_an_owner_may_be_given_by_login_name(w: RuleWorld) -> None:
    """In SourceGroupOwnerAccount; it reads back as the uid."""
    w.cloud.ecs.account_names["b@aliyun.com"] = PEER
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_account="b@aliyun.com"))
    (rule,) = w.rules(w.db)
    assert (rule.source_group_id, rule.source_group_owner_account) == (w.peer, PEER)
    with refused("InvalidSourceGroupId.NotFound", 404):  # no owner is the caller
        w.authorize(w.db, permission(source_group_id=w.peer))
    with refused("InvalidSourceGroupId.NotFound", 404):  # the name given counts, not the owner that the rule has
        w.modify(w.db, rule.security_group_rule_id, source_group_id=w.peer, source_group_owner_account=HOME)


def test_indexed_parameters_are_read_in_numerical_order() -> None:
    """`.10` comes after `.9`, and a longer name is not mistaken for its suffix."""
    params = Params({"Id.10": "ten", "Id.9": "nine", "GroupId.1": "no", "Id.0": "no", "Id.x": "no"})
    assert params.listed("Id") == ["nine", "ten"]


# revoking, modifying, repeating a call, reading many


def test_modifying_changes_the_given_fields_and_keeps_the_id(w: RuleWorld) -> None:
    """Of an ingress rule: this is the only way to change a description."""
    w.authorize(w.db, permission(source_group_id=w.peer, source_group_owner_id=int(PEER), description="old"))
    (old,) = w.rules(w.db)
    w.modify(w.db, old.security_group_rule_id, description="new", port_range="3307/3307")
    (new,) = w.rules(w.db)
    assert new.security_group_rule_id == old.security_group_rule_id
    assert (new.description, new.port_range, new.source_group_owner_account) == ("new", "3307/3307", PEER)
    ends = {"ipv_6source_cidr_ip": "::1/128", "ipv_6dest_cidr_ip": "::2/128", "source_port_range": "1/2"}
    w.authorize(w.app, permission(**ends, policy="drop", priority="7"))
    w.egress(w.app, w.db)
    outward, old = sorted(w.rules(w.app), key=lambda rule: rule.direction)
    w.modify(w.app, old.security_group_rule_id, description="new")
    assert [rule.to_map() for rule in w.rules(w.app) if rule.description] == [{**old.to_map(), "Description": "new"}]
    with refused("InvalidSecurityGroupRuleId.NotFound", 404):
        w.modify(w.app, outward.security_group_rule_id, description="new")


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
    w.authorize(w.db, permission(source_cidr_ip="10.0.0.1"))
    stored = w.cloud.ecs.accounts[HOME].groups[w.db].rules
    stored.change(w.cloud.clock.now(), lambda versions: tuple(replace(versions[0], sequence=n) for n in range(1001)))

    def read(**fields: Any) -> tuple[int, str]:
        body = ask(w.ecs, "DescribeSecurityGroupAttribute", security_group_id=w.db, **fields)
        return len(body.permissions.permission), body.next_token

    count, token = read()
    assert count == 500
    second, token = read(next_token=token)
    assert (second, read(next_token=token)) == (500, (1, ""))
    assert read(max_results=1)[0] == 10
    assert read(max_results=5000)[0] == 1000
    assert read(direction="egress") == (0, "")
    for wrong in ({"next_token": "caeba0bbb2be03f84eb48b699f0a4883"}, {"direction": "inward"}):
        assert refusal(read, **wrong) == ("InvalidParameter", 400)
    assert refusal(read, nic_type="extranet") == ("InvalidNicType.ValueNotSupported", 400)
