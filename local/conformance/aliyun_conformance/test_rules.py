"""What a rule may say, and what writing it does."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from aliyun_conformance.bench import PERMISSION, Bench
from aliyun_conformance.question import Need, NotAnswered
from aliyun_conformance.sdks import code_of, refusal_of

FIVE_PARTS = {"source_cidr_ip": "10.0.0.1/32", "dest_cidr_ip": "10.0.0.2/32"}
GONE_CODES = {
    "InvalidParam.SecurityGroupRuleId",
    "InvalidSecurityGroupRule.RuleNotExist",
    "InvalidSecurityGroupRuleId.NotFound",
    "InvalidGroupAuthItem.NotFound",
}
ADVANCED_CODES = {"InvalidGroupAuthParameter.OperationDenied", "InvalidGroupParameter.OperationDenied"}
QUOTA_CODES = {"AuthorizedGroupRule.LimitExceed", "AuthorizationLimitExceed"}
QUOTA = 20
ANYWHERE = {"source_cidr_ip": "10.0.0.0/8"}


@pytest.mark.real_cloud(1, expected="one rule, with the first description")
def test_repeated_authorize(bench: Bench) -> None:
    """A repeated authorize succeeds, adds nothing and keeps the description."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a, "description": "first"})
    bench.authorize(b, {"source_group_id": a, "description": "other", "ip_protocol": "tcp", "policy": "Accept"})
    descriptions = [rule.description for rule in bench.rules(b, 1)]
    bench.saw(f"{len(descriptions)} rule(s) with description {', '.join(descriptions)}")
    assert descriptions == ["first"]


@pytest.mark.real_cloud(2, expected="two rules")
def test_priority_is_identity(bench: Bench) -> None:
    """The priority is part of a rule's identity."""
    a, b = bench.group(), bench.group()
    for priority in ("100", "1"):
        bench.authorize(b, {"source_group_id": a, "priority": priority})
    priorities = sorted(str(rule.priority) for rule in bench.rules(b, 2))
    assert priorities == ["1", "100"]


@pytest.mark.real_cloud(3, Need.PEER, expected="`SourceGroupOwnerAccount` is the uid")
def test_owner_of_a_peers_group(bench: Bench) -> None:
    """`SourceGroupOwnerAccount` of another account's group is returned as its uid."""
    peer = bench.peer()
    if not peer.group:
        raise NotAnswered(f"account {peer.account} has no marked group in VPC {bench.vpc}")
    b = bench.group()
    bench.authorize(b, {"source_group_id": peer.group, "source_group_owner_id": int(peer.account)})
    assert bench.only_rule(b).source_group_owner_account == peer.account


@pytest.mark.real_cloud(
    4, expected="one rule; both addresses are returned with `/32` or both without: the code reads either"
)
def test_five_parts(bench: Bench) -> None:
    """SourceCidrIp and DestCidrIp, both /32, are accepted in one ingress rule without being enabled first."""
    b = bench.group()
    bench.authorize(b, FIVE_PARTS)
    rule = bench.only_rule(b)
    cidrs = (rule.source_cidr_ip, rule.dest_cidr_ip)
    bare = {"10.0.0.1": "10.0.0.1/32", "10.0.0.2": "10.0.0.2/32"}
    full = tuple(bare.get(each, each) for each in cidrs)
    bench.saw(f"SourceCidrIp {cidrs[0]!r}, DestCidrIp {cidrs[1]!r}")
    assert full == tuple(FIVE_PARTS.values())


@pytest.mark.real_cloud(5, expected="one rule with protocol ALL")
def test_five_parts_of_all(bench: Bench) -> None:
    """Rules between two addresses accept protocol ALL with `-1/-1`."""
    b = bench.group()
    bench.authorize(b, {**FIVE_PARTS, "ip_protocol": "ALL", "port_range": "-1/-1"})
    rule = bench.only_rule(b)
    assert (str(rule.ip_protocol).upper(), rule.port_range) == ("ALL", "-1/-1")
    assert rule.dest_cidr_ip


@pytest.mark.real_cloud(6, expected="two rules")
def test_addresses_on_an_advanced_group(bench: Bench) -> None:
    """Advanced groups accept /32 rules, with both addresses and with the source's alone."""
    b = bench.group("enterprise")
    entry = {**FIVE_PARTS, "policy": None}  # whether it may be sent is a question of its own
    alone = {name: value for name, value in entry.items() if not name.startswith("dest")}
    assert code_of(lambda: bench.authorize(b, entry, alone)) == ""
    assert len(bench.rules(b, 2)) == 2


