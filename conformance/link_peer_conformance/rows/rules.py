"""What writing rules does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from link_peer_conformance.model import GROUPS, Need, NotAnswered, Section, Seen
from link_peer_conformance.sdks import code_of

if TYPE_CHECKING:
    from link_peer_conformance.bench import Bench

section = Section("Rules")

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


@section.row(
    1,
    assumed="A repeated authorize succeeds, adds nothing and keeps the description",
    depends="read-back after every change; markers are changed by ModifySecurityGroupRule only",
    test="*write B* twice, the second with `--Permissions.1.Description other`; *read B*",
    expected="one rule, with the first description",
)
def repeated_authorize(bench: Bench) -> Seen:
    """The same permission twice, with different descriptions."""
    a, b = bench.group(), bench.group()
    for text in ("first", "other"):
        bench.authorize(b, {"source_group_id": a, "description": text})
    found = [rule.description for rule in bench.rules(b, 1)]
    return Seen(f"{len(found)} rule(s) with description {', '.join(found)}", found == ["first"])


@section.row(
    2,
    assumed="The priority is part of a rule's identity",
    depends="a person's rule that differs only in priority counts as present",
    test="*write B* with priorities 100 and 1; *read B*",
    expected="two rules",
)
def priority_is_identity(bench: Bench) -> Seen:
    """The same permission with two priorities."""
    a, b = bench.group(), bench.group()
    for priority in ("100", "1"):
        bench.authorize(b, {"source_group_id": a, "priority": priority})
    found = sorted(str(rule.priority) for rule in bench.rules(b, 2))
    return Seen(f"{len(found)} rule(s), priorities {', '.join(found)}", found == ["1", "100"])


@section.row(
    3,
    Need.PEER,
    assumed="`SourceGroupOwnerAccount` of another account's group is returned as its uid",
    depends="the marker's id is recomputed from it",
    test="*write B* with a source group of another account (`--Permissions.1.SourceGroupOwnerId <uid>`); *read B*",
    expected="`SourceGroupOwnerAccount` is the uid",
)
def owner_of_a_peers_group(bench: Bench) -> Seen:
    """A rule whose source is the other account's marked group."""
    peer = bench.peer()
    if not peer.group:
        raise NotAnswered(f"account {peer.account} has no marked group in VPC {bench.vpc}")
    b = bench.group()
    bench.authorize(b, {"source_group_id": peer.group, "source_group_owner_id": int(peer.account)})
    owner = str(bench.only_rule(b).source_group_owner_account or "")
    return Seen(f"SourceGroupOwnerAccount is {owner!r}", owner == peer.account)


@section.row(
    4,
    assumed="SourceCidrIp and DestCidrIp, both /32, are accepted in one ingress rule without being enabled first",
    depends="every instance link; where it is refused, these are denied with ECS's code",
    test="*write B* with `--Permissions.1.SourceCidrIp 10.0.0.1/32 --Permissions.1.DestCidrIp 10.0.0.2/32` in place of the group; *read B*",
    expected="one rule; both addresses are returned with `/32` or both without: the code reads either",
)
def five_parts(bench: Bench) -> Seen:
    """A rule between two addresses."""
    b = bench.group()
    bench.authorize(b, FIVE_PARTS)
    rule = bench.only_rule(b)
    shown = (rule.source_cidr_ip, rule.dest_cidr_ip)
    bare = {"10.0.0.1": "10.0.0.1/32", "10.0.0.2": "10.0.0.2/32"}
    full = tuple(bare.get(each, each) for each in shown)
    return Seen(f"SourceCidrIp {shown[0]!r}, DestCidrIp {shown[1]!r}", full == tuple(FIVE_PARTS.values()))


@section.row(
    5,
    assumed="Rules between two addresses accept protocol ALL with `-1/-1`",
    depends="mutual instance links",
    test="#4 with `--Permissions.1.IpProtocol ALL --Permissions.1.PortRange -1/-1`",
    expected="one rule with protocol ALL",
)
def five_parts_of_all(bench: Bench) -> Seen:
    """A rule between two addresses for everything."""
    b = bench.group()
    bench.authorize(b, {**FIVE_PARTS, "ip_protocol": "ALL", "port_range": "-1/-1"})
    rule = bench.only_rule(b)
    seen = (str(rule.ip_protocol).upper(), rule.port_range, bool(rule.dest_cidr_ip))
    return Seen(f"{seen[0]} {seen[1]}, DestCidrIp {rule.dest_cidr_ip!r}", seen == ("ALL", "-1/-1", True))


