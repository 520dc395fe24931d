"""Which policies roles and users have."""

from __future__ import annotations

from link_peer_local.core.clock import utc
from link_peer_local.core.errors import ApiError
from link_peer_local.core.principals import Role, User
from link_peer_local.ram import params as given
from link_peer_local.ram.call import Answer, Call, Holder, shown_policy, shown_role, without

MAX_ATTACHED = {"System": 20, "Custom": 5}
"""Policies of one role or user. [doc RAM error codes, LimitExceeded.Role.Policy]: 20 and 5; the limits page of 2025-12-16
(alibabacloud.com/help/en/ram/product-overview/limits) has 10 custom ones, and both can be raised. Here the least holds."""

_NOT_IN_ENTITIES = ("AssumeRolePolicyDocument", "MaxSessionDuration", "CreateDate", "UpdateDate")


def attach_policy_to_role(call: Call) -> Answer:
    """Give a policy to a role."""
    return _attach(call, call.role(), "Role")


def attach_policy_to_user(call: Call) -> Answer:
    """Give a policy to a user."""
    return _attach(call, call.user(), "User")


def _attach(call: Call, holder: Holder, kind: str) -> Answer:
    policy = call.policy()
    if (policy.type, policy.name) in holder.attached:
        message = f"The {kind.lower()} has already been attached this policy."
        raise ApiError(f"EntityAlreadyExists.{kind}.Policy", 409, message)
    if sum(of == policy.type for of, _ in holder.attached) >= MAX_ATTACHED[policy.type]:
        message = f"The count of policies attached to the {kind.lower()} beyond the current limits."
        raise ApiError(f"LimitExceeded.{kind}.Policy", 409, message)
    holder.attached[policy.type, policy.name] = call.now
    return {}


def detach_policy_from_role(call: Call) -> Answer:
    """Take a policy from a role."""
    return _detach(call, call.role(), "Role")


def detach_policy_from_user(call: Call) -> Answer:
    """Take a policy from a user."""
    return _detach(call, call.user(), "User")


def _detach(call: Call, holder: Holder, kind: str) -> Answer:
    attached = (given.policy_type(call.params), given.name_in(call.params, "PolicyName"))
    if attached not in holder.attached:
        message = f"The indicate policy of the {kind.lower()} does not exist."
        raise ApiError(f"EntityNotExist.{kind}.Policy", 404, message)
    del holder.attached[attached]
    return {}


def list_policies_for_role(call: Call) -> Answer:
    """The policies of a role."""
    return _attached(call, call.role())


def list_policies_for_user(call: Call) -> Answer:
    """The policies of a user."""
    return _attached(call, call.user())


def _attached(call: Call, holder: Holder) -> Answer:
    rows = []
    for (kind, name), since in holder.attached.items():
        policy = call.identity.policy(call.account, kind, name)
        if policy is not None:
            shown = without(shown_policy(policy), "CreateDate", "UpdateDate")
            rows.append({**shown, "AttachDate": utc(since)})
    return {"Policies": {"Policy": rows}}


def list_entities_for_policy(call: Call) -> Answer:
    """Who has a policy."""
    policy = call.policy()
    holders = call.holders(policy)
    attached = (policy.type, policy.name)
    roles = [
        {**without(shown_role(role), *_NOT_IN_ENTITIES), "AttachDate": utc(role.attached[attached])}
        for role in holders
        if isinstance(role, Role)
    ]
    users = [
        {
            "UserName": user.name,
            "UserId": user.id,
            "DisplayName": user.display_name,
            "AttachDate": utc(user.attached[attached]),
        }
        for user in holders
        if isinstance(user, User)
    ]
    return {"Groups": {"Group": []}, "Roles": {"Role": roles}, "Users": {"User": users}}
