"""Values of the ECS SDK's models: which of their fields may be missing, and what a rule of ours looks like there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from link_peer.alicloud import ecs_shapes as shapes
from link_peer.domain.model import ALL, Instance, Party, Port, RuleKey, Traffic

HOME, PEER = "1000000000000001", "1000000000000002"
DB = Party(HOME, "sg-db")
KEY = RuleKey(DB, f"sg-app@{HOME}", "", Port("tcp", 22, 22))


def model(**fields: Any) -> Any:
    return SimpleNamespace(**fields)


def permission(**changes: Any) -> Any:
    """A rule of one group on TCP 22, as DescribeSecurityGroupAttribute shows it."""
    names = (
        "ipv_6source_cidr_ip ipv_6dest_cidr_ip source_prefix_list_id port_range_list_id source_port_range "
        "source_group_owner_account source_cidr_ip dest_cidr_ip security_group_rule_id policy priority description create_time "
        "direction dest_group_id dest_group_owner_account dest_prefix_list_id"
    )
    fields = {**dict.fromkeys(names.split()), "ip_protocol": "TCP", "port_range": "22/22", "source_group_id": "sg-app"}
    return model(**{**fields, **changes})


def tags(*pairs: tuple[str | None, str | None]) -> Any:
    return model(tag=[model(tag_key=key, tag_value=value) for key, value in pairs])


# rules


def test_a_rule_is_read_with_every_field() -> None:
    """Those that it does not have are empty; its priority is then 1, the platform's default."""
    fields = {"security_group_rule_id": "sgr-1", "priority": "100", "description": "d", "create_time": "2027-01-01"}
    rule = shapes.rule(DB, permission(**fields, policy="Accept"))
    assert (rule.group, rule.id, rule.key, rule.policy) == (DB, "sgr-1", KEY, "accept")
    assert (rule.priority, rule.description, rule.created) == (100, "d", "2027-01-01")
    rule = shapes.rule(DB, permission())
    assert (rule.id, rule.policy, rule.priority, rule.description, rule.created) == ("", "", 1, "", "")


APP, TCP22 = f"sg-app@{HOME}", KEY.port
NO_GROUP = {"source_group_id": None}
RANGELESS = {"port_range": "-1/-1", "source_port_range": "-1/-1"}
EGRESS = {**NO_GROUP, "direction": "egress"}