@section.row(
    6,
    assumed="Advanced groups accept /32 rules with both addresses",
    depends="instance links on advanced groups",
    test="#4 on an advanced group",
    expected="one rule",
)
def five_parts_on_an_advanced_group(bench: Bench) -> Seen:
    """A rule between two addresses on an advanced group."""
    b = bench.group("enterprise")
    code = code_of(lambda: bench.authorize(b, FIVE_PARTS))
    count = 0 if code else len(bench.rules(b, 1))
    return Seen(code or f"{count} rule(s)", not code and count == 1)


@section.row(
    7,
    assumed="ModifySecurityGroupRule with only Description and Priority leaves everything else unchanged",
    depends="claims are added to and removed from markers",
    test="`aliyun ecs ModifySecurityGroupRule $R --SecurityGroupId $B --SecurityGroupRuleId sgr-… --Description x --Priority 100`; *read B*",
    expected="the description is `x`; every other field, and the rule's id, are as before",
)
def modify_keeps_the_rest(bench: Bench) -> Seen:
    """All fields of a rule before and after its description was changed, for both kinds of rules."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a, "description": "w"}, {**FIVE_PARTS, "description": "w"})
    changed: set[str] = set()
    before = {rule.security_group_rule_id: rule.to_map() for rule in bench.rules(b, 2)}
    for rule_id in before:
        bench.sdks.ask(
            "modify_security_group_rule",
            security_group_id=b,
            security_group_rule_id=rule_id,
            description="x",
            priority="100",
        )
    after = {
        rule.security_group_rule_id: rule.to_map()
        for rule in bench.until(lambda: bench.rules(b, 2), lambda rules: all(r.description == "x" for r in rules))
    }
    for rule_id, fields in before.items():
        now = after.get(rule_id, {})
        changed |= {name for name in fields.keys() | now.keys() if fields.get(name) != now.get(name)}
    same_ids = before.keys() == after.keys()
    return Seen(f"changed: {', '.join(sorted(changed)) or 'nothing'}", changed == {"Description"} and same_ids)


@section.row(
    8,
    assumed="An authorize of several permissions is atomic",
    depends="nothing, since read-back decides; only how often a repair is needed",
    test="*write B* with an invalid `--Permissions.2.…`; *read B*",
    expected="an error, and no rule",
)
def several_permissions_are_atomic(bench: Bench) -> Seen:
    """A valid permission before one with a source group that does not exist."""
    a, b = bench.group(), bench.group()
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}, {"source_group_id": "sg-bp1selftestgone00000"}))
    count = len(bench.rules(b))
    return Seen(f"{code or 'no error'}, then {count} rule(s)", bool(code) and count == 0)


@section.row(
    9,
    assumed="Revoking a rule id that no longer exists fails with one of four codes",
    depends="all four make the code read again",
    test="`aliyun ecs RevokeSecurityGroup $R --SecurityGroupId $B --SecurityGroupRuleId.1 sgr-gone`",
    expected=" or ".join(f"`{code}`" for code in sorted(GONE_CODES)),
)
def revoking_a_missing_rule(bench: Bench) -> Seen:
    """A rule is revoked twice by its id."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a})
    rule = bench.only_rule(b).security_group_rule_id
    bench.revoke(b, rule)
    bench.until(lambda: bench.rules(b), lambda rules: not rules)
    code = code_of(lambda: bench.revoke(b, rule))
    return Seen(code or "no error", code in GONE_CODES)


@section.row(
    10,
    assumed="A ClientToken is remembered for some minutes at least",
    depends="nothing: each attempt has a new one",
    test="*write B* `--ClientToken t`, revoke, *write B* `--ClientToken t`; *read B*",
    expected="success and no rule: the second call was answered from memory",
)
def client_token(bench: Bench) -> Seen:
    """The same call with the same token, after its rule was revoked."""
    a, b, token = bench.group(), bench.group(), f"selftest-{bench.run}"
    bench.authorize(b, {"source_group_id": a}, token=token)
    bench.revoke(b, bench.only_rule(b).security_group_rule_id)
    bench.until(lambda: bench.rules(b), lambda rules: not rules)
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}, token=token))
    count = len(bench.rules(b))
    return Seen(f"{code or 'success'}, then {count} rule(s)", not code and count == 0)