@pytest.mark.real_cloud(7, expected="the description is `x`; every other field, and the rule's id, are as before")
def test_modify_keeps_the_rest(bench: Bench) -> None:
    """ModifySecurityGroupRule with only Description and Priority leaves everything else unchanged."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a, "description": "w"}, {**FIVE_PARTS, "description": "w"})
    before = {rule.security_group_rule_id: rule.to_map() for rule in bench.rules(b, 2)}
    for rule_id in before:
        bench.modify(b, rule_id, description="x", priority="100")
    modified_rules = bench.until(lambda: bench.rules(b, 2), lambda rules: all(r.description == "x" for r in rules))
    after = {rule.security_group_rule_id: rule.to_map() for rule in modified_rules}
    assert after == {rule_id: {**fields, "Description": "x"} for rule_id, fields in before.items()}


@pytest.mark.real_cloud(8, expected="an error, and no rule")
def test_several_permissions_are_atomic(bench: Bench) -> None:
    """An authorize of several permissions is atomic."""
    a, b = bench.group(), bench.group()
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}, {"source_group_id": "sg-bp1selftestgone00000"}))
    count = len(bench.rules(b))
    bench.saw(f"{code or 'no error'}, then {count} rule(s)")
    assert code
    assert count == 0


@pytest.mark.real_cloud(
    9,
    expected="`InvalidGroupAuthItem.NotFound` or `InvalidParam.SecurityGroupRuleId` or `InvalidSecurityGroupRule.RuleNotExist` or `InvalidSecurityGroupRuleId.NotFound`",
)
def test_revoking_a_missing_rule(bench: Bench) -> None:
    """Revoking a rule id that no longer exists fails with one of four codes."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    rule = bench.only_rule(b).security_group_rule_id
    bench.revoke(b, rule)
    bench.until(lambda: bench.rules(b), lambda rules: not rules)
    code = code_of(lambda: bench.revoke(b, rule))
    bench.saw(code or "no error")
    assert code in GONE_CODES


@pytest.mark.real_cloud(10, expected="success and no rule: the second call was answered from memory")
def test_client_token(bench: Bench) -> None:
    """A ClientToken is remembered for some minutes at least."""
    a, b, token = bench.group(), bench.group(), f"selftest-{bench.run}"
    bench.authorize(b, {"source_group_id": a}, token=token)
    bench.revoke(b, bench.only_rule(b).security_group_rule_id)
    bench.until(lambda: bench.rules(b), lambda rules: not rules)
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}, token=token))
    count = len(bench.rules(b))
    bench.saw(f"{code or 'success'}, then {count} rule(s)")
    assert not code
    assert count == 0


@pytest.mark.real_cloud(11, expected="at most 3 seconds, for an added and for a revoked rule, ten times each")
def test_changes_are_shown_soon(bench: Bench) -> None:
    """DescribeSecurityGroupAttribute shows a change within 3 seconds."""
    a, b = bench.group(), bench.group()
    added: list[float] = []
    revoked: list[float] = []
    for _ in range(10):
        bench.authorize(b, {"source_group_id": a})
        added.append(bench.seconds_until(lambda: len(bench.shown_rules(b)) == 1))
        bench.revoke(b, *(rule.security_group_rule_id for rule in bench.shown_rules(b)))
        revoked.append(bench.seconds_until(lambda: not bench.shown_rules(b)))
    slowest = max(*added, *revoked)
    bench.saw(f"shown after at most {slowest} s", {"added": added, "revoked": revoked})
    assert slowest <= 3


@pytest.mark.real_cloud(12, Need.SECOND_VPC, expected="an error, and no rule")
def test_source_group_of_another_vpc(bench: Bench) -> None:
    """A source group of another VPC is refused."""
    # both groups are of one account
    elsewhere = next(vpc for vpc in sorted(bench.vpcs) if vpc != bench.vpc)
    a, b = bench.group(vpc_id=elsewhere), bench.group()
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}))
    count = len(bench.rules(b))
    bench.saw(f"{code or 'success'}, then {count} rule(s)")
    assert code
    assert count == 0


@pytest.mark.real_cloud(
    13,
    expected="`AuthorizedGroupRule.LimitExceed` or `AuthorizationLimitExceed` at the 21st group; for 21 ports of one group either that or success",
)
def test_quota_of_group_sources(bench: Bench) -> None:
    """At most 20 rules, or rules from at most 20 distinct groups, may have a group as source; the 21st is refused."""
    a, ports, groups, mixed = (bench.group() for _ in range(4))
    refused_port, by_ports = _fill(bench, ports, [(a, f"{port}/{port}") for port in range(1, QUOTA + 2)])
    refused_group, by_groups = _fill(bench, groups, [(bench.group(), "1/1") for _ in range(QUOTA + 1)])
    _fill(bench, mixed, [(a, f"{port}/{port}") for port in range(1, QUOTA + 1)])
    beside = code_of(lambda: bench.authorize_egress(mixed, dest_group_id=a, port_range="1/1"))
    text = (
        f"ports of one group: {by_ports} ({refused_port or 'none refused'}); distinct groups: {by_groups} "
        f"({refused_group or 'none refused'}); an egress rule beside 20: {beside or 'accepted'}"
    )
    facts = {"ports": by_ports, "groups": by_groups, "egress": beside}
    bench.saw(text, facts)
    assert refused_group in QUOTA_CODES
    assert by_groups == QUOTA
    assert refused_port in {"", *QUOTA_CODES}