@pytest.mark.parametrize(
    ("changes", "ours", "applies"),
    [
        ({}, True, Traffic("ingress", APP, "", TCP22)),
        ({"source_group_owner_account": PEER}, True, Traffic("ingress", f"sg-app@{PEER}", "", TCP22)),
        ({"source_group_id": "", "source_cidr_ip": "10.0.0.1"}, True, Traffic("ingress", "10.0.0.1/32", "", TCP22)),
        (
            {**NO_GROUP, "source_cidr_ip": "10.0.0.1/32", "dest_cidr_ip": "10.0.0.2"},
            True,
            Traffic("ingress", "10.0.0.1/32", "10.0.0.2/32", TCP22),
        ),
        ({"ip_protocol": "ALL", **RANGELESS}, True, Traffic("ingress", APP, "", ALL)),
        ({"ip_protocol": "icmp", **RANGELESS}, True, Traffic("ingress", APP, "", Port("icmp"))),
        ({"port_range": "8000/8010"}, True, Traffic("ingress", APP, "", Port("tcp", 8000, 8010))),
        # of a kind that we never write
        ({**NO_GROUP, "source_cidr_ip": "10.0.0.0/24"}, False, Traffic("ingress", "10.0.0.0/24", "", TCP22)),
        ({"dest_cidr_ip": "10.0.0.0/24"}, False, Traffic("ingress", APP, "10.0.0.0/24", TCP22)),
        ({"source_port_range": "1/2"}, False, Traffic("ingress", APP, "", TCP22, (1, 2))),
        ({"source_port_range": "1"}, False, Traffic("ingress", APP, "", None)),
        ({**NO_GROUP, "source_prefix_list_id": "pl-1"}, False, Traffic("ingress", "", "", TCP22, prefix_list="pl-1")),
        ({"port_range": None, "port_range_list_id": "prl-1"}, False, Traffic("ingress", APP, "", None)),
        *(
            ({"port_range": text}, False, Traffic("ingress", APP, "", None))
            for text in (None, "", "22", "a/b", "1/2/3")
        ),
        (NO_GROUP, False, Traffic("ingress", "", "", TCP22)),
        (
            {**EGRESS, "dest_group_id": "sg-x", "source_cidr_ip": "10.0.0.1"},
            False,
            Traffic("egress", f"sg-x@{HOME}", "10.0.0.1/32", TCP22),
        ),
        (
            {**EGRESS, "dest_group_id": "sg-x", "dest_group_owner_account": PEER},
            False,
            Traffic("egress", f"sg-x@{PEER}", "", TCP22),
        ),
        ({**EGRESS, "dest_cidr_ip": "10.0.0.2"}, True, Traffic("egress", "10.0.0.2/32", "", TCP22)),
        ({"direction": "egress", "dest_cidr_ip": "10.0.0.2"}, False, Traffic("egress", "10.0.0.2/32", "", TCP22)),
    ],
)
def test_what_a_rule_applies_to_is_read_for_both_directions(
    changes: dict[str, Any], ours: bool, applies: Traffic
) -> None:
    """Without an owner a group is of the same account; an address may come without its mask; rules on ALL and ICMP show
    a range of source ports that means none. Of prefix lists the id is read, not the entries; port lists are not read. A
    rule of a kind that we never write is nobody's equal: it has no key."""
    rule = shapes.rule(DB, permission(security_group_rule_id="sgr-1", **changes))
    assert (rule.id, rule.traffic) == ("sgr-1", applies)
    assert applies.port or not ours
    ends = ("", applies.peer) if applies.direction == "egress" else (applies.peer, applies.own_range)
    assert rule.key == (RuleKey(DB, *ends, applies.port or ALL) if ours else None)


@pytest.mark.parametrize(
    ("changes", "applies"),
    [
        ({"ipv_6source_cidr_ip": "fd00::/8", **NO_GROUP}, Traffic("ingress", "fd00::/8", "", TCP22)),
        ({"ipv_6dest_cidr_ip": "fd00::1/128"}, Traffic("ingress", APP, "fd00::1/128", TCP22)),
        ({"ipv_6dest_cidr_ip": "fd00::/8", **EGRESS}, Traffic("egress", "fd00::/8", "", TCP22)),
    ],
)
def test_what_a_rule_for_ipv6_applies_to_is_kept_apart(changes: dict[str, Any], applies: Traffic) -> None:
    rule = shapes.rule(DB, permission(**changes))
    assert (rule.key, rule.traffic, rule.ipv6) == (None, None, applies)


@pytest.mark.parametrize(
    ("key", "source"),
    [
        (KEY, {"SourceGroupId": "sg-app"}),
        (RuleKey(DB, f"sg-app@{PEER}", "", KEY.port), {"SourceGroupId": "sg-app", "SourceGroupOwnerId": int(PEER)}),
        (
            RuleKey(DB, "10.0.0.1/32", "10.0.0.2/32", KEY.port),
            {"SourceCidrIp": "10.0.0.1/32", "DestCidrIp": "10.0.0.2/32"},
        ),
        (RuleKey(DB, "10.0.0.1/32", "", KEY.port), {"SourceCidrIp": "10.0.0.1/32"}),
    ],
)
def test_a_rule_of_ours_is_narrow_and_weak(key: RuleKey, source: dict[str, object]) -> None:
    """One source, priority 100, intranet; the owner is named for a group of another account only."""
    common = {"IpProtocol": "TCP", "PortRange": "22/22", "NicType": "intranet", "Policy": "accept", "Priority": "100"}
    assert shapes.permission(DB, key, "d").to_map() == {**common, "Description": "d", **source}


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (RuleKey(Party(HOME, "sg-x"), KEY.source, "", ALL), f"a rule of sg-x@{HOME} on sg-db@{HOME}"),
        (RuleKey(DB, "0.0.0.0/0", "10.0.0.2/32", ALL), "a rule from '0.0.0.0/0' to '10.0.0.2/32': not one group"),
        (RuleKey(DB, f"sg-app@{HOME}", "10.0.0.1/32", ALL), "not one group or one /32"),
        (RuleKey(DB, "10.0.0.0/24", "10.0.0.1/32", ALL), "'10.0.0.0/24'"),
        (RuleKey(DB, "10.0.0.1/32", "", ALL), "a rule from '10.0.0.1/32' to '': not one group or one /32"),
        (RuleKey(DB, "10.0.0.1/321", "10.0.0.2/32", ALL), "'10.0.0.1/321'"),
    ],
)
def test_any_other_rule_is_refused_with_what_is_wrong(key: RuleKey, problem: str) -> None:
    with pytest.raises(ValueError, match="refusing to write") as refused:
        shapes.permission(DB, key, "d")
    assert problem in str(refused.value)