@section.row(
    11,
    assumed="DescribeSecurityGroupAttribute shows a change within 3 seconds",
    depends="five reads within 3 seconds before a change counts as not made",
    test="*write B*, then *read B* in a loop with timestamps",
    expected="at most 3 seconds, for an added and for a revoked rule, ten times each",
)
def changes_are_shown_soon(bench: Bench) -> Seen:
    """The time from the answer of a change until a read shows it."""
    a, b = bench.group(), bench.group()
    added: list[float | None] = []
    revoked: list[float | None] = []
    for _ in range(10):
        bench.authorize(b, {"source_group_id": a})
        added.append(bench.seconds_until(lambda: len(_now(bench, b)) == 1))
        if added[-1] is None:
            break
        bench.revoke(b, _now(bench, b)[0].security_group_rule_id)
        revoked.append(bench.seconds_until(lambda: not _now(bench, b)))
    times = [*added, *revoked]
    slowest = None if None in times else max(time for time in times if time is not None)
    text = "not shown within 30 s" if slowest is None else f"shown after at most {slowest} s"
    return Seen(text, slowest is not None and slowest <= 3, {"added": added, "revoked": revoked})


def _now(bench: Bench, group: str) -> list[Any]:
    """One read of a group's rules, without waiting for anything."""
    body = bench.sdks.ask("describe_security_group_attribute", security_group_id=group, direction="ingress")
    return list(body.permissions.permission or [])


@section.row(
    12,
    Need.SECOND_VPC,
    assumed="A source group of another VPC is refused",
    depends="denied before the call: `different-vpc`",
    test="*write B* with a source group of another VPC",
    expected="an error, and no rule",
)
def source_group_of_another_vpc(bench: Bench) -> Seen:
    """Both groups are of one account."""
    elsewhere = next(vpc for vpc in sorted(bench.vpcs) if vpc != bench.vpc)
    a, b = bench.group(vpc=elsewhere), bench.group()
    code = code_of(lambda: bench.authorize(b, {"source_group_id": a}))
    count = len(bench.rules(b))
    return Seen(f"{code or 'success'}, then {count} rule(s)", bool(code) and count == 0)


@section.row(
    13,
    assumed="At most 20 rules, or rules from at most 20 distinct groups, may have a group as source; the 21st is refused",
    depends="only a 21st distinct group is refused before the write; otherwise the API's refusal is read (`quota`)",
    test="*write B* with 21 ports, one at a time; on another group from 21 groups; on a third with 20 and an egress rule",
    expected="`AuthorizedGroupRule.LimitExceed` or `AuthorizationLimitExceed` at the 21st group; for 21 ports of one group either that or success",
)
def quota_of_group_sources(bench: Bench) -> Seen:
    """How many ports of one group, how many groups, and whether egress counts too."""
    a, ports, groups, both = (bench.group() for _ in range(4))
    refused_port, by_ports = _fill(bench, ports, [(a, f"{port}/{port}") for port in range(1, QUOTA + 2)])
    refused_group, by_groups = _fill(bench, groups, [(bench.group(), "1/1") for _ in range(QUOTA + 1)])
    _fill(bench, both, [(a, f"{port}/{port}") for port in range(1, QUOTA + 1)])
    egress = bench.models.AuthorizeSecurityGroupEgressRequestPermissions(
        ip_protocol="TCP", port_range="1/1", dest_group_id=a, nic_type="intranet", policy="accept", priority="100"
    )
    beside = code_of(
        lambda: bench.sdks.ask("authorize_security_group_egress", security_group_id=both, permissions=[egress])
    )
    text = (
        f"ports of one group: {by_ports} ({refused_port or 'none refused'}); distinct groups: {by_groups} "
        f"({refused_group or 'none refused'}); an egress rule beside 20: {beside or 'accepted'}"
    )
    facts = {"ports": by_ports, "groups": by_groups, "egress": beside}
    fits = refused_group in QUOTA_CODES and by_groups == QUOTA and refused_port in {"", *QUOTA_CODES}
    return Seen(text, fits, facts)


def _fill(bench: Bench, group: str, sources: list[tuple[str, str]]) -> tuple[str, int]:
    """Add rules one by one until one is refused: the code of the refusal, and how many were accepted."""
    for count, (source, ports) in enumerate(sources):
        permission = {"source_group_id": source, "port_range": ports}
        code = code_of(lambda permission=permission: bench.authorize(group, permission))  # type: ignore[misc]
        if code:
            return code, count
    return "", len(sources)


