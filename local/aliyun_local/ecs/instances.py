"""The life of an instance: create, start, stop, release, and the groups it is in."""

from __future__ import annotations

import ipaddress
from typing import Any

from msgspec.structs import replace

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs import tags
from aliyun_local.ecs.call import Call, managed_by_product
from aliyun_local.ecs.params import invalid, missing
from aliyun_local.ecs.state import Group, Instance, InstanceState, Vpc


def run_instances(call: Call) -> dict[str, Any]:
    """Create 1 to 100 instances and start them."""
    amount = call.params.integer("Amount", 1)
    if not 1 <= amount <= 100:
        raise ApiError("InvalidMaxAmount.Malformed", 400)
    if not 1 <= call.params.integer("MinAmount", 1) <= amount:
        raise ApiError("InvalidMinAmount.Malformed", 400)
    ids = [instance.id for instance in _create(call, amount)]
    for instance_id in ids:
        call.store.boot(call.account, instance_id, call.now)
    return {"InstanceIdSets": {"InstanceIdSet": ids}}


def create_instance(call: Call) -> dict[str, Any]:
    """Create one instance, which is Stopped until StartInstance."""
    (instance,) = _create(call, 1)
    instance.states.change(call.now, lambda state: state and replace(state, status="Stopped"))
    instance.must_start = True
    call.store.announce(call.account.uid, instance.id, "Stopped", call.now)
    return {"InstanceId": instance.id}


def _create(call: Call, amount: int) -> list[Instance]:
    params = call.params
    for name in ("ImageId", "InstanceType"):
        params.require(name)
    groups = requested_groups(call)
    vpc = requested_vpc(call, groups[0])
    instance_tags = tags.from_request(call)
    if len(instance_tags) > call.store.quotas.tags_per_resource:
        raise ApiError("OperationDenied.QuotaExceed", 400)
    address = params.get("PrivateIpAddress")
    if address:
        check_address(vpc, address)
        if amount > 1:
            raise ApiError("InvalidPrivateIpAddress", 400)
    call.dry_run()
    addresses = [_take(call, vpc, address) for _ in range(amount)]
    if vpc and None in addresses:
        for claimed_ip in filter(None, addresses):
            vpc.release(claimed_ip)
        message = f'The specified VSwitch "{vpc.vswitch_id}" has not enough IpAddress.'
        raise ApiError("InvalidVSwitchId.IpNotEnough", 403, message)
    created = [
        call.store.add_instance(
            call.account,
            groups,
            vpc,
            tags=instance_tags,
            private_ip=private_ip or "",
            tag_delay=call.store.tag_delay,
            ip_delay=call.store.ip_delay,
            name=params.get("InstanceName"),
            host_name=params.get("HostName"),
            description=params.get("Description"),
            image_id=params.get("ImageId"),
            instance_type=params.get("InstanceType"),
        )
        for private_ip in addresses
    ]
    for instance in created:
        call.created.append(instance.id)
        call.store.announce(call.account.uid, instance.id, "Created", call.now)
    return created


def requested_groups(call: Call) -> list[Group]:
    """The groups in SecurityGroupId or SecurityGroupIds.N, not both; all of one VPC and one type."""
    single, several = call.params.get("SecurityGroupId"), call.params.listed("SecurityGroupIds")
    if single and several:
        raise ApiError("InvalidParameter.Conflict", 400)
    ids = list(dict.fromkeys(several or [single]))
    if not all(ids):
        raise missing("SecurityGroupId")
    groups = [call.group(group_id) for group_id in ids]
    for group in groups:
        if group.managed:
            raise managed_by_product(group.id)
        if group.vpc_id != groups[0].vpc_id:
            message = "Specified security groups are not in the same VPC."
            raise ApiError("InvalidParameter.Mismatch", 400, message)
        if group.type != groups[0].type:
            raise ApiError("InvalidOperation.MultiGroupType", 400)
    if len(groups) > call.store.quotas.groups_per_instance:
        message = "Exceeding the allowed amount of security groups that an instance can be in."
        raise ApiError("JoinedGroupLimitExceed", 400, message)
    if call.rules_of(ids) > call.store.quotas.rules_per_instance:
        raise ApiError("AclLimitExceed", 403)
    return groups


def requested_vpc(call: Call, group: Group) -> Vpc | None:
    """The VPC of the vSwitch, which must be the group's; a VPC group needs a vSwitch [doc RunInstances]."""
    vswitch_id = call.params.get("VSwitchId")
    if not group.vpc_id:
        return None
    if not vswitch_id:
        raise missing("VSwitchId")
    vpc = call.vpc_of(vswitch_id)
    if vpc.id != group.vpc_id:
        raise ApiError("InvalidParameter.Mismatch", 400)
    return vpc


def check_address(vpc: Vpc | None, address: str) -> None:
    """Check that an address has valid syntax and belongs to the vSwitch."""
    try:
        inside = vpc is not None and ipaddress.IPv4Address(address) in vpc.subnet
    except ValueError:
        message = "The specified parameter PrivateIpAddress is not valid."
        raise ApiError("InvalidPrivateIpAddress.Malformed", 400, message) from None
    if not inside:
        raise ApiError("InvalidPrivateIpAddress", 400)


