"""The `aliyun` CLI commands that make the same changes, for people to read or to run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from link_peer.domain.model import PRIORITY, RuleKey

Parameters = Iterable[tuple[str, str]]


def authorize(
    region: str, account: str, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False
) -> str:
    """Return the command that adds rules of one direction, each with its Description."""
    parameters = [("SecurityGroupId", group)]
    egress = any(key.is_egress for key, _ in rules)
    for number, (key, description) in enumerate(rules, 1):
        fields = [
            ("IpProtocol", key.port.protocol.upper()),
            ("PortRange", key.port.range),
            *_source(key, account),
            ("NicType", "intranet"),
            *([] if egress or advanced else [("Policy", "accept")]),
            ("Priority", str(PRIORITY)),
            ("Description", description),
        ]
        parameters += [(f"Permissions.{number}.{name}", value) for name, value in fields]
    return ecs_call("AuthorizeSecurityGroupEgress" if egress else "AuthorizeSecurityGroup", region, parameters)


def modify(
    region: str, group: str, rule_id: str, description: str, *, priority: int = PRIORITY, egress: bool = False
) -> str:
    """Return the command that sets a rule's Description and its priority, which is ours unless another is given."""
    parameters = [("SecurityGroupId", group), ("SecurityGroupRuleId", rule_id)]
    action = "ModifySecurityGroupEgressRule" if egress else "ModifySecurityGroupRule"
    return ecs_call(action, region, [*parameters, ("Priority", str(priority)), ("Description", description)])


def revoke(region: str, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
    """Return the command that removes rules by their ids."""
    ids = [(f"SecurityGroupRuleId.{number}", rule_id) for number, rule_id in enumerate(rule_ids, 1)]
    action = "RevokeSecurityGroupEgress" if egress else "RevokeSecurityGroup"
    return ecs_call(action, region, [("SecurityGroupId", group), *ids])


def tag(region: str, groups: Sequence[str], names: Sequence[str]) -> str:
    """Return the command that sets tags of security groups to `true`."""
    return set_tags(region, groups, dict.fromkeys(names, "true"))


def set_tags(region: str, groups: Sequence[str], tags: Mapping[str, str]) -> str:
    """Return the command that sets tags of security groups, or of instances."""
    tag_parameters = [
        pair
        for n, (name, value) in enumerate(tags.items(), start=1)
        for pair in ((f"Tag.{n}.Key", name), (f"Tag.{n}.Value", value))
    ]
    return ecs_call("TagResources", region, [*_groups(groups), *tag_parameters])


def untag(region: str, groups: Sequence[str], names: Sequence[str]) -> str:
    """Return the command that removes tags of security groups."""
    keys = [(f"TagKey.{number}", name) for number, name in enumerate(names, start=1)]
    return ecs_call("UntagResources", region, [*_groups(groups), *keys])


def resource_type(ids: Sequence[str]) -> str:
    """What TagResources calls the kind of these resources, all of one kind."""
    return "securitygroup" if ids[0].startswith("sg-") else "instance"


def _groups(groups: Sequence[str]) -> list[tuple[str, str]]:
    resource_ids = [(f"ResourceId.{number}", group) for number, group in enumerate(groups, start=1)]
    return [("ResourceType", resource_type(groups)), *resource_ids]


def _source(key: RuleKey, account: str) -> list[tuple[str, str]]:
    if key.by_address:
        return [(name, cidr) for name, cidr in (("SourceCidrIp", key.source), ("DestCidrIp", key.dest)) if cidr]
    source, _, owner = key.source.partition("@")
    return [("SourceGroupId", source), *([("SourceGroupOwnerId", owner)] if owner != account else [])]


def may_assume(principal: str, role: str) -> str:
    """Return the command that lets a RAM user or role (its ARN) assume another role, which trusts the account."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role}
    document = json.dumps({"Version": "1", "Statement": [statement]}, separators=(",", ":"))
    kind, _, name = principal.rpartition(":")[2].partition("/")
    policy = ["--PolicyName", f"assume-{role.rpartition('/')[2]}"]
    attach = ["--PolicyType", "Custom", *policy, f"--{kind.title()}Name", name]
    return " && ".join(
        shlex.join(["aliyun", "ram", *words])
        for words in (
            ["CreatePolicy", *policy, "--PolicyDocument", document],
            [f"AttachPolicyTo{kind.title()}", *attach],
        )
    )


def ecs_call(action: str, region: str, parameters: Parameters) -> str:
    """Return a call of ECS as a command."""
    words = ["aliyun", "ecs", action, "--RegionId", region]
    for name, value in parameters:
        words += [f"--{name}", value]
    return shlex.join(words)