def _fill(bench: Bench, group: str, sources: list[tuple[str, str]]) -> tuple[str, int]:
    """Add rules one by one until one is refused: the code of the refusal, and how many were accepted."""
    for count, (source, ports) in enumerate(sources):
        permission = {"source_group_id": source, "port_range": ports}
        code = code_of(lambda permission=permission: bench.authorize(group, permission))  # type: ignore[misc]
        if code:
            return code, count
    return "", len(sources)


@pytest.mark.real_cloud(
    14, expected="`InvalidGroupAuthParameter.OperationDenied` or `InvalidGroupParameter.OperationDenied`"
)
def test_advanced_groups_as_ends(bench: Bench) -> None:
    """An advanced group is refused with one of two codes, as source and as target of a rule with a group."""
    basic, advanced = bench.group(), bench.group("enterprise")
    target = code_of(lambda: bench.authorize(advanced, {"source_group_id": basic}))
    source = code_of(lambda: bench.authorize(basic, {"source_group_id": advanced}))
    bench.saw(f"as target {target or 'accepted'}, as source {source or 'accepted'}")
    assert {target, source} <= ADVANCED_CODES


@pytest.mark.real_cloud(55, expected="the same instant twice, such as `2026-11-25T00:00:00Z`, near the present")
def test_create_time(bench: Bench) -> None:
    """`CreateTime` is returned for each rule, in UTC, and kept by ModifySecurityGroupRule."""
    a, b = bench.group(), bench.group()
    began = bench.clock.now()
    bench.authorize(b, {"source_group_id": a})
    rule = bench.only_rule(b)
    bench.modify(b, rule.security_group_rule_id, description="x", priority="100")
    after = bench.until(lambda: bench.only_rule(b), lambda changed: changed.description == "x")
    bench.saw(f"{rule.create_time}, then {after.create_time}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(rule.create_time))
    assert abs(datetime.fromisoformat(str(rule.create_time).replace("Z", "+00:00")).timestamp() - began) < 300
    assert rule.create_time == after.create_time


@pytest.mark.real_cloud(68, expected="one rule, Drop, priority 7")
def test_drops_on_advanced_groups(bench: Bench) -> None:
    """Advanced groups accept drop rules and priorities."""
    b = bench.group("enterprise")
    assert code_of(lambda: bench.authorize(b, {**FIVE_PARTS, "policy": "drop", "priority": "7"})) == ""
    rule = bench.only_rule(b)
    assert (str(rule.policy).lower(), str(rule.priority)) == ("drop", "7")


@pytest.mark.real_cloud(73, expected="the rule is revoked")
def test_empty_parameters(bench: Bench) -> None:
    """An empty optional parameter is treated as absent."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a, "description": "x"})
    bench.only_rule(b)
    fields = {**PERMISSION, "source_group_id": a, "description": ""}
    permission = bench.models.RevokeSecurityGroupRequestPermissions(**fields)
    assert code_of(lambda: bench.sdks.ask("revoke_security_group", security_group_id=b, permissions=[permission])) == ""
    assert bench.until(lambda: bench.rules(b), lambda rules: not rules) == []


@pytest.mark.real_cloud(44, expected="a quota of at least 100 a minute for AuthorizeSecurityGroup", cleanup="none")
def test_rate_limit(bench: Bench) -> None:
    """AuthorizeSecurityGroup may be called 100 times a minute or more."""
    rates: dict[str, float] = {}
    token = ""
    while True:
        page = bench.sdks.raw(
            "quotas",
            "ListProductQuotas",
            ProductCode="ecs",
            QuotaCategory="FlowControl",
            MaxResults="100",
            **({"NextToken": token} if token else {}),
        )
        for quota in page.get("Quotas", []):
            name = f"{quota.get('QuotaName', '')} {quota.get('QuotaActionCode', '')}"
            if "SecurityGroup" in name:
                period = quota.get("Period", {})
                rates[name] = float(quota["TotalQuota"]) / _minutes(period)
        token = page.get("NextToken", "")
        if not token:
            break
    authorize = [rate for name, rate in rates.items() if "AuthorizeSecurityGroup" in name and "Egress" not in name]
    if not authorize:
        raise NotAnswered("no quota names AuthorizeSecurityGroup")
    bench.saw(f"{min(authorize):g} a minute", {"per_minute": rates})
    assert min(authorize) >= 100


def _minutes(period: dict[str, object]) -> float:
    """The minutes of a quota's period, such as `{"PeriodValue": 1, "PeriodUnit": "Minute"}`."""
    unit = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}
    return unit.get(str(period.get("PeriodUnit", "Minute")).lower(), 1.0) * float(str(period.get("PeriodValue", 1)))


