"""The events of ECS: changes of states and addresses, and through ActionTrail every write call, refused ones
included."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.identity import Caller
from aliyun_local.core.principals import Role, User
from aliyun_local.ecs.state import Instance, Interface

CHINA = timezone(timedelta(hours=8))

REFERENCED = {"i": "ACS::ECS::Instance", "sg": "ACS::ECS::SecurityGroup", "eni": "ACS::ECS::NetworkInterface"}


def _envelope(kind: str, account: str, region: str, resource: str, when: float, data: dict[str, Any]) -> dict[str, Any]:
    """The CloudEvent as the bus `default` delivers it [doc ecs/user-guide/subscribe-to-cloud-assistant-events]."""
    return {
        "id": str(uuid.uuid4()),
        "source": "acs.ecs",
        "specversion": "1.0",
        "type": kind,
        "datacontenttype": "application/json;charset=utf-8",
        "subject": f"acs.ecs:{region}:{account}:{resource}",
        "time": datetime.fromtimestamp(when, CHINA).isoformat(timespec="seconds"),
        "aliyunaccountid": account,
        "aliyunpublishtime": utc(when),
        "aliyuneventbusname": "default",
        "aliyunregionid": region,
        "aliyunpublishaddr": "172.25.0.1",
        "data": data,
    }


def state_change(
    account: str, region: str, instance: str, state: str, when: float, *, nested: bool = False
) -> dict[str, Any]:
    """`ecs:Instance:StateChange`; `nested` puts its content in `data.content`. It carries no tags, so consumers must
    call DescribeInstances."""
    content = {"resourceId": instance, "resourceType": "ALIYUN::ECS::Instance", "state": state}
    data: dict[str, Any] = {"content": content} if nested else content
    return _envelope("ecs:Instance:StateChange", account, region, instance, when, data)


def vswitch_changed(instance: Instance, region: str, when: float) -> dict[str, Any]:
    """`ecs:Instance:VSwitchChanged`: the primary address, the vSwitch or the VPC of an instance is another one [doc
    "vSwitch event notifications", 2025-11-18]."""
    content = {
        "instanceId": instance.id,
        "vswitchId": instance.vswitch_id,
        "privateIpAddress": instance.private_ip,
        "vpcId": instance.vpc_id,
        "secondaryPrivateIps": list(instance.secondary_ips),
    }
    return _envelope("ecs:Instance:VSwitchChanged", instance.account, region, instance.id, when, content)


def addresses_changed(
    account: str, region: str, interface: str, holder: Instance | Interface, when: float, *, assigned: bool
) -> dict[str, Any]:
    """`ecs:NetworkInterface:PrivateIPAssigned` and `…Unassigned`: an interface, which is all that is named, has other
    secondary addresses [doc "IP address event notifications", 2025-05-07]. That the lists say what is there then is
    [inferred]."""
    content = {
        "eniId": interface,
        "primaryPrivateIp": holder.private_ip,
        "secondaryPrivateIps": list(holder.secondary_ips),
    }
    kind = f"ecs:NetworkInterface:PrivateIP{'Assigned' if assigned else 'Unassigned'}"
    return _envelope(kind, account, region, interface, when, content)


def api_call(
    caller: Caller,
    region: str,
    action: str,
    params: Mapping[str, str],
    resources: list[str],
    when: float,
    request_id: str,
    error: tuple[str, str] | None = None,
) -> dict[str, Any]:
    """`ecs:ActionTrail:ApiCall` of a write; `error` is code and message of a refusal [doc actiontrail-events]."""
    event_id = str(uuid.uuid4())
    referenced: dict[str, list[str]] = {}
    for resource in resources:
        kind = REFERENCED.get(resource.split("-", 1)[0])
        if kind:
            referenced.setdefault(kind, []).append(resource)
    data: dict[str, Any] = {
        "eventId": event_id,
        "eventVersion": 1,
        "eventSource": f"ecs.{region}.aliyuncs.com",
        "sourceIpAddress": "127.0.0.1",
        "userAgent": "aliyun-local",
        "eventRW": "Write",
        "eventType": "ApiCall",
        "referencedResources": referenced,
        "userIdentity": _identity(caller),
        "serviceName": "Ecs",
        "requestId": request_id,
        "requestParameters": dict(params),
        "additionalEventData": {"Scheme": "http"},
        "apiVersion": "2014-05-26",
        "eventTime": utc(when),
        "isGlobal": False,
        "acsRegion": region,
        "eventName": action,
    }
    if error:
        data["errorCode"], data["errorMessage"] = error
    return _envelope("ecs:ActionTrail:ApiCall", caller.account, region, event_id, when, data)


def on_bus(event: dict[str, Any], resources: str) -> dict[str, Any]:
    """An event of ActionTrail as the bus gets it: the knob `trail_resources` says where it names the resources."""
    data = dict(event["data"])
    if resources == "referencedResources" or "referencedResources" not in data:
        return event
    referenced: dict[str, list[str]] = data.pop("referencedResources")
    if resources == "resourceName" and referenced:
        del data["requestParameters"]
        kind = next(iter(referenced))
        data |= {"resourceType": kind, "resourceName": ";".join(referenced[kind])}
    return {**event, "data": data}


def _identity(caller: Caller) -> dict[str, str]:
    """Without the id of the key, which real events have, too [doc actiontrail, structure of userIdentity and
    samples]."""
    kind, name, number = "root-account", "root", caller.account
    if caller.user:
        kind, name, number = "ram-user", caller.user, User(caller.account, caller.user).id
    if caller.role:
        session = caller.arn.rpartition("/")[2]
        kind, name = "assumed-role", f"{caller.role}:{session}"
        number = f"{Role(caller.account, caller.role, '').id}:{session}"
    return {"accountId": caller.account, "principalId": number, "type": kind, "userName": name}