@section.row(
    14,
    assumed="An advanced group is refused with one of two codes, as source and as target of a rule with a group",
    depends="the two codes mean `advanced-group`; any other is denied `not-allowed`, with its code",
    test="*write B* where B, then A, is advanced",
    expected=" or ".join(f"`{code}`" for code in sorted(ADVANCED_CODES)),
)
def advanced_groups_as_ends(bench: Bench) -> Seen:
    """An advanced group as target, then as source."""
    basic, advanced = bench.group(), bench.group("enterprise")
    target = code_of(lambda: bench.authorize(advanced, {"source_group_id": basic}))
    source = code_of(lambda: bench.authorize(basic, {"source_group_id": advanced}))
    text = f"as target {target or 'accepted'}, as source {source or 'accepted'}"
    return Seen(text, {target, source} <= ADVANCED_CODES)


section.by_hand(
    15,
    why="needs keys that may delete a group of the other account",
    assumed="A group cannot be deleted while another account's rule names it",
    depends="nothing; shows whether a link prevents a peer from deleting its group",
    test="`aliyun ecs DeleteSecurityGroup $R --SecurityGroupId $A` while B's rule names it, A in another account",
    expected="`DependencyViolation`",
    cleanup=GROUPS,
)


@section.row(
    55,
    assumed="`CreateTime` is returned for each rule, in UTC, and kept by ModifySecurityGroupRule",
    depends="half of a request's mutual link is removed 30 minutes after it; without it, at once",
    test="*read B* before and after #7",
    expected="the same instant twice, such as `2026-11-25T00:00:00Z`, near the present",
)
def create_time(bench: Bench) -> Seen:
    """A rule's CreateTime before and after a change, compared with the clock."""
    from link_peer.domain.errors import BadInput
    from link_peer.domain.tags import parse_instant

    a, b = bench.group(), bench.group()
    began = bench.clock.now()
    bench.authorize(b, {"source_group_id": a})
    rule = bench.only_rule(b)
    bench.sdks.ask(
        "modify_security_group_rule",
        security_group_id=b,
        security_group_rule_id=rule.security_group_rule_id,
        description="x",
        priority="100",
    )
    after = bench.until(lambda: bench.only_rule(b), lambda changed: changed.description == "x")
    try:
        near = abs(parse_instant(str(rule.create_time)) - began) < 300
    except BadInput:
        near = False
    return Seen(f"{rule.create_time}, then {after.create_time}", near and rule.create_time == after.create_time)


@section.row(
    54,
    assumed="`InnerAccessPolicy` is returned by DescribeSecurityGroupAttribute for every basic group, and ModifySecurityGroupPolicy sets it",
    depends="`same-group` or `isolated-group`",
    test="*read B* before and after `aliyun ecs ModifySecurityGroupPolicy $R --SecurityGroupId $B --InnerAccessPolicy Drop`",
    expected="`Accept`, then `Drop`",
)
def inner_access_policy(bench: Bench) -> Seen:
    """A new group's policy, and what it is after a change."""
    b = bench.group()

    def shown() -> str:
        return str(bench.sdks.ask("describe_security_group_attribute", security_group_id=b).inner_access_policy)

    first = shown()
    bench.sdks.ask("modify_security_group_policy", security_group_id=b, inner_access_policy="Drop")
    then = bench.until(shown, lambda policy: policy != first)
    return Seen(f"{first}, then {then}", (first, then) == ("Accept", "Drop"))


@section.row(
    68,
    assumed="Advanced groups accept drop rules and priorities",
    depends="`effect` of links between advanced groups; an operator's drop on one",
    test="*write B* on an advanced group with `--Permissions.1.Policy drop --Permissions.1.Priority 7` and #4's addresses; *read B*",
    expected="one rule, Drop, priority 7",
)
def drops_on_advanced_groups(bench: Bench) -> Seen:
    """A drop rule on an advanced group."""
    b = bench.group("enterprise")
    code = code_of(lambda: bench.authorize(b, {**FIVE_PARTS, "policy": "drop", "priority": "7"}))
    if code:
        return Seen(code, False)
    rule = bench.only_rule(b)
    seen = (str(rule.policy).lower(), str(rule.priority))
    return Seen(f"{seen[0]}, priority {seen[1]}", seen == ("drop", "7"))