@pytest.mark.real_cloud(123, expected="one rule")
def test_bare_address_is_its_mask(bench: Bench) -> None:
    """A bare source address makes the same rule as its /32."""
    b = bench.group()
    for address in ("10.0.0.7", "10.0.0.7/32"):
        bench.authorize(b, {"source_cidr_ip": address})
    cidrs = [str(rule.source_cidr_ip) for rule in bench.rules(b, 1)]
    bench.saw(f"{len(cidrs)} rule(s): {', '.join(cidrs)}")
    assert len(cidrs) == 1


@pytest.mark.real_cloud(176, expected="success, or `AuthorizationLimitExceed` at the 201st rule")
def test_rules_of_a_group(bench: Bench) -> None:
    """A group may have 200 rules; a 201st is made, or refused with `AuthorizationLimitExceed`."""
    b = bench.group()
    for start in (0, 100):
        bench.authorize(b, *({"source_cidr_ip": f"10.0.{start // 100}.{n}/32"} for n in range(100)))
    code = code_of(lambda: bench.authorize(b, {"source_cidr_ip": "10.0.2.0/32"}))
    bench.saw(f"{code or 'success'} at the 201st rule")
    assert code in ("", "AuthorizationLimitExceed")


@pytest.mark.real_cloud(143)
def test_an_address_beside_a_group_wins(bench: Bench) -> None:
    """A source address beside a source group wins, without an error, even if the group does not exist, and the owner is ignored."""
    b = bench.group()
    bench.authorize(b, {"source_cidr_ip": "10.9.0.0/16", "source_group_id": "sg-none", "source_group_owner_id": 1})
    rule = bench.only_rule(b)
    assert (rule.source_cidr_ip, rule.source_group_id, rule.source_group_owner_account) == ("10.9.0.0/16", "", "")


@pytest.mark.real_cloud(146)
def test_the_deprecated_flat_form_still_works(bench: Bench) -> None:
    """Flat fields without Permissions.N still make one rule."""
    b = bench.group()
    flat = {"ip_protocol": "udp", "port_range": "53/53", "source_cidr_ip": "10.0.0.7", "priority": "7"}
    bench.sdks.ask("authorize_security_group", security_group_id=b, **flat)
    rule = bench.only_rule(b)
    assert (rule.ip_protocol, rule.source_cidr_ip, rule.priority) == ("UDP", "10.0.0.7", 7)


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
        ({"source_cidr_ip": None, "source_group_id": "sg-none"}, "InvalidSourceGroupId.NotFound", 404),
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
@pytest.mark.real_cloud(147)
def test_an_invalid_permission_is_refused(bench: Bench, fields: dict[str, Any], code: str, status: int) -> None:
    """An invalid permission is refused with the code for its field, and writes nothing."""
    b = bench.group()
    assert refusal_of(lambda: bench.authorize(b, {**ANYWHERE, **fields})) == (code, status)
    assert bench.rules(b) == []


@pytest.mark.real_cloud(148)
def test_protocols_are_read_in_any_case_and_as_numbers(bench: Bench) -> None:
    """Protocols are read in any case and, in some regions such as cn-qingdao, as IANA numbers; an IPv6 block that ends in /0 reads back as `::/0`."""
    b, every = bench.group(), {"port_range": "-1/-1"}
    bench.authorize(
        b,
        {**every, "ip_protocol": "Icmp", "source_cidr_ip": "10.1.2.3/8"},
        {**ANYWHERE, "ip_protocol": "6"},
        {**ANYWHERE, **every, "ip_protocol": "50"},
        {**ANYWHERE, **every, "ip_protocol": "255"},
        {**every, "ip_protocol": "ALL", "ipv_6source_cidr_ip": "2001:db8::/0"},
    )
    read = {(rule.ip_protocol, rule.source_cidr_ip or rule.ipv_6source_cidr_ip) for rule in bench.rules(b, 5)}
    assert read == {*((protocol, "10.0.0.0/8") for protocol in ("ICMP", "TCP", "50", "255")), ("ALL", "::/0")}


@pytest.mark.real_cloud(149)
def test_a_vpc_has_only_the_intranet(bench: Bench) -> None:
    """In a VPC, a rule with an address for `internet` becomes one for `intranet`; with a group it is refused."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {**ANYWHERE, "nic_type": "internet"})
    assert bench.only_rule(b).nic_type == "intranet"
    refused = refusal_of(lambda: bench.authorize(b, {"source_group_id": a, "nic_type": "internet"}))
    assert refused == ("InvalidSourceGroupId.Mismatch", 403)
