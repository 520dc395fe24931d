"""Network interfaces: each instance in a VPC has a primary one; there are no others."""

from __future__ import annotations

from typing import Any

from link_peer_local.core.clock import utc
from link_peer_local.ecs.call import Call
from link_peer_local.ecs.describe_instances import shown_ip
from link_peer_local.ecs.paging import page
from link_peer_local.ecs.params import invalid
from link_peer_local.ecs.state import Instance, InstanceState

_NOBODY = ("NetworkInterfaceName", "ResourceGroupId", "SecurityGroupId")
"""Filters by properties that no interface here has. SecurityGroupId finds secondary ones only [doc SDK 7.11.8]."""


def describe_network_interfaces(call: Call) -> dict[str, Any]:
    """Interfaces, newest first; unknown ids are left out."""
    params = call.params
    if params.get("Type") not in ("", "Primary", "Secondary"):
        raise invalid("Type")
    ids, addresses = params.listed("NetworkInterfaceId"), params.listed("PrivateIpAddress")
    if len(ids) > 100:
        raise invalid("NetworkInterfaceId")
    nobody = any(map(params.get, _NOBODY)) or params.listed("Ipv6Address") or params.records("Tag")
    found = []
    for instance in sorted(call.account.instances.values(), key=lambda instance: instance.sequence, reverse=True):
        state = instance.states.at(call.now - call.store.read_lag.instances)
        address = shown_ip(call, instance)
        if (
            state
            and not instance.classic
            and not nobody
            and (not ids or instance.interface_id in ids)
            and (not addresses or address in addresses)
            and params.get("PrimaryIpAddress") in ("", address)
            and params.get("InstanceId") in ("", instance.id)
            and params.get("VpcId") in ("", instance.vpc_id)
            and params.get("VSwitchId") in ("", instance.vswitch_id)
            and params.get("Type") in ("", "Primary")
            and params.get("Status") in ("", "InUse")
            and not params.flag("ServiceManaged")
        ):
            found.append((instance, state))
    chosen, paging = page(
        call, found, lambda seen: seen[0].sequence, least=10, most=500, most_by_number=500, descending=True
    )
    return {"NetworkInterfaceSets": {"NetworkInterfaceSet": [_answer(call, *seen) for seen in chosen]}, **paging}


def _answer(call: Call, instance: Instance, state: InstanceState) -> dict[str, Any]:
    address = shown_ip(call, instance)
    return {
        "NetworkInterfaceId": instance.interface_id,
        "NetworkInterfaceName": "",
        "Description": "",
        "Type": "Primary",
        "Status": "InUse",
        "InstanceId": instance.id,
        "OwnerId": instance.account,
        "VpcId": instance.vpc_id,
        "VSwitchId": instance.vswitch_id,
        "ZoneId": call.store.zone,
        "PrivateIpAddress": address,
        "PrivateIpSets": {"PrivateIpSet": [{"PrivateIpAddress": address, "Primary": True}] if address else []},
        "SecurityGroupIds": {"SecurityGroupId": list(state.groups)},
        "CreationTime": utc(instance.created),
        "ServiceManaged": False,
        "ResourceGroupId": "",
        "Tags": {"Tag": []},
    }
