"""Security groups: create, delete, describe, and which groups' rules name which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.ecs import tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.paging import page, tokens
from aliyun_local.ecs.params import invalid, missing
from aliyun_local.ecs.rules import ends
from aliyun_local.ecs.state import Group, Rule


def create_security_group(call: Call) -> dict[str, Any]:
    """Create a group; without VpcId in the account's own VPC."""
    params = call.params
    kind = params.get("SecurityGroupType", "normal")
    if kind not in ("normal", "enterprise"):
        raise invalid("SecurityGroupType")
    name, description = params.get("SecurityGroupName"), params.get("Description")
    if name and (not 2 <= len(name) <= 128 or name.startswith(("http://", "https://"))):
        raise ApiError("InvalidSecurityGroupName.Malformed", 400)
    if description and (not 2 <= len(description) <= 256 or description.startswith(("http://", "https://"))):
        raise ApiError("InvalidDescription.Malformed", 400)
    if len(call.account.groups) >= call.store.quotas.groups:
        raise ApiError("QuotaExceed.SecurityGroup", 403)
    group_tags = tags.from_request(call)
    vpc_id = _vpc_id(call)
    group = call.store.create_group(call.account.uid, vpc_id, name, kind, tags=group_tags, description=description)
    call.created.append(group.id)
    return {"SecurityGroupId": group.id}


def modify_security_group_policy(call: Call) -> dict[str, Any]:
    """Set whether members of a basic group may reach each other [doc 57315]. The error codes are [inferred]."""
    group = call.writable_group(call.params.require("SecurityGroupId"))
    policy = call.params.require("InnerAccessPolicy").capitalize()
    if policy not in ("Accept", "Drop"):
        raise ApiError("InvalidPolicy.Malformed", 400)
    if group.type == "enterprise":
        message = "The inner access policy of enterprise level security groups is not allowed to be modified."
        raise ApiError("InvalidGroupParameter.OperationDenied", 400, message)
    group.inner_access = policy
    return {}


def _vpc_id(call: Call) -> str:
    vpc_id = call.params.get("VpcId")
    if vpc_id:
        vpc = call.store.vpcs.get(vpc_id)
        if vpc is None or not vpc.usable_by(call.account.uid):
            raise ApiError("InvalidVpcId.NotFound", 404, "Specified VPC does not exist.")
        return vpc_id
    default = call.store.default_vpc(call.account.uid)
    if default is None:
        raise ApiError("InvalidVpcId.NotFound", 403)
    return default.id


def delete_security_group(call: Call) -> dict[str, Any]:
    """Delete a group; refused while an instance or network interface is in it, or a rule of another group names it.

    The other group may belong to any account [doc].
    """
    group = call.writable_group(call.params.require("SecurityGroupId"))
    instances = (instance.states.at(call.now) for instance in call.account.ever_in(group.id).values())
    used = any(state is not None and group.id in state.groups for state in instances)
    if used or any(group.id in interface.groups for interface in call.account.interfaces.values()):
        raise ApiError("DependencyViolation", 403)
    if call.store.referencing(group.id, call.now):
        message = "The specified security group has been authorized in another one."
        raise ApiError("DependencyViolation", 403, message)
    del call.account.groups[group.id]
    return {}


def describe_security_groups(call: Call) -> dict[str, Any]:
    """Groups in descending order of their ids [doc]; unknown ids are left out, unless `strict_ids`."""
    params = call.params
    ids = params.ids("SecurityGroupIds", "InvalidSecurityGroupId.Malformed", strict=call.store.knobs.strict_ids)
    if call.store.knobs.strict_ids and not set(ids or ()) <= call.account.groups.keys():
        raise ApiError("InvalidSecurityGroupId.NotFound", 404)
    if not call.store.knobs.page_numbers and ("PageNumber" in params or "PageSize" in params):
        raise ApiError("NotSupported.PageNumberAndPageSize", 400)
    kind, network = params.get("SecurityGroupType"), params.get("NetworkType")
    if kind not in ("", "normal", "enterprise"):
        raise ApiError("InvalidParameter.SecurityGroupType", 400)
    if network not in ("", "vpc", "classic"):
        raise invalid("NetworkType")
    managed = params.flag("ServiceManaged") if params.get("ServiceManaged") else None
    tagged = tags.filters(call)
    call.dry_run()
    snapshot_time = call.now - call.store.read_lag.tags

    def read(last: str | None) -> Iterator[Group]:
        return (
            group
            for group in _candidates(call, ids, last)
            if params.get("SecurityGroupId") in ("", group.id)
            and params.get("VpcId") in ("", group.vpc_id)
            and params.get("SecurityGroupName") in ("", group.name)
            and not params.get("ResourceGroupId")  # no group here is in one
            and kind in ("", group.type)
            and network in ("", "vpc" if group.vpc_id else "classic")
            and managed in (None, group.managed)
            and tags.match(tagged, group.tags.at(snapshot_time))
        )

    tags.check_matches(call, tagged, read)
    chosen, paging = page(call, read, lambda group: group.id, most_by_number=50, descending=True)
    listed = [_summary(call, group) for group in chosen]
    return {"RegionId": call.store.region, "SecurityGroups": {"SecurityGroup": listed}, **paging}


def _candidates(call: Call, ids: list[str] | None, last: str | None) -> Iterable[Group]:
    groups = call.account.groups
    if ids is None:
        return groups.descending(last)
    return [groups[each] for each in sorted(set(ids), reverse=True) if each in groups]


