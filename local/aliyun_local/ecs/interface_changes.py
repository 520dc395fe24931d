"""Changes of network interfaces: create, attach, delete, and their secondary addresses.

Error codes [doc CreateNetworkInterface, AssignPrivateIpAddresses]; which one the platform chooses is partly [inferred].
Rules of secondary interfaces do not decide reachability here: packets use the primary ones (`reach`).
"""

from __future__ import annotations

from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.ecs import events, interfaces, tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.history import History
from aliyun_local.ecs.instances import check_address, requested_groups, requested_vpc
from aliyun_local.ecs.params import invalid, missing
from aliyun_local.ecs.state import Instance, Interface, Vpc, new_id

MAX_SECONDARY = 49  # secondary addresses of one interface [doc CreateNetworkInterface, 2026-04]


def create_network_interface(call: Call) -> dict[str, Any]:
    """Create a secondary interface, which is Available until it is attached."""
    params = call.params
    groups = requested_groups(call)
    vpc = requested_vpc(call, groups[0])
    if vpc is None:
        raise missing("VSwitchId")
    interface_tags = tags.from_request(call)
    private_ip = params.get("PrimaryIpAddress")
    primary = _claim(vpc, [private_ip] if private_ip else [], 0 if private_ip else 1)
    try:
        secondary = _secondary(call, vpc, required=False)
    except ApiError:
        vpc.release(primary[0])
        raise
    interface = Interface(
        id=new_id("eni"),
        account=call.account.uid,
        vpc_id=vpc.id,
        vswitch_id=vpc.vswitch_id,
        private_ip=primary[0],
        groups=tuple(group.id for group in groups),
        created=call.now,
        sequence=call.store.next_sequence(),
        tags=History(interface_tags),
        secondary_ips=secondary,
        name=params.get("NetworkInterfaceName"),
        description=params.get("Description"),
    )
    call.account.interfaces[interface.id] = interface
    call.created.append(interface.id)
    return interfaces.details(call, interface)


def delete_network_interface(call: Call) -> dict[str, Any]:
    """Delete an Available interface and release its addresses."""
    interface = call.interface(call.params.require("NetworkInterfaceId"))
    _require_available(interface)
    for address in (interface.private_ip, *interface.secondary_ips):
        call.store.vpcs[interface.vpc_id].release(address)
    del call.account.interfaces[interface.id]
    return {}


def attach_network_interface(call: Call) -> dict[str, Any]:
    """Attach an Available interface to a Running or Stopped instance of its VPC."""
    interface = call.interface(call.params.require("NetworkInterfaceId"))
    _require_available(interface)
    instance, _ = call.settled_instance(call.params.require("InstanceId"))
    if instance.vpc_id != interface.vpc_id:
        message = "The specified network interface and instance are not in the same VPC."
        raise ApiError("InvalidParameter.Mismatch", 400, message)
    interface.instance_id = instance.id
    return {}


def assign_private_ip_addresses(call: Call) -> dict[str, Any]:
    """Assign secondary addresses: those in `PrivateIpAddress.N`, or `SecondaryPrivateIpAddressCount` free ones."""
    target = _target(call)
    assigned = _secondary(call, call.store.vpcs[target.vpc_id], required=True, present=len(target.secondary_ips))
    target.secondary_ips += assigned
    chosen = {"PrivateIpAddress": assigned}
    interface_id = call.params.get("NetworkInterfaceId")
    _announce(call, target, assigned=True)
    return {"AssignedPrivateIpAddressesSet": {"NetworkInterfaceId": interface_id, "PrivateIpSet": chosen}}


def unassign_private_ip_addresses(call: Call) -> dict[str, Any]:
    """Release secondary addresses, all of the named ones or none."""
    target = _target(call)
    addresses = call.params.listed("PrivateIpAddress")
    if not addresses:
        raise missing("PrivateIpAddress")
    if not set(addresses) <= set(target.secondary_ips):
        raise ApiError("InvalidIp.IpUnassigned", 400)
    for address in addresses:
        target.secondary_ips.remove(address)
        call.store.vpcs[target.vpc_id].release(address)
    _announce(call, target, assigned=False)
    return {}


def _announce(call: Call, target: Interface | Instance, *, assigned: bool) -> None:
    interface, account = call.params.get("NetworkInterfaceId"), call.account.uid
    event = events.addresses_changed(account, call.store.region, interface, target, call.now, assigned=assigned)
    call.store.plan(account, event, call.now)


def _target(call: Call) -> Interface | Instance:
    """The holder of the interface's addresses: a secondary interface, or the instance of a primary one."""
    interface_id = call.params.require("NetworkInterfaceId")
    for instance in call.account.instances.values():
        if instance.interface_id == interface_id and instance.states.at(call.now):
            return call.settled_instance(instance.id)[0]
    return call.interface(interface_id)


def _secondary(call: Call, vpc: Vpc, *, required: bool, present: int = 0) -> list[str]:
    """Claim the secondary addresses that the call asks for, all or none."""
    addresses = call.params.listed("PrivateIpAddress")
    count = call.params.integer("SecondaryPrivateIpAddressCount", 0)
    if addresses and count:
        message = "PrivateIpAddress.N and SecondaryPrivateIpAddressCount cannot be specified at the same time."
        raise ApiError("InvalidParameter.Conflict", 400, message)
    if required and not addresses and not count:
        raise missing("PrivateIpAddress")
    if not 0 <= count <= MAX_SECONDARY:
        raise invalid("SecondaryPrivateIpAddressCount")
    if present + len(addresses) + count > MAX_SECONDARY:
        raise ApiError("InvalidOperation.Ipv4CountExceeded", 403)
    return _claim(vpc, addresses, count)


def _claim(vpc: Vpc, addresses: list[str], count: int) -> list[str]:
    """Claim these addresses and `count` free ones, all or none."""
    if len(set(addresses)) < len(addresses):
        raise ApiError("InvalidIp.IpRepeated", 400)
    for address in addresses:
        check_address(vpc, address)
    claimed: list[str] = []
    for address in [*addresses, *[""] * count]:
        if address:
            private_ip = address if vpc.claim(address) else None
            problem = ApiError("InvalidIp.IpAssigned", 400)
        else:
            private_ip = vpc.take()
            message = f'The specified VSwitch "{vpc.vswitch_id}" has not enough IpAddress.'
            problem = ApiError("InvalidVSwitchId.IpNotEnough", 403, message)
        if private_ip is None:
            for earlier in claimed:
                vpc.release(earlier)
            raise problem
        claimed.append(private_ip)
    return claimed


def _require_available(interface: Interface) -> None:
    if interface.status != "Available":
        raise ApiError("InvalidOperation.InvalidEniState", 403)
