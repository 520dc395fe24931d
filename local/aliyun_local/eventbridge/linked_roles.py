"""Service-linked roles: what EventBridge may do in an account. Without them it has no events, and delivers none.

The console creates them at the first use, `s deploy` those of its triggers [src fc3 0.1.22], and programs by
CreateServiceLinkedRoleForProduct, whose ProductName is the name of the role [doc SDK eventbridge20200401 8.7.0]. Names
and services [doc EventBridge "service-linked roles", 2026-03-11; that of SourceMNS is assumed]. RAM decides by
`ram:CreateServiceLinkedRole` and the key `ram:ServiceName` [doc AliyunEventBridgeFullAccess].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.principals import Role, trust_text

SEND_TO_FC = "AliyunServiceRoleForEventBridgeSendToFC"
SEND_TO_MNS = "AliyunServiceRoleForEventBridgeSendToMNS"
"""Its policy also lets EventBridge receive from queues: what a stream needs."""
SOURCE_MNS = "AliyunServiceRoleForEventBridgeSourceMNS"
"""Which of these two a stream needs is not certain: here, either."""

SOURCE_ACTIONTRAIL = "AliyunServiceRoleForEventBridgeSourceActionTrail"
SOURCE_CMS = "AliyunServiceRoleForEventBridgeSourceCMS"
"""Events of services, such as changes of an instance's state, come by way of CloudMonitor."""

FC_TRIGGER = "AliyunServiceRoleForFCTriggerEventBridge"
"""Function Compute's, by which it makes rules and streams."""

SERVICES = {
    SEND_TO_FC: "sendevent-fc.eventbridge.aliyuncs.com",
    SEND_TO_MNS: "sendevent-mns.eventbridge.aliyuncs.com",
    SOURCE_MNS: "source-mns.eventbridge.aliyuncs.com",
    FC_TRIGGER: "trigger-eventbridge.fc.aliyuncs.com",
    SOURCE_ACTIONTRAIL: "source-actiontrail.eventbridge.aliyuncs.com",
    SOURCE_CMS: "source-cms.eventbridge.aliyuncs.com",
}
"""Role -> the service that alone may assume it. The platform has thirteen more, for what is not offered here."""

ACTIONS = frozenset({"CheckServiceLinkedRoleForProduct", "CreateServiceLinkedRoleForProduct"})


def answer(
    identity: Identity, account: str, action: str, params: Mapping[str, str], now: float, knobs: Knobs
) -> dict[str, Any]:
    """Answer one of ACTIONS. The codes of refusals are assumed."""
    name = params.get("ProductName", "")
    if name not in SERVICES or name in _refused(knobs):
        raise ApiError("InvalidArgument", 400, f"The product name [{name}] is invalid.")
    if action == "CheckServiceLinkedRoleForProduct":
        return {"Data": {"CheckPass": exists(identity, account, name), "StsRoleName": name}}
    if exists(identity, account, name):
        raise ApiError("EntityAlreadyExists.Role", 409)
    create(identity, account, now, name)
    return {"HttpCode": 200}


def _refused(knobs: Knobs) -> frozenset[str]:
    """The names that are not taken, by the readings in force."""
    queues = {"both": set[str](), "SourceMNS": {SEND_TO_MNS}, "SendToMNS": {SOURCE_MNS}}[knobs.queue_roles]
    return frozenset(queues | ({FC_TRIGGER} if knobs.trigger_role == "unused" else set()))


def create(identity: Identity, account: str, now: float, *names: str) -> None:
    """Create these roles of an account, or all of them."""
    for name in names or SERVICES:
        service = SERVICES[name]
        identity.add_role(Role(account, name, trust_text([service]), created=now, updated=now, linked_to=service))


def exists(identity: Identity, account: str, *names: str) -> bool:
    """Whether an account has all of these roles."""
    return all(f"acs:ram::{account}:role/{name}" in identity.roles for name in names)
