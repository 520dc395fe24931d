"""Knobs: what the platform does where neither its documentation nor any capture of it settles the matter.

Each knob can be set to every reading of the sources. Code that works under all of them depends on none. Documented or
captured behaviour is no knob.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

import msgspec
from msgspec import Struct


class Knobs(Struct, kw_only=True, forbid_unknown_fields=True):
    """The readings in force; the defaults are those that more of the sources speak for."""

    own_source_owner: Literal["empty", "uid"] = "empty"
    """SourceGroupOwnerAccount of a rule whose source is a group of the same account, as read. That of another account's
    group is a uid [capture]."""

    host_mask: Literal["as-written", "dropped"] = "as-written"
    """Whether an address that was written as a /32 is read back with its mask. One written bare stays bare
    [capture]."""

    group_sources: Literal["rules", "groups"] = "rules"
    """What the quota of 20 counts: rules whose source is a group [doc limits], or the groups [doc 25554, 2026-01]."""

    missing_rule: Literal[
        "InvalidParam.SecurityGroupRuleId",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    ] = "InvalidParam.SecurityGroupRuleId"
    """The error of RevokeSecurityGroup for a rule id that does not exist: all four are documented or were reported."""

    missing_rule_modify: Literal[
        "InvalidSecurityGroupRuleId.NotFound", "InvalidParam.SecurityGroupRuleId", "SecurityGroupRule.NotFound"
    ] = "InvalidSecurityGroupRuleId.NotFound"
    """The error of ModifySecurityGroupRule for a rule id that does not exist: its Chinese page lists all three."""

    missing_permission: Literal["nothing", "RuleNotExist"] = "nothing"
    """What revoking a rule by its content does when there is none: nothing [doc], or an error, as a user reported."""

    cross_vpc_sources: bool = False
    """Whether a source group may be in another VPC: error tables refuse it, a test of Terraform's provider expects
    it."""

    partial_writes: bool = False
    """Whether a call with one invalid permission has written those before it. The contract of this cloud says no."""

    strict_ids: bool = False
    """Whether a Describe call by a list of ids is refused for one unknown group or one malformed id."""

    page_numbers: bool = True
    """Whether DescribeSecurityGroups takes PageNumber and PageSize: its page documents both the parameters and
    `NotSupported.PageNumberAndPageSize`."""

    inner_access_first: bool = True
    """Whether Accept inside a basic group lets packets pass that an egress rule drops: two official pages disagree."""

    interface_address: Literal["any", "secondary"] = "any"
    """Which addresses `PrivateIpAddress.N` of DescribeNetworkInterfaces finds: any of an interface, as
    cloud-provider-alibaba-cloud and terway rely on, or those that are not its primary one [doc SDK 7.11.8]."""

    request_tags: bool = True
    """Whether ECS fills in `acs:RequestTag/<key>` for RAM: the RAM page of ECS lists no condition key for tag calls."""

    queue_subject: Literal["queues/", "/queues/"] = "queues/"
    """How the `subject` of a queue's message ends, before the name: as in EventBridge's sample, or as in RAM's
    resources."""

    state_content: Literal["data", "data.content"] = "data"
    """Where `ecs:Instance:StateChange` has its content: in a lab of Alibaba's it is `data`; a third party reads
    both."""

    trail_resources: Literal["referencedResources", "requestParameters", "resourceName"] = "referencedResources"
    """Where an event of ActionTrail names the resources of a call: its pages and samples show all three."""

    destination_account: Literal["optional", "required"] = "optional"
    """Whether the ARN of an asynchronous call's destination must name the account: samples of Function Compute do
    without, its API page and fc3's example have it."""

    trusts_anyone: bool = True
    """Whether RAM accepts a trust policy that names a role which does not exist."""

    environment_keys: Literal["start", "call"] = "start"
    """Whether the keys in a function's environment are those of its instance's start, or current at each call: no page
    says how long they live in an instance that is kept warm."""

    mfa_in_sessions: bool = True
    """Whether a role's session counts as one with MFA where the keys that assumed it did: the page of `acs:MFAPresent`
    speaks of a user who logs on, and not of roles."""

    rules_per_group: Literal[200, 1000] = 200
    """How many rules, of both directions, one group may have: 200 [doc AuthorizeSecurityGroup, 2024-11; prefix lists of
    VPC], or as many as all groups of an interface together [doc AuthorizeSecurityGroup, 2026-01]."""

    rule_count: Literal["both", "ingress", "absent", "zero"] = "both"
    """What `RuleCount` of DescribeSecurityGroups counts: no page says which directions, nor that it comes unasked, as
    `GroupToGroupRuleCount` does [capture]; where not, it is absent or 0."""

    advanced_policy: Literal["accept", "refuse"] = "accept"
    """Whether a rule of an advanced group may be written with `Policy`: the page that compares both types says that
    such groups have rules that allow and deny, the text of `InvalidGroupParameter.OperationDenied` that `Policy` must
    not be set."""

    no_direction: Literal["all", "ingress"] = "all"
    """Which rules DescribeSecurityGroupAttribute gives without `Direction`: all [doc SDK 7.11.8], which nobody has
    captured."""

    queue_counts: Literal["real", "zero"] = "real"
    """What GetQueueAttributes answers as ActiveMessages, InactiveMessages and DelayMessages: how many there are, or 0,
    as its page announces without a date [doc GetQueueAttributes, 2025-11]."""

    project_names: Literal["global", "region"] = "global"
    """Where the name of a log project is taken: everywhere [doc SLS quick start], or in its region [doc SLS error
    codes]; the SDK's comment of CreateProject says both."""

    queue_roles: Literal["both", "SourceMNS", "SendToMNS"] = "both"
    """Which of EventBridge's service-linked roles for queues CreateServiceLinkedRoleForProduct takes: its own list of
    names has SourceMNS alone [doc 2025-12-19, SDK 8.7.0], fc3 makes SendToMNS, and the page of the roles has both. A
    stream of a queue needs either."""

    receive_time: Literal["server", "writer"] = "server"
    """Whose `__tag__:__receive_time__` a log of a logstore with appendMeta has, where its writer sent a field or a tag
    of that name: the server's, since the page of reserved fields says that they must not be written, or the
    writer's."""

    trigger_role: Literal["unused", "required"] = "unused"
    """Whether Function Compute refuses a trigger on EventBridge without AliyunServiceRoleForFCTriggerEventBridge, by
    which it makes rules and streams [doc RAM, 2025-06-23], and CreateServiceLinkedRoleForProduct makes it: no page says
    either."""

    rules_per_bus: Literal[10, 50] = 10
    """How many rules the default bus may have: 10 [doc FC event triggers, 2025-10], or 50 [doc EventBridge limits]."""

    policies_per_role: Literal[5, 10] = 5
    """How many custom policies a role may have: 5 [doc RAM error codes, LimitExceeded.Role.Policy], or 10 [doc RAM
    limits, 2025-12]."""

    retry_seconds: float = 1.0
    """Seconds before the first retry of an asynchronous invocation [undocumented, page of 2026-04-01]."""

    retry_factor: float = 2.0
    """By how much each further interval is longer."""

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set some knobs. ValueError for an unknown name or reading; nothing is changed then."""
        try:
            checked = msgspec.convert({**msgspec.structs.asdict(self), **changes}, Knobs)
        except (msgspec.ValidationError, TypeError) as problem:
            raise ValueError(f"knobs: {problem}") from None
        if not all(0 <= value < math.inf for value in (checked.retry_seconds, checked.retry_factor)):
            raise ValueError("knobs: retry_seconds and retry_factor must not be negative")
        for name in changes:
            setattr(self, name, getattr(checked, name))


@cache
def readings() -> Mapping[str, tuple[Any, ...]]:
    """Each knob that has a fixed set of readings, with all of them: the default first."""
    by_knob: dict[str, tuple[Any, ...]] = {}
    for name, kind in get_type_hints(Knobs).items():
        default = getattr(Knobs(), name)
        choices = (False, True) if kind is bool else get_args(kind)
        if choices:
            by_knob[name] = (default, *(choice for choice in choices if choice != default))
    return by_knob


def mixed(number: int) -> Knobs:
    """One combination of readings: every number gives the same one each time, and 0 gives the defaults."""
    chosen = {}
    for name, choices in readings().items():
        number, index = divmod(number, len(choices))
        chosen[name] = choices[index]
    return Knobs(**chosen)


def opposite() -> Knobs:
    """The combination in which no knob has its default."""
    return Knobs(**{name: choices[-1] for name, choices in readings().items()})