@section.row(
    71,
    assumed="The inner access policy of an advanced group cannot be changed",
    depends="members of an advanced group count as isolated, whatever the group says",
    test="`aliyun ecs ModifySecurityGroupPolicy $R --SecurityGroupId $B --InnerAccessPolicy Accept` on an advanced group",
    expected="an error; `InnerAccessPolicy` stays `Drop`",
)
def inner_access_of_advanced_groups(bench: Bench) -> Seen:
    """The policy of an advanced group, and the answer to changing it."""
    b = bench.group("enterprise")
    code = code_of(
        lambda: bench.sdks.ask("modify_security_group_policy", security_group_id=b, inner_access_policy="Accept")
    )
    shown = str(bench.sdks.ask("describe_security_group_attribute", security_group_id=b).inner_access_policy)
    return Seen(f"{code or 'success'}; InnerAccessPolicy {shown}", bool(code) and shown == "Drop")


@section.row(
    73,
    assumed="An empty optional parameter is treated as absent",
    depends="tools that send them (the Ansible module revokes with an empty Description) work beside link-peer",
    test="*write B*, then `aliyun ecs RevokeSecurityGroup` with the same permission and `--Permissions.1.Description ''`",
    expected="the rule is revoked",
)
def empty_parameters(bench: Bench) -> Seen:
    """A rule revoked by its content, with an empty description."""
    a, b = bench.group(), bench.group()
    bench.authorize(b, {"source_group_id": a, "description": "x"})
    bench.only_rule(b)
    permission = bench.models.RevokeSecurityGroupRequestPermissions(
        ip_protocol="TCP",
        port_range="3306/3306",
        policy="accept",
        priority="100",
        nic_type="intranet",
        source_group_id=a,
        description="",
    )
    code = code_of(lambda: bench.sdks.ask("revoke_security_group", security_group_id=b, permissions=[permission]))
    left = len(bench.until(lambda: bench.rules(b), lambda rules: not rules)) if not code else 1
    return Seen(code or f"{left} rule(s) left", not code and left == 0)


@section.row(
    44,
    assumed="AuthorizeSecurityGroup may be called 100 times a minute or more",
    depends="a call that is throttled for more than 5 s is given up, and its message is put back",
    test="`aliyun quotas ListProductQuotas --ProductCode ecs --QuotaCategory FlowControl --MaxResults 100`; or *write B* in a loop until `Throttling.User`",
    expected="a quota of at least 100 a minute for AuthorizeSecurityGroup",
    cleanup="none",
)
def rate_limit(bench: Bench) -> Seen:
    """The account's quotas of calls whose name has SecurityGroup in it."""
    found: dict[str, float] = {}
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
                found[name] = float(quota["TotalQuota"]) / _minutes(period)
        token = page.get("NextToken", "")
        if not token:
            break
    authorize = [rate for name, rate in found.items() if "AuthorizeSecurityGroup" in name and "Egress" not in name]
    if not authorize:
        raise NotAnswered("no quota names AuthorizeSecurityGroup")
    return Seen(f"{min(authorize):g} a minute", min(authorize) >= 100, {"per_minute": found})


def _minutes(period: dict[str, object]) -> float:
    """The minutes of a quota's period, such as `{"PeriodValue": 1, "PeriodUnit": "Minute"}`."""
    unit = {"second": 1 / 60, "minute": 1.0, "hour": 60.0, "day": 1440.0}
    return unit.get(str(period.get("PeriodUnit", "Minute")).lower(), 1.0) * float(str(period.get("PeriodValue", 1)))


section.by_hand(
    51,
    why="needs an instance in five groups with 200 rules each",
    assumed="The limit of 1,000 rules over all groups of a network interface is enforced by authorize with `AuthorizationLimitExceed`, and by JoinSecurityGroup",
    depends="`quota` if authorize returns `AuthorizationLimitExceed`; any other code is denied `not-allowed`",
    test="an instance in five groups with 200 rules each; *write B* on one of them",
    expected="`AuthorizationLimitExceed`",
    cleanup="release the instance, delete the groups",
)


@section.row(
    123,
    assumed="A bare source address makes the same rule as its /32",
    depends="read-back: a rule of ours is found in either spelling",
    test="*write B* with `--Permissions.1.SourceCidrIp 10.0.0.7` in place of the group, then with `10.0.0.7/32`; *read B*",
    expected="one rule",
)
def bare_address_is_its_mask(bench: Bench) -> Seen:
    """The same address without and with its mask."""
    b = bench.group()
    for address in ("10.0.0.7", "10.0.0.7/32"):
        bench.authorize(b, {"source_cidr_ip": address})
    found = [str(rule.source_cidr_ip) for rule in bench.rules(b, 1)]
    return Seen(f"{len(found)} rule(s): {', '.join(found)}", len(found) == 1)
