"""What the cloud's refusals of a change mean for a link."""

from __future__ import annotations

_ROOM = "take away rules that are not needed, name instances (i-…) instead of groups, or have the quota raised"
_THERE = "check the id and the region"
_BASIC = "use a basic group, or name instances (i-…)"
_OWN = "use a group of your own"
_VPC = "move it into a VPC"
_LOOK_UP = (
    "look the code up: it may be a state of the account; else report it, with the RequestId, as a fault of link-peer"
)

# [doc ecs.md 1.12] what a refusal of a change means for the link: reason, in plain words, what to do
DENIALS = {
    "AuthorizedGroupRule.LimitExceed": (
        "quota",
        "the group holds as many rules that name groups as are allowed",
        _ROOM,
    ),
    "AuthorizationLimitExceed": ("quota", "the group holds as many rules as are allowed", _ROOM),
    "OperationDenied.QuotaExceed": ("quota", "the group holds as many tags as are allowed", "take a tag off the group"),
    "InvalidSourceGroupId.NotFound": ("peer-not-found", "the source group is not there", _THERE),
    "InvalidSourceGroup.NotFound": ("peer-not-found", "the source group is not there", _THERE),
    "InvalidSecurityGroupId.NotFound": ("peer-not-found", "the group is not there", _THERE),
    "InvalidResourceId.NotFound": ("peer-not-found", "the group is not there", _THERE),
    "InvalidSourceGroupId.Mismatch": ("different-vpc", "the two groups are not in one VPC", "name instances (i-…)"),
    "InvalidGroupAuthParameter.OperationDenied": ("advanced-group", "the source is an advanced group", _BASIC),
    "InvalidGroupParameter.OperationDenied": ("advanced-group", "the group is an advanced one", _BASIC),
    "InvalidOperation.ResourceManagedByCloudProduct": (
        "managed-group",
        "the group is managed by a cloud product",
        _OWN,
    ),
    "InvalidNetworkType.Mismatch": ("classic-network", "one side is in the classic network", _VPC),
    "InvalidNetworkType.Conflict": ("classic-network", "one side is in the classic network", _VPC),
    "InvalidSecurityGroup.InvalidNetworkType": ("classic-network", "one side is in the classic network", _VPC),
    "VPCDisabled": ("classic-network", "the group is in no VPC", _VPC),
    "InvalidSecurityGroup.IsSame": ("same-group", "both sides are one group", ""),
}
# any other refusal that would come again: malformed or conflicting parameters, a state of the account
UNKNOWN = ("not-allowed", "ECS refuses the change", _LOOK_UP)
# "probably already gone": a read decides
GONE = frozenset(
    {
        "InvalidParam.SecurityGroupRuleId",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    }
)
