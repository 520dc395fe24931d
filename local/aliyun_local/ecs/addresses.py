"""ModifyInstanceVpcAttribute: another primary address, vSwitch or VPC for an instance, which must be Stopped.

Refusals [doc ModifyInstanceVpcAttribute, 2026-01-28]. A change must be followed by a start before the next one, and so
must the creation. The order of the checks is [inferred].
"""

from __future__ import annotations

import ipaddress
from typing import Any

from msgspec.structs import replace

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs import events, interfaces
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.params import missing
from aliyun_local.ecs.state import Instance, Vpc


def modify_instance_vpc_attribute(call: Call) -> dict[str, Any]:
    """Give a Stopped instance another primary address in `VSwitchId`; with `VpcId`, in another VPC and in its
    groups."""
    params = call.params
    instance, state = call.instance(params.require("InstanceId"))
    if instance.classic:
        raise ApiError("OperationDenied", 400, "Specified operation is denied as your instance is not in VPC.")
    if state.status != "Stopped":
        message = "The current status of instance does not support this operation."
        raise ApiError("IncorrectInstanceStatus", 400, message)
    if instance.must_start:
        raise ApiError("InvalidPrivateIp.Changing", 400)
    vpc = _vpc(call, instance)
    moves = vpc.id != instance.vpc_id
    groups = _groups(call, instance, vpc) if moves else state.groups
    address = _address(params.get("PrivateIpAddress"), instance, vpc)
    private_ip = address if address and vpc.claim(address) else None if address else vpc.take(call.store.ip_pool)
    if private_ip is None and address:
        message = f'The specified private IP address "{address}" is duplicated.'
        raise ApiError("InvalidPrivateIpAddress.Duplicated", 400, message)
    if private_ip is None:
        raise ApiError("InvalidParameter.NotEnoughIpInVSwitch", 404)
    call.store.vpcs[instance.vpc_id].release(instance.private_ip)
    instance.private_ip, instance.vpc_id, instance.vswitch_id = private_ip, vpc.id, vpc.vswitch_id
    instance.must_start = True
    if moves:
        instance.states.change(call.now, lambda old: old and replace(old, groups=groups))
        call.account.join(instance, groups)
    call.store.plan(call.account.uid, events.vswitch_changed(instance, call.store.region, call.now), call.now)
    return {}


def _vpc(call: Call, instance: Instance) -> Vpc:
    """The VPC of the vSwitch: the instance's own, or the one in `VpcId`."""
    params = call.params
    vpc, vpc_id = call.vpc_of(params.require("VSwitchId")), params.get("VpcId")
    if not vpc_id and params.listed("SecurityGroupId"):
        raise ApiError("InvalidParameter.MustBeEmpty", 404)
    if vpc_id == instance.vpc_id:
        raise ApiError("InvalidParameter.AlreadyInTargetVpc", 404)
    if vpc_id and vpc.id != vpc_id:
        raise ApiError("InvalidVSwitch.NotBelongToVpc", 404)
    if not vpc_id and vpc.id != instance.vpc_id:
        raise ApiError("InvalidVSwitchId.NotFound", 404, "Specified virtual switch is not found in current VPC.")
    return vpc


def _groups(call: Call, instance: Instance, vpc: Vpc) -> tuple[str, ...]:
    """The groups in the new VPC, into which an instance may move that has one interface with one address."""
    ids = call.params.listed("SecurityGroupId")
    if not ids:
        raise missing("SecurityGroupId")
    if len(set(ids)) < len(ids):
        raise ApiError("InvalidParameter.SecurityGroupIdRepeated", 404)
    groups = [call.writable_group(group_id) for group_id in ids]
    if any(group.vpc_id != vpc.id for group in groups):
        raise ApiError("InvalidSecurityGroupVpc.NotBelongToOneVpc", 404)
    if len({group.type for group in groups}) > 1:
        raise ApiError("EnterpriseGroupLimited.MutliGroupType", 404)
    if len(groups) > call.store.quotas.groups_per_instance:
        raise ApiError("JoinedGroupLimitExceed", 404)
    if call.rules_of(ids) > call.store.quotas.rules_per_instance:
        raise ApiError("AclLimitExceed", 403)
    if instance.secondary_ips:
        raise ApiError("InvalidIp.MultiPrimaryIp", 404)
    if interfaces.attached(call, instance):
        raise ApiError("InvalidInstance.AttachedEni", 404)
    return tuple(ids)


def _address(address: str, instance: Instance, vpc: Vpc) -> str:
    """The address that is asked for, checked; empty where none is."""
    if not address:
        return ""
    try:
        inside = ipaddress.IPv4Address(address) in vpc.subnet
    except ValueError:
        raise ApiError("InvalidPrivateIpAddress.Malformed", 400) from None
    if not inside:
        raise ApiError("InvalidPrivateIpAddress.Mismatch", 400)
    if address == instance.private_ip:
        raise ApiError("InvalidPrivateIpAddress.Duplicated", 400)
    return address
