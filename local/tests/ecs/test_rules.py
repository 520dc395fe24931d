"""What a permission means: defaults, forms and combinations, beside those that conformance asks a cloud about."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_local.ecs import rules
from clients import HOME, PEER, refusal

USUAL = {"IpProtocol": "tcp", "PortRange": "22/22", "SourceCidrIp": "10.0.0.1"}
GROUP = {"SourceCidrIp": "", "SourceGroupId": "sg-1"}
IPV6 = {"SourceCidrIp": "", "Ipv6SourceCidrIp": "2001:DB8::1"}
PING = {"IpProtocol": "icmp", "PortRange": "-1/-1"}
PING6 = {"IpProtocol": "ICMPV6", "PortRange": "-1/-1"}
OUT = {"SourceCidrIp": "10.0.0.9", "DestGroupId": "sg-1", "DestGroupOwnerId": PEER}


def parse(fields: dict[str, str], *, direction: str = "ingress", classic: bool = False) -> Any:
    fields_set = {name: value for name, value in {**USUAL, **fields}.items() if value}
    return rules.parse(fields_set, direction=direction, home=HOME, classic=classic, names={"b@aliyun.com": PEER})


@pytest.mark.parametrize(
    ("fields", "means"),
    [
        ({}, {"protocol": "TCP", "policy": "Accept", "priority": 1, "nic_type": "intranet", "source_port_range": ""}),
        ({"PortRange": "1/65535", "Priority": "100", "Policy": "DROP"}, {"port_range": "1/65535", "priority": 100, "policy": "Drop"}),
        ({"IpProtocol": "UDP", "SourcePortRange": "1/1024"}, {"protocol": "UDP", "source_port_range": "1/1024"}),
        ({"Description": "x" * 512}, {"description": "x" * 512}),
        (PING, {"protocol": "ICMP", "source_port_range": "-1/-1"}),
        ({**PING6, **IPV6}, {"protocol": "ICMPv6", "peer_ipv6": "2001:db8::1/128", "peer_cidr": ""}),
        *(({**PING, "IpProtocol": number}, {"protocol": name}) for number, name in (("1", "ICMP"), ("47", "GRE"), ("99", "99"), ("0", "0"))),
        ({"IpProtocol": "6"}, {"protocol": "TCP"}),
        ({"IpProtocol": "17"}, {"protocol": "UDP"}),
        ({**PING6, **IPV6, "IpProtocol": "58"}, {"protocol": "ICMPv6"}),
        ({"DestCidrIp": "10.0.0.2/8"}, {"peer_cidr": "10.0.0.1", "own_cidr": "10.0.0.0/8"}),
        ({**IPV6, "Ipv6DestCidrIp": "::1/64"}, {"own_ipv6": "::/64", "own_cidr": ""}),
        (GROUP, {"peer_group": "sg-1", "peer_owner": HOME}),
        ({**GROUP, "SourceGroupOwnerId": PEER, "SourceGroupOwnerAccount": "x"}, {"peer_owner": PEER}),
        ({**GROUP, "SourceGroupOwnerAccount": "b@aliyun.com"}, {"peer_owner": PEER}),
        ({**GROUP, "SourceGroupOwnerAccount": "nobody"}, {"peer_owner": "nobody"}),
        ({"SourceGroupId": "sg-1", "SourceGroupOwnerId": "?"}, {"peer_group": "", "peer_owner": ""}),
        ({**IPV6, "SourceGroupId": "sg-1"}, {"peer_group": "", "peer_owner": ""}),
    ],
)  # fmt: skip
def test_a_permission_means_one_rule(fields: dict[str, str], means: dict[str, Any]) -> None:
    rule = parse(fields)
    assert {name: getattr(rule, name) for name in means} == means


def test_of_an_egress_rule_the_destination_is_the_peer() -> None:
    rule = parse(OUT, direction="egress")
    assert (rule.peer_group, rule.peer_owner, rule.peer_cidr, rule.own_cidr) == ("sg-1", PEER, "", "10.0.0.9")
    assert parse({"NicType": "internet"}).nic_type == "intranet"
    assert [parse({"NicType": kind}, classic=True).nic_type for kind in ("", "intranet")] == ["internet", "intranet"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"PortRange": "", "PortRangeListId": "prl-1"}, "InvalidPortRangeListId.NotFound"),
        ({"SourcePortRange": "-1/-1"}, "InvalidSourcePortRange.Malformed"),
        ({"Priority": "-1"}, "InvalidPriority.ValueNotSupported"),
        ({"Priority": "1000000000"}, "InvalidPriority.Malformed"),
        ({**GROUP, "SourceGroupOwnerId": "1" * 21}, "InvalidParameter"),
        ({**GROUP, "DestCidrIp": "10.0.0.2", "Ipv6DestCidrIp": "::1"}, "InvalidParam.DestIp"),
        ({"DestCidrIp": "10.0.0.1/32"}, "InvalidParamter.Conflict"),
        ({"Ipv6DestCidrIp": "::1"}, "InvalidParameter.Conflict"),
        ({**IPV6, "DestCidrIp": "10.0.0.2"}, "InvalidParameter.Conflict"),
        ({**PING, **IPV6}, "InvalidParam.Ipv4ProtocolConflictWithIpv6Address"),
        ({**PING, **GROUP, "Ipv6DestCidrIp": "::1"}, "InvalidParam.Ipv4ProtocolConflictWithIpv6Address"),
        (PING6, "InvalidParam.Ipv6ProtocolConflictWithIpv4Address"),
        ({**PING6, **GROUP, "DestCidrIp": "10.0.0.2"}, "InvalidParam.Ipv6ProtocolConflictWithIpv4Address"),
    ],
)
def test_what_means_nothing_is_refused(fields: dict[str, str], code: str) -> None:
    """With the code for the field, or for the two that contradict each other."""
    assert refusal(parse, fields) == (code, 400)