def _summary(call: Call, group: Group) -> dict[str, Any]:
    lag = call.store.read_lag
    rules = group.rules.at(call.now - lag.rules)
    return {
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "Description": group.description,
        "SecurityGroupType": group.type,
        "VpcId": group.vpc_id,
        "CreationTime": utc(group.created),
        "ServiceManaged": group.managed,
        "ServiceID": 1 if group.managed else 0,
        "ResourceGroupId": "",
        **_rule_count(rules, call.store.knobs.rule_count),
        "GroupToGroupRuleCount": sum(bool(rule.peer_group) for rule in rules),
        "Tags": tags.as_answer(group.tags.at(call.now - lag.tags)),
    }


def _rule_count(rules: Iterable[Rule], counted: str) -> dict[str, int]:
    """`RuleCount` by the knob `rule_count`."""
    if counted == "absent":
        return {}
    directions = {"both": ("ingress", "egress"), "ingress": ("ingress",), "zero": ()}[counted]
    return {"RuleCount": sum(rule.direction in directions for rule in rules)}


def describe_security_group_attribute(call: Call) -> dict[str, Any]:
    """A group's rules, 500 a page by default. The group's type is not in the answer [doc]."""
    params = call.params
    group = call.group(params.require("SecurityGroupId"))
    direction = params.get("Direction") or call.store.knobs.no_direction
    if direction not in ("ingress", "egress", "all"):
        raise invalid("Direction")
    nic_type = params.get("NicType") or "internet"
    if nic_type not in ("internet", "intranet"):
        raise ApiError("InvalidNicType.ValueNotSupported", 400)
    if group.vpc_id:
        nic_type = "intranet"
    rules = [
        rule
        for rule in group.rules.at(call.now - call.store.read_lag.rules)
        if direction in ("all", rule.direction) and rule.nic_type == nic_type
    ]
    chosen, token = tokens(call, lambda _: rules, lambda rule: rule.sequence, default=500, least=10, most=1000)
    return {
        "RegionId": call.store.region,
        "SecurityGroupId": group.id,
        "SecurityGroupName": group.name,
        "Description": group.description,
        "VpcId": group.vpc_id,
        "InnerAccessPolicy": group.inner_access,
        "NextToken": token,
        "Permissions": {"Permission": [_permission(call, rule) for rule in chosen]},
    }


def _permission(call: Call, rule: Rule) -> dict[str, Any]:
    """One rule as read, in the order of captures. Priority is a number, though the SDK types it as a string.

    The owner of another account's group is a uid, and that group's name is not shown [capture].
    """
    peer, own_end = ends(rule.direction)
    foreign = rule.peer_owner != call.account.uid
    peer_group = None if foreign else call.account.groups.get(rule.peer_group)
    fields = {
        f"{peer}GroupId": rule.peer_group,
        f"{peer}GroupName": peer_group.name if peer_group else "",
        f"{peer}GroupOwnerAccount": rule.peer_owner if foreign or call.store.knobs.own_source_owner == "uid" else "",
        f"{peer}CidrIp": _shown_block(call, rule.peer_cidr),
        f"Ipv6{peer}CidrIp": rule.peer_ipv6,
        f"{own_end}CidrIp": _shown_block(call, rule.own_cidr),
        f"Ipv6{own_end}CidrIp": rule.own_ipv6,
        "SecurityGroupRuleId": rule.id,
        "Direction": rule.direction,
        "IpProtocol": rule.protocol,
        "PortRange": rule.port_range,
        "SourcePortRange": rule.source_port_range,
        "NicType": rule.nic_type,
        "Policy": rule.policy,
        "Priority": rule.priority,
        "Description": rule.description,
        "CreateTime": utc(rule.created),
    }
    return {name: fields.get(name, "") for name in _PERMISSION}


_PERMISSION = [
    "SourceGroupId",
    "Policy",
    "Description",
    "SourcePortRange",
    "Priority",
    "CreateTime",
    "DestPrefixListName",
    "Ipv6SourceCidrIp",
    "NicType",
    "DestGroupId",
    "Direction",
    "SourceGroupName",
    "PortRange",
    "DestGroupOwnerAccount",
    "DestPrefixListId",
    "SourceCidrIp",
    "SourcePrefixListName",
    "IpProtocol",
    "DestCidrIp",
    "DestGroupName",
    "SecurityGroupRuleId",
    "Ipv6DestCidrIp",
    "SourceGroupOwnerAccount",
    "SourcePrefixListId",
    "PortRangeListId",
    "PortRangeListName",
]


def _shown_block(call: Call, cidr: str) -> str:
    return cidr.removesuffix("/32") if call.store.knobs.host_mask == "dropped" else cidr


def describe_security_group_references(call: Call) -> dict[str, Any]:
    """The groups whose rules, ingress or egress, name the caller's groups; those of other accounts included [doc].

    Rules whose source is an address are not shown. An answer ends at 100 entries, and nothing says that there are more.
    Groups that no rule names are left out [inferred].
    """
    ids = call.params.listed("SecurityGroupId")
    if not ids:
        raise missing("SecurityGroupId")
    if len(ids) > 10:
        raise invalid("SecurityGroupId")
    references, remaining_entries = [], call.store.quotas.references
    for group in [call.group(group_id) for group_id in ids]:
        referencing = call.store.referencing(group.id, call.now - call.store.read_lag.rules)[:remaining_entries]
        remaining_entries -= len(referencing)
        if referencing:
            entries = [{"AliUid": referrer.account, "SecurityGroupId": referrer.id} for referrer in referencing]
            references.append(
                {"SecurityGroupId": group.id, "ReferencingSecurityGroups": {"ReferencingSecurityGroup": entries}}
            )
    return {"SecurityGroupReferences": {"SecurityGroupReference": references}}
