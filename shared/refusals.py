"""What the cloud's refusals of a change mean for a link."""

from __future__ import annotations

# [doc ecs.md 1.12] what a refusal of a change means for the link
DENIALS = {
    "AuthorizedGroupRule.LimitExceed": ("quota", "the group holds as many rules that name groups as are allowed"),
    "AuthorizationLimitExceed": ("quota", "the group holds as many rules as are allowed"),
    "OperationDenied.QuotaExceed": ("quota", "the group holds as many tags as are allowed"),
    "InvalidSourceGroupId.NotFound": ("peer-not-found", "the source group is not there"),
    "InvalidSourceGroup.NotFound": ("peer-not-found", "the source group is not there"),
    "InvalidSecurityGroupId.NotFound": ("peer-not-found", "the group is not there"),
    "InvalidResourceId.NotFound": ("peer-not-found", "the group is not there"),
    "InvalidSourceGroupId.Mismatch": ("different-vpc", "the two groups are not in one VPC"),
    "InvalidGroupAuthParameter.OperationDenied": ("advanced-group", "the source is an advanced group"),
    "InvalidGroupParameter.OperationDenied": ("advanced-group", "the group is an advanced one"),
    "InvalidOperation.ResourceManagedByCloudProduct": ("managed-group", "the group is managed by a cloud product"),
    "InvalidNetworkType.Mismatch": ("classic-network", "one side is in the classic network"),
    "InvalidNetworkType.Conflict": ("classic-network", "one side is in the classic network"),
}
# "probably already gone": a read decides
GONE = frozenset(
    {
        "InvalidParam.SecurityGroupRuleId",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    }
)
