"""Which policies roles have."""

from __future__ import annotations

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.principals import Role, User
from aliyun_local.ram import params as given
from aliyun_local.ram.call import Answer, Call, shown_policy, shown_role, without

MAX_SYSTEM = 20
"""System policies of one role [doc RAM error codes, LimitExceeded.Role.Policy]; of custom ones, a knob says how
many."""

_NOT_IN_ENTITIES = ("AssumeRolePolicyDocument", "MaxSessionDuration", "CreateDate", "UpdateDate")


def attach_policy_to_role(call: Call) -> Answer:
    """Give a policy to a role."""
    role, policy = call.role(), call.policy()
    if (policy.type, policy.name) in role.attached:
        raise ApiError("EntityAlreadyExists.Role.Policy", 409)
    most = MAX_SYSTEM if policy.type == "System" else call.policies_per_role
    if sum(of == policy.type for of, _ in role.attached) >= most:
        raise ApiError("LimitExceeded.Role.Policy", 409)
    role.attached[policy.type, policy.name] = call.now
    return {}


def detach_policy_from_role(call: Call) -> Answer:
    """Take a policy from a role."""
    role = call.role()
    attached = (given.policy_type(call.params), given.name_in(call.params, "PolicyName"))
    if attached not in role.attached:
        raise ApiError("EntityNotExist.Role.Policy", 404)
    del role.attached[attached]
    return {}


def list_policies_for_role(call: Call) -> Answer:
    """The policies of a role."""
    rows = []
    for (kind, name), since in call.role().attached.items():
        policy = call.identity.policy(call.account, kind, name)
        if policy is not None:
            fields = without(shown_policy(policy), "CreateDate", "UpdateDate")
            rows.append({**fields, "AttachDate": utc(since)})
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
            "DisplayName": user.name,
            "AttachDate": utc(user.attached[attached]),
        }
        for user in holders
        if isinstance(user, User)
    ]
    return {"Groups": {"Group": []}, "Roles": {"Role": roles}, "Users": {"User": users}}