# instances and groups


def test_an_instance_is_read_with_every_field() -> None:
    answer = model(
        instance_id="i-a",
        vpc_attributes=model(vpc_id="vpc-1", private_ip_address=model(ip_address=["10.0.0.1", "10.0.0.2"])),
        security_group_ids=model(security_group_id=["sg-b", "sg-a"]),
        instance_network_type="vpc",
        instance_name="orders-1",
        tags=tags(("link-peer", "sg-db"), ("empty", None), (None, "x"), ("", "y")),
    )
    expected = {"link-peer": "sg-db", "empty": ""}  # a tag without a key is none
    assert shapes.instance(HOME, answer) == Instance(
        Party(HOME, "i-a"), "vpc-1", ("sg-b", "sg-a"), "10.0.0.1", expected, name="orders-1"
    )


def test_an_instance_may_have_neither_vpc_nor_address_nor_groups_nor_tags() -> None:
    """In the classic network, or right after its creation; either level of a list may be missing."""
    bare = {"instance_id": "i-a", "security_group_ids": None, "instance_network_type": "classic", "tags": None}
    bare["instance_name"] = None
    expected = Instance(Party(HOME, "i-a"), "", (), "", {}, classic=True)
    for vpc in (
        None,
        model(vpc_id=None, private_ip_address=None),
        model(vpc_id="", private_ip_address=model(ip_address=None)),
    ):
        assert shapes.instance(HOME, model(**bare, vpc_attributes=vpc)) == expected


@pytest.mark.parametrize(("kind", "advanced"), [("normal", False), ("enterprise", True), (None, False)])
@pytest.mark.parametrize("managed", [True, False, None])
def test_a_group_is_read_with_its_kind_and_counts(kind: str | None, advanced: bool, managed: bool | None) -> None:
    """Where the cloud does not give a count, a group may have rules, and its quota is not taken as used."""
    fields = {"security_group_id": "sg-db", "security_group_type": kind, "service_managed": managed, "tags": None}
    fields["security_group_name"] = "ledger"
    full = shapes.group(HOME, model(**fields, vpc_id="vpc-1", group_to_group_rule_count=3, rule_count="7"))
    assert (full.party, full.vpc, full.advanced, full.managed) == (DB, "vpc-1", advanced, bool(managed))
    assert (full.group_rules, full.rule_count, full.tags, full.name) == (3, 7, {}, "ledger")
    bare = shapes.group(HOME, model(**fields, vpc_id=None, group_to_group_rule_count=None, rule_count=None))
    assert (bare.vpc, bare.group_rules, bare.rule_count) == ("", 0, -1)


@pytest.mark.parametrize("dest", ["", "10.0.0.0/8", "10.0.0.1"])
def test_an_egress_rule_that_is_not_to_one_address_is_never_written(dest: str) -> None:
    key = RuleKey(DB, "", dest, Port("tcp", 22, 22))
    with pytest.raises(ValueError, match=r"refusing to write a rule of .* not one /32"):
        shapes.permission(DB, key, "", egress=True)


def test_a_rule_of_the_other_direction_is_never_written() -> None:
    with pytest.raises(ValueError, match="refusing to write a rule of ingress"):
        shapes.permission(DB, KEY, "", egress=True)
