"""Roles: made, shown, changed and deleted."""

from __future__ import annotations

from aliyun_local.core.errors import ApiError
from aliyun_local.core.policy import parse_trust
from aliyun_local.core.principals import Role
from aliyun_local.ram import params as given
from aliyun_local.ram.call import Answer, Call, paging, shown_role, without


def create_role(call: Call) -> Answer:
    """Create a role that nothing is attached to."""
    name = given.name_in(call.params, "RoleName")
    role = Role(
        call.account,
        name,
        _trust(call, "AssumeRolePolicyDocument"),
        given.description(call.params, "Description"),
        given.session_seconds(call.params, "MaxSessionDuration", 3600),
        created=call.now,
        updated=call.now,
    )
    if role.arn in call.identity.roles:
        raise ApiError("EntityAlreadyExists.Role", 409)
    call.identity.add_role(role)
    return {"Role": without(shown_role(role), "UpdateDate")}


def get_role(call: Call) -> Answer:
    """One role."""
    role = call.role()
    return {"Role": {**shown_role(role), "IsServiceLinkedRole": bool(role.linked_to)}}


def update_role(call: Call) -> Answer:
    """Change a role's trust policy, description or longest session."""
    role = call.role()
    trust, description = role.trust, role.description
    if "NewAssumeRolePolicyDocument" in call.params:
        trust = _trust(call, "NewAssumeRolePolicyDocument")
    if "NewDescription" in call.params:
        description = given.description(call.params, "NewDescription")
    role.max_session_seconds = given.session_seconds(call.params, "NewMaxSessionDuration", role.max_session_seconds)
    role.trust, role.description = trust, description
    role.updated = call.now
    return {"Role": shown_role(role)}


def _trust(call: Call, parameter: str) -> str:
    """A trust policy, checked. Whether it may name roles that do not exist is a knob."""
    text = given.document(call.params, parameter, given.MAX_TRUST, parse_trust)
    role_arns = {
        principal
        for statement in parse_trust(text).statements
        for principal in statement.principals
        if ":role/" in principal
    }
    if not call.trusts_anyone and not role_arns <= call.identity.roles.keys():
        missing = min(role_arns - call.identity.roles.keys())
        raise ApiError("MalformedPolicyDocument", 400, f"The policy document is malformed: {missing} does not exist.")
    return text


def delete_role(call: Call) -> Answer:
    """Delete a role that nothing is attached to."""
    role = call.role()
    if role.linked_to:  # its service's console does, or DeleteServiceLinkedRole; the code is assumed
        raise ApiError("InvalidOperation.ServiceLinkedRole", 403)
    if role.attached:
        message = "The role CAN NOT has any attached policy while deleting the role."
        raise ApiError("DeleteConflict.Role.Policy", 409, message)
    del call.identity.roles[role.arn]
    return {}


def list_roles(call: Call) -> Answer:
    """The roles of the account, by name."""
    roles = {role.name: role for role in call.identity.roles.values() if role.account == call.account}
    names, marker = given.page(call.params, list(roles))
    rows = [without(shown_role(roles[name]), "AssumeRolePolicyDocument") for name in names]
    return {**paging(marker), "Roles": {"Role": rows}}
