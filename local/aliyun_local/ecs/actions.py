"""The actions of ECS, a row each: what runs, and what the entrance and RAM must know of it.

Which actions need no RegionId [doc SDK 7.11.8]. [doc ECS "RAM authorization"] lists the actions with a resource level:
any other action is decided by statements with Resource `*` alone. Whether ECS fills in `acs:RequestTag` is not
documented: the knob `request_tags` says so, of UntagResources, which names keys without values, too: these have an
empty value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from msgspec import Struct

from aliyun_local.core.http import loaded
from aliyun_local.core.policy import Access
from aliyun_local.core.regions import REGIONS
from aliyun_local.ecs import addresses, assistant, authorize, groups, instances, interface_changes, interfaces, tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.describe_instances import describe_instances
from aliyun_local.ecs.params import Params


class Action(Struct, frozen=True):
    """One action. `names`: the kind of resource that RAM decides about, and the parameters with the ids of such
    resources."""

    run: Callable[[Call], dict[str, Any]]
    writes: bool = False
    needs_region: bool = True
    names: tuple[str, tuple[str, ...]] | None = None


def _describe_regions(call: Call) -> dict[str, Any]:
    rows = [
        {
            "RegionId": region,
            "LocalName": region,
            "RegionEndpoint": call.store.endpoint_of(region),
            "Status": "available",
        }
        for region in sorted(REGIONS)
    ]
    return {"Regions": {"Region": rows}}


_GROUP = ("securitygroup", ("SecurityGroupId",))
ACTIONS = {
    "AddTags": Action(tags.add_tags, writes=True),
    "AssignPrivateIpAddresses": Action(interface_changes.assign_private_ip_addresses, writes=True),
    "AttachNetworkInterface": Action(interface_changes.attach_network_interface, writes=True),
    "AuthorizeSecurityGroup": Action(partial(authorize.authorize, direction="ingress"), writes=True),
    "AuthorizeSecurityGroupEgress": Action(partial(authorize.authorize, direction="egress"), writes=True),
    "CreateInstance": Action(instances.create_instance, writes=True),
    "CreateNetworkInterface": Action(interface_changes.create_network_interface, writes=True),
    "CreateSecurityGroup": Action(groups.create_security_group, writes=True),
    "DeleteInstance": Action(instances.delete_instance, writes=True, needs_region=False),
    "DeleteInstances": Action(instances.delete_instances, writes=True),
    "DeleteNetworkInterface": Action(interface_changes.delete_network_interface, writes=True),
    "DeleteSecurityGroup": Action(groups.delete_security_group, writes=True),
    "DescribeInstances": Action(describe_instances, names=("instance", ("InstanceIds",))),
    "DescribeInvocationResults": Action(assistant.describe_invocation_results),
    "DescribeNetworkInterfaces": Action(interfaces.describe_network_interfaces, names=("eni", ("NetworkInterfaceId",))),
    "DescribeRegions": Action(_describe_regions, needs_region=False),
    "DescribeSecurityGroupAttribute": Action(groups.describe_security_group_attribute, names=_GROUP),
    "DescribeSecurityGroupReferences": Action(groups.describe_security_group_references, names=_GROUP),
    "DescribeSecurityGroups": Action(
        groups.describe_security_groups, names=("securitygroup", ("SecurityGroupId", "SecurityGroupIds"))
    ),
    "DescribeTags": Action(tags.describe_tags),
    "JoinSecurityGroup": Action(instances.join_security_group, writes=True, needs_region=False),
    "LeaveSecurityGroup": Action(instances.leave_security_group, writes=True, needs_region=False),
    "ListTagResources": Action(tags.list_tag_resources),
    "ModifyInstanceAttribute": Action(instances.modify_instance_attribute, writes=True, needs_region=False),
    "ModifyInstanceVpcAttribute": Action(addresses.modify_instance_vpc_attribute, writes=True, needs_region=False),
    "ModifySecurityGroupEgressRule": Action(partial(authorize.modify, direction="egress"), writes=True),
    "ModifySecurityGroupPolicy": Action(groups.modify_security_group_policy, writes=True),
    "ModifySecurityGroupRule": Action(partial(authorize.modify, direction="ingress"), writes=True),
    "RemoveTags": Action(tags.remove_tags, writes=True),
    "RevokeSecurityGroup": Action(partial(authorize.revoke, direction="ingress"), writes=True, names=_GROUP),
    "RevokeSecurityGroupEgress": Action(partial(authorize.revoke, direction="egress"), writes=True, names=_GROUP),
    "RunCommand": Action(assistant.run_command, writes=True, names=("instance", ("InstanceId",))),
    "RunInstances": Action(instances.run_instances, writes=True),
    "StartInstance": Action(instances.start_instance, writes=True, needs_region=False),
    "StopInstance": Action(instances.stop_instance, writes=True, needs_region=False),
    "TagResources": Action(tags.tag_resources, writes=True),
    "UnassignPrivateIpAddresses": Action(interface_changes.unassign_private_ip_addresses, writes=True),
    "UntagResources": Action(tags.untag_resources, writes=True),
}

_BY_TYPE = ("TagResources", "UntagResources")
_SOURCES = ("SourceCidrIp", "Ipv6SourceCidrIp")


def access(action: str, values: Mapping[str, str], region: str, account: str, *, request_tags: bool = True) -> Access:
    """What a caller of `account` asks for with this call."""
    target = ACTIONS[action].names if action in ACTIONS else None
    params, context = Params(values), {**(_tags(values) if request_tags else {}), **_sources(values)}
    if action in _BY_TYPE:
        kind, ids = params.get("ResourceType").lower(), params.listed("ResourceId")
    elif target:
        kind, names = target
        ids = [resource_id for name in names for resource_id in _ids(params, name)] or ["*"]
    else:
        return Access(f"ecs:{action}", context=context)
    return Access(
        f"ecs:{action}", [f"acs:ecs:{region}:{account}:{kind}/{resource_id}" for resource_id in ids or ["*"]], context
    )


def _ids(params: Params, name: str) -> list[str]:
    """The ids in `Name`, which may be a JSON array, and in `Name.1`, `Name.2`, …"""
    text = params.get(name)
    if not text.startswith("["):
        return [*([text] if text else []), *params.listed(name)]
    return [str(resource_id) for resource_id in loaded(text) or ()]  # the action refuses what is no JSON


def _tags(values: Mapping[str, str]) -> dict[str, list[str]]:
    params = Params(values)
    pairs = [(record.get("Key", ""), record.get("Value", "")) for record in params.records("Tag")]
    pairs += [(key, "") for key in params.listed("TagKey")]
    return {f"acs:RequestTag/{key}": [value] for key, value in pairs}


def _sources(values: Mapping[str, str]) -> dict[str, list[str]]:
    sources = [value for name, value in values.items() if name.rpartition(".")[2] in _SOURCES]
    return {"ecs:SecurityGroupSourceCidrIps": sources} if sources else {}
