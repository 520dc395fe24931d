"""DescribeInstances: its filters, all of which an instance must match, and the shape of its answer. A filter that is
not offered is refused: the caller would take an unfiltered list for a filtered one."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import loads
from aliyun_local.core.real_api import not_offered
from aliyun_local.ecs import interfaces, tags
from aliyun_local.ecs.call import Call
from aliyun_local.ecs.paging import PAGING, page
from aliyun_local.ecs.state import Instance, InstanceState

STATUSES = ("Pending", "Running", "Starting", "Stopping", "Stopped")
_OFFERED = frozenset(
    {
        *("RegionId", "InstanceIds", "SecurityGroupId", "VpcId", "VSwitchId", "Status", "InstanceName"),
        *("PrivateIpAddresses", "InstanceNetworkType", "DryRun", *PAGING),
    }
)
"""The parameters that are offered, beside `Tag.N`."""

InstanceRow = tuple[Instance, InstanceState]


def describe_instances(call: Call) -> dict[str, Any]:
    """Instances, newest first. Unknown ids are left out; an empty list of ids lists nothing [doc]."""
    lag = call.store.read_lag
    tagged = tags.filters(call)
    matches = _filter(call)
    call.dry_run()

    def read(last: int | None) -> Iterator[InstanceRow]:
        for instance in _candidates(call, last):
            state = instance.states.at(call.now - lag.instances)
            if state and matches((instance, state)) and tags.match(tagged, instance.tags.at(call.now - lag.tags)):
                yield instance, state

    tags.check_matches(call, tagged, read)
    chosen, paging = page(call, read, lambda row: row[0].sequence, least=10, descending=True)
    return {"Instances": {"Instance": [_answer(call, *row) for row in chosen]}, **paging}


def _candidates(call: Call, last: int | None) -> Iterable[Instance]:
    """Every instance that the filters by id or by group may show, newest first, from `last` on or from an earlier
    one."""
    instances, ids, group = call.account.instances, call.params.get("InstanceIds"), call.params.get("SecurityGroupId")
    if ids:
        selected_instances = (instances[each] for each in set(loads(ids)) if each in instances)
        return sorted(selected_instances, key=instances.position, reverse=True)
    if group:
        return call.account.ever_in(group).descending(last)
    return instances.descending(last)


def no_instances(call: Call) -> dict[str, Any]:
    """The answer for a caller who may not call DescribeInstances: an empty list, no error [doc SDK 6.1.0]."""
    no_rows: list[InstanceRow] = []
    _, paging = page(call, lambda _: no_rows, lambda row: row[0].sequence)
    return {"Instances": {"Instance": no_rows}, **paging}


def _filter(call: Call) -> Callable[[InstanceRow], bool]:
    params = call.params
    for name in params.values:
        if name not in _OFFERED and not name.startswith("Tag."):
            raise not_offered("ecs", f"{name} of DescribeInstances")
    network, status = params.get("InstanceNetworkType"), params.get("Status")
    if network not in ("", "vpc", "classic"):
        raise ApiError("InvalidNetworkType.NotFound", 404)
    if status and status not in STATUSES:
        raise ApiError("InvalidStatus.NotFound", 404)
    ids = params.ids("InstanceIds", "InvalidInstanceIds.Malformed", strict=call.store.knobs.strict_ids)
    addresses = params.json_list("PrivateIpAddresses", "InvalidPrivateIpAddresses.Malformed")

    def is_requested(row: InstanceRow) -> bool:
        instance, state = row
        return (
            (ids is None or instance.id in ids)
            and network in ("", "classic" if instance.classic else "vpc")
            and status in ("", state.status)
            and params.get("SecurityGroupId") in ("", *state.groups)
            and params.get("VpcId") in ("", instance.vpc_id)
            and params.get("VSwitchId") in ("", instance.vswitch_id)
            and fnmatch.fnmatchcase(instance.name, _glob(params.get("InstanceName")))
            and (addresses is None or network == "classic" or call.shown_ip(instance) in addresses)
        )

    return is_requested


def _glob(name: str) -> str:
    """A name filter as a glob, in which only `*` is a wildcard [doc]."""
    return name.replace("[", "[[]").replace("?", "[?]") or "*"


def _answer(call: Call, instance: Instance, state: InstanceState) -> dict[str, Any]:
    address = call.shown_ip(instance)
    created = utc(instance.created)[:16] + "Z"  # to the minute [doc]
    attached = [interfaces.primary(call, instance, state), *interfaces.attached(call, instance)]
    return {  # in the order of captures: older clients of Alibaba's read EipAddress before PublicIpAddress
        "ResourceGroupId": "",
        "Memory": 8192,
        "InstanceChargeType": "PostPaid",
        "Cpu": 2,
        "OSName": "Alibaba Cloud Linux 3",
        "InstanceNetworkType": "classic" if instance.classic else "vpc",
        "InnerIpAddress": {"IpAddress": []},
        "ExpiredTime": "2099-12-31T15:59Z",
        "ImageId": instance.image_id,
        "EipAddress": {"AllocationId": "", "IpAddress": "", "InternetChargeType": ""},
        "HostName": instance.host_name,
        **tags.unless_empty(instance.tags.at(call.now - call.store.read_lag.tags)),
        "Status": state.status,
        "InstanceId": instance.id,
        "StartTime": created,
        "DeletionProtection": False,
        "SecurityGroupIds": {"SecurityGroupId": list(state.groups)},
        "VpcAttributes": {
            "PrivateIpAddress": {"IpAddress": [address] if address else []},
            "VpcId": instance.vpc_id,
            "VSwitchId": instance.vswitch_id,
            "NatIpAddress": "",
        },
        "InternetChargeType": "PayByTraffic",
        "InstanceName": instance.name,
        "InternetMaxBandwidthOut": 0,
        "SerialNumber": instance.serial_number,
        "OSType": "linux",
        "CreationTime": created,
        "Description": instance.description,
        "InstanceTypeFamily": instance.instance_type.rsplit(".", 1)[0],
        "PublicIpAddress": {"IpAddress": []},
        "NetworkInterfaces": {
            "NetworkInterface": [] if instance.classic else [interfaces.summary(call, each) for each in attached]
        },
        "DeviceAvailable": True,
        "InstanceType": instance.instance_type,
        "IoOptimized": True,
        "ZoneId": call.store.zone,
        "OperationLocks": {"LockReason": []},
        "RegionId": call.store.region,
    }
