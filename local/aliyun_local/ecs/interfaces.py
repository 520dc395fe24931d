"""Network interfaces as they are read: an instance in a VPC has a primary one, and may have secondary ones."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.ecs import tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.history import History
from aliyun_local.ecs.paging import page
from aliyun_local.ecs.params import invalid
from aliyun_local.ecs.state import Instance, InstanceState, Interface


def primary(call: Call, instance: Instance, state: InstanceState) -> Interface:
    """The primary interface of an instance: it has the instance's groups, but none of its tags."""
    return Interface(
        id=instance.interface_id,
        account=instance.account,
        vpc_id=instance.vpc_id,
        vswitch_id=instance.vswitch_id,
        private_ip=call.shown_ip(instance),
        groups=state.groups,
        created=instance.created,
        sequence=instance.sequence,
        tags=History[dict[str, str]]({}),
        secondary_ips=instance.secondary_ips,
        ipv6=instance.ipv6,
        instance_id=instance.id,
    )


def attached(call: Call, instance: Instance) -> list[Interface]:
    """The secondary interfaces of an instance."""
    return [each for each in call.account.interfaces.values() if each.instance_id == instance.id]


def kind_of(call: Call, interface: Interface) -> str:
    """Primary or Secondary."""
    return "Secondary" if interface.id in call.account.interfaces else "Primary"


def address_sets(interface: Interface) -> dict[str, Any]:
    """Every address, the primary one first, as the API shows them."""
    addresses = [(interface.private_ip, True), *((address, False) for address in interface.secondary_ips)]
    return {
        "PrivateIpSet": [{"PrivateIpAddress": address, "Primary": first} for address, first in addresses if address]
    }


def summary(call: Call, interface: Interface) -> dict[str, Any]:
    """The interface as DescribeInstances shows it."""
    return {
        "NetworkInterfaceId": interface.id,
        "Type": kind_of(call, interface),
        "PrimaryIpAddress": interface.private_ip,
        "PrivateIpSets": address_sets(interface),
    }


def details(call: Call, interface: Interface) -> dict[str, Any]:
    """The interface as DescribeNetworkInterfaces and CreateNetworkInterface show it."""
    return {
        "NetworkInterfaceId": interface.id,
        "NetworkInterfaceName": interface.name,
        "Description": interface.description,
        "Type": kind_of(call, interface),
        "Status": interface.status,
        "InstanceId": interface.instance_id,
        "OwnerId": interface.account,
        "VpcId": interface.vpc_id,
        "VSwitchId": interface.vswitch_id,
        "ZoneId": call.store.zone,
        "PrivateIpAddress": interface.private_ip,
        "PrivateIpSets": address_sets(interface),
        **_ipv6_sets(interface),
        "SecurityGroupIds": {"SecurityGroupId": list(interface.groups)},
        "CreationTime": utc(interface.created),
        "ServiceManaged": False,
        "ResourceGroupId": "",
        "Tags": tags.as_answer(interface.tags.at(call.now - call.store.read_lag.tags)),
    }


def _ipv6_sets(interface: Interface) -> dict[str, Any]:
    return {"Ipv6Sets": {"Ipv6Set": [{"Ipv6Address": address} for address in interface.ipv6]}} if interface.ipv6 else {}


def describe_network_interfaces(call: Call) -> dict[str, Any]:
    """Interfaces of both types, newest first; unknown ids are left out."""
    matches = _filter(call)

    def read(last: int | None) -> Iterator[Interface]:
        streams = (_primaries(call, last), call.account.interfaces.descending(last))
        return filter(matches, heapq.merge(*streams, key=lambda each: each.sequence, reverse=True))

    chosen, paging = page(
        call, read, lambda each: each.sequence, least=10, most=500, most_by_number=500, descending=True
    )
    return {"NetworkInterfaceSets": {"NetworkInterfaceSet": [details(call, each) for each in chosen]}, **paging}


def _primaries(call: Call, last: int | None) -> Iterator[Interface]:
    """The primary interfaces that the filters by instance and by address may show, newest first."""
    instance_id, addresses = call.params.get("InstanceId"), set(call.params.listed("PrivateIpAddress"))
    for instance in call.account.instances.descending(last):
        if instance_id and instance.id != instance_id:
            continue
        if addresses and addresses.isdisjoint(_found_by(call, instance.private_ip, instance.secondary_ips)):
            continue
        state = instance.states.at(call.now - call.store.read_lag.instances)
        if state and not instance.classic:
            yield primary(call, instance, state)


def _filter(call: Call) -> Callable[[Interface], bool]:
    """All filters combined."""
    params = call.params
    if params.get("Type") not in ("", "Primary", "Secondary"):
        raise invalid("Type")
    ids, addresses = params.listed("NetworkInterfaceId"), params.listed("PrivateIpAddress")
    if len(ids) > 100:
        raise invalid("NetworkInterfaceId")
    tagged, snapshot_time = tags.filters(call), call.now - call.store.read_lag.tags
    if params.get("ResourceGroupId") or params.listed("Ipv6Address") or params.flag("ServiceManaged"):
        return lambda _interface: False  # no interface here has any of these

    def is_requested(interface: Interface) -> bool:
        kind = kind_of(call, interface)
        return (
            (not ids or interface.id in ids)
            and (
                not addresses
                or not _found_by(call, interface.private_ip, interface.secondary_ips).isdisjoint(addresses)
            )
            and params.get("PrimaryIpAddress") in ("", interface.private_ip)
            and params.get("InstanceId") in ("", interface.instance_id)
            and params.get("VpcId") in ("", interface.vpc_id)
            and params.get("VSwitchId") in ("", interface.vswitch_id)
            and params.get("NetworkInterfaceName") in ("", interface.name)
            and params.get("Type") in ("", kind)
            and params.get("Status") in ("", interface.status)
            # the group filter finds secondary interfaces only; DescribeInstances finds primary ones [doc SDK 7.11.8]
            and (
                not params.get("SecurityGroupId")
                or (kind == "Secondary" and params.get("SecurityGroupId") in interface.groups)
            )
            and tags.match(tagged, interface.tags.at(snapshot_time))
        )

    return is_requested


def _found_by(call: Call, first: str, secondary_ips: Iterable[str]) -> set[str]:
    """The addresses of an interface that `PrivateIpAddress.N` finds."""
    return {*secondary_ips} if call.store.knobs.interface_address == "secondary" else {first, *secondary_ips}
