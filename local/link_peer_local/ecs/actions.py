"""The actions of ECS: which exist, which of them write, and which need no RegionId."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from link_peer_deploy.regions import REGIONS

from link_peer_local.ecs import assistant, authorize, groups, instances, interface_changes, interfaces, older_tags, tags
from link_peer_local.ecs.call import Call
from link_peer_local.ecs.describe_instances import describe_instance_status, describe_instances

READS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "DescribeInstanceStatus": describe_instance_status,
    "DescribeInstances": describe_instances,
    "DescribeInvocationResults": assistant.describe_invocation_results,
    "DescribeNetworkInterfaces": interfaces.describe_network_interfaces,
    "DescribeRegions": lambda _call: {"Regions": {"Region": [_region(name) for name in sorted(REGIONS)]}},
    "DescribeSecurityGroupAttribute": groups.describe_security_group_attribute,
    "DescribeSecurityGroupReferences": groups.describe_security_group_references,
    "DescribeSecurityGroups": groups.describe_security_groups,
    "DescribeTags": older_tags.describe_tags,
    "ListTagResources": tags.list_tag_resources,
}

WRITES: dict[str, Callable[[Call], dict[str, Any]]] = {
    "AddTags": older_tags.add_tags,
    "AssignPrivateIpAddresses": interface_changes.assign_private_ip_addresses,
    "AttachNetworkInterface": interface_changes.attach_network_interface,
    "AuthorizeSecurityGroup": authorize.authorize_security_group,
    "AuthorizeSecurityGroupEgress": authorize.authorize_security_group_egress,
    "CreateInstance": instances.create_instance,
    "CreateNetworkInterface": interface_changes.create_network_interface,
    "CreateSecurityGroup": groups.create_security_group,
    "DeleteInstance": instances.delete_instance,
    "DeleteInstances": instances.delete_instances,
    "DeleteNetworkInterface": interface_changes.delete_network_interface,
    "DeleteSecurityGroup": groups.delete_security_group,
    "DetachNetworkInterface": interface_changes.detach_network_interface,
    "JoinSecurityGroup": instances.join_security_group,
    "LeaveSecurityGroup": instances.leave_security_group,
    "ModifyInstanceAttribute": instances.modify_instance_attribute,
    "ModifySecurityGroupAttribute": groups.modify_security_group_attribute,
    "ModifySecurityGroupPolicy": groups.modify_security_group_policy,
    "ModifySecurityGroupRule": authorize.modify_security_group_rule,
    "RebootInstance": instances.reboot_instance,
    "RemoveTags": older_tags.remove_tags,
    "RevokeSecurityGroup": authorize.revoke_security_group,
    "RevokeSecurityGroupEgress": authorize.revoke_security_group_egress,
    "RunCommand": assistant.run_command,
    "RunInstances": instances.run_instances,
    "StartInstance": instances.start_instance,
    "StopInstance": instances.stop_instance,
    "TagResources": tags.tag_resources,
    "UnassignPrivateIpAddresses": interface_changes.unassign_private_ip_addresses,
    "UntagResources": tags.untag_resources,
}

ACTIONS = {**READS, **WRITES}

REGIONLESS = frozenset(
    {
        "DeleteInstance",
        "DescribeRegions",
        "JoinSecurityGroup",
        "LeaveSecurityGroup",
        "ModifyInstanceAttribute",
        "RebootInstance",
        "StartInstance",
        "StopInstance",
    }
)
"""Actions whose RegionId is optional or does not exist [doc SDK 7.11.8]."""


def _region(region: str) -> dict[str, str]:
    return {
        "RegionId": region,
        "LocalName": region,
        "RegionEndpoint": f"ecs.{region}.aliyuncs.com",
        "Status": "available",
    }
