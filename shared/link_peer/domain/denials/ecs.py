"""What ECS refuses for good, by its error code."""

from __future__ import annotations

from link_peer.domain.denial import Denial, ReasonCode
from link_peer.domain.denials.links import NO_ROUTE
from link_peer.domain.denials.parties import BASIC_GROUP, OWN_GROUP, USE_VPC

_ROOM = (
    "name instances (i-…) instead of groups, have the quota raised, or remove rules that are not needed; of links, this "
    "lists them: link-peer links --party {group}"
)
_CHECK_ID = "check the ids, the accounts and the region"
_CODES: dict[str, tuple[ReasonCode, str, str]] = {
    "AuthorizedGroupRule.LimitExceed": (
        ReasonCode.QUOTA,
        "the group holds as many rules that name groups as allowed",
        _ROOM,
    ),
    "AuthorizationLimitExceed": (ReasonCode.QUOTA, "the group holds as many rules as allowed", _ROOM),
    "OperationDenied.QuotaExceed": (
        ReasonCode.QUOTA,
        "the group holds as many tags as allowed",
        "remove a tag from the group",
    ),
    "InvalidSourceGroupId.NotFound": (ReasonCode.PEER_NOT_FOUND, "the source group does not exist", _CHECK_ID),
    "InvalidSourceGroup.NotFound": (ReasonCode.PEER_NOT_FOUND, "the source group does not exist", _CHECK_ID),
    "InvalidSecurityGroupId.NotFound": (ReasonCode.PEER_NOT_FOUND, "the group does not exist", _CHECK_ID),
    "InvalidResourceId.NotFound": (ReasonCode.PEER_NOT_FOUND, "the group does not exist", _CHECK_ID),
    "InvalidSourceGroupId.Mismatch": (
        ReasonCode.DIFFERENT_VPC,
        "the two groups are not in one VPC",
        f"name instances (i-…) instead of groups; {NO_ROUTE}",
    ),
    "InvalidGroupAuthParameter.OperationDenied": (
        ReasonCode.ADVANCED_GROUP,
        "the source is an advanced group",
        BASIC_GROUP,
    ),
    "InvalidGroupParameter.OperationDenied": (
        ReasonCode.ADVANCED_GROUP,
        "the group is an advanced group",
        BASIC_GROUP,
    ),
    "InvalidOperation.ResourceManagedByCloudProduct": (
        ReasonCode.MANAGED_GROUP,
        "the group is managed by a cloud product",
        OWN_GROUP,
    ),
    "InvalidNetworkType.Mismatch": (ReasonCode.CLASSIC_NETWORK, "one side is in the classic network", USE_VPC),
    "InvalidNetworkType.Conflict": (ReasonCode.CLASSIC_NETWORK, "one side is in the classic network", USE_VPC),
    "InvalidSecurityGroup.InvalidNetworkType": (
        ReasonCode.CLASSIC_NETWORK,
        "one side is in the classic network",
        USE_VPC,
    ),
    "VPCDisabled": (ReasonCode.CLASSIC_NETWORK, "the group is in no VPC", USE_VPC),
    "InvalidSecurityGroup.IsSame": (ReasonCode.SAME_GROUP, "both sides are one group", ""),
}
"""Error codes of ECS's security group and tag APIs that are final for a link [doc AuthorizeSecurityGroup, TagResources]."""
ALREADY_GONE = frozenset(
    {
        "InvalidParam.SecurityGroupRuleId",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    }
)
"""Error codes that probably mean the rule is gone already. Reading the group again decides."""


def refused_by_ecs(group: object, code: str, message: str) -> Denial:
    """A change that ECS refuses for good. An unknown code is `not-allowed`: malformed, or a state of the account."""
    look_up = (
        "look the code up: it may be a state of the account; else report it, with the RequestId, as a bug in link-peer"
    )
    reason, detail, advice = _CODES.get(code, (ReasonCode.NOT_ALLOWED, "ECS refuses the change", look_up))
    return Denial(reason, f"{group}: {detail} ({code}: {message})", advice.replace("{group}", str(group)))