def _take(call: Call, vpc: Vpc | None, address: str) -> str | None:
    if vpc is None:
        return None
    if not address:
        return vpc.take(call.store.ip_pool)
    if not vpc.claim(address):
        message = "Specified private IP address is already used."
        raise ApiError("InvalidPrivateIpAddress.Duplicated", 400, message)
    return address


def start_instance(call: Call) -> dict[str, Any]:
    """Start a Stopped instance."""
    instance, state = call.instance(call.params.require("InstanceId"))
    if state.status != "Stopped":
        raise ApiError("IncorrectInstanceStatus", 403)
    call.dry_run()
    call.store.boot(call.account, instance.id, call.now)
    return {}


def stop_instance(call: Call) -> dict[str, Any]:
    """Stop a Running instance."""
    instance, state = call.instance(call.params.require("InstanceId"))
    if state.status != "Running":
        raise ApiError("IncorrectInstanceStatus", 403)
    call.dry_run()
    instance.states.change(call.now, lambda old: old and replace(old, status="Stopped"))
    for status in ("Stopping", "Stopped"):
        call.store.announce(call.account.uid, instance.id, status, call.now)
    return {}


_ATTRIBUTES = ("RegionId", "InstanceId", "InstanceName", "Description", "HostName")


def modify_instance_attribute(call: Call) -> dict[str, Any]:
    """Change name, description, host name, or all groups at once; other attributes are not offered and refused."""
    params = call.params
    instance, _ = call.instance(params.require("InstanceId"))
    for name in params.values:
        if name not in _ATTRIBUTES and not name.startswith("SecurityGroupIds."):
            raise invalid(name)
    if params.listed("SecurityGroupIds"):
        _move(call, instance)
    instance.name = params.get("InstanceName") or instance.name
    instance.description = params.get("Description") or instance.description
    instance.host_name = params.get("HostName") or instance.host_name
    return {}


def _move(call: Call, instance: Instance) -> None:
    call.settled_instance(instance.id)
    groups = requested_groups(call)
    if groups[0].vpc_id != instance.vpc_id:
        raise ApiError("InvalidInstanceId.Mismatch", 400)
    ids = tuple(group.id for group in groups)
    instance.states.change(call.now, lambda old: old and replace(old, groups=ids))
    call.account.join(instance, ids)


def delete_instance(call: Call) -> dict[str, Any]:
    """Release one instance."""
    return _delete(call, [call.params.require("InstanceId")])


def delete_instances(call: Call) -> dict[str, Any]:
    """Release 1 to 100 instances, all or none."""
    ids = call.params.listed("InstanceId")
    if not ids:
        raise missing("InstanceId")
    if len(ids) > 100:
        raise invalid("InstanceId")
    return _delete(call, list(dict.fromkeys(ids)))


def _delete(call: Call, ids: list[str]) -> dict[str, Any]:
    """Release instances; a Running one only with Force [doc]. Their addresses are free at once."""
    force = call.params.flag("Force")
    for _, state in [call.instance(instance_id) for instance_id in ids]:
        if state.status != "Stopped" and not (force and state.status == "Running"):
            raise ApiError("IncorrectInstanceStatus", 403)
    call.dry_run()
    for instance_id in ids:
        call.store.release(call.account, instance_id, call.now)
        call.store.announce(call.account.uid, instance_id, "Deleted", call.now)
    return {}


def _membership(call: Call) -> tuple[Group, Instance, InstanceState]:
    if call.params.get("NetworkInterfaceId"):
        call.interface(call.params.get("NetworkInterfaceId"))
        message = "Joining and leaving groups with a network interface is not offered by the local cloud."
        raise ApiError("NotOfferedByLocalCloud", 501, message)
    group_id, instance_id = call.params.require("SecurityGroupId"), call.params.require("InstanceId")
    group = call.writable_group(group_id)
    return group, *call.settled_instance(instance_id)


def join_security_group(call: Call) -> dict[str, Any]:
    """Add an instance to a group."""
    group, instance, state = _membership(call)
    if group.id in state.groups:
        raise ApiError("InvalidInstanceId.AlreadyExists", 403)
    if group.vpc_id != instance.vpc_id:
        raise ApiError("InvalidInstanceId.Mismatch", 400)
    if any(call.account.groups[group_id].type != group.type for group_id in state.groups):
        raise ApiError("InvalidOperation.MultiGroupType", 400)
    if len(state.groups) >= call.store.quotas.groups_per_instance:
        raise ApiError("InstanceSecurityGroupLimitExceeded", 400)
    if call.rules_of([*state.groups, group.id]) > call.store.quotas.rules_per_instance:
        raise ApiError("AclLimitExceed", 403)
    instance.states.change(call.now, lambda old: old and replace(old, groups=(*old.groups, group.id)))
    call.account.join(instance, [group.id])
    return {}


def leave_security_group(call: Call) -> dict[str, Any]:
    """Remove an instance from a group; it cannot leave its last one [doc]."""
    group, instance, state = _membership(call)
    if group.id not in state.groups:
        # a success before 2024-07-08 [doc LeaveSecurityGroup, 2025-03-12]
        raise ApiError("InvalidSecurityGroupAssociation.NotFound", 400)
    if len(state.groups) == 1:
        raise ApiError("InstanceLastSecurityGroup", 403)
    remaining_groups = tuple(group_id for group_id in state.groups if group_id != group.id)
    instance.states.change(call.now, lambda old: old and replace(old, groups=remaining_groups))
    return {}
