"""Policies: made, shown and deleted."""

from __future__ import annotations

from link_peer_local.core.errors import ApiError
from link_peer_local.core.policy import parse
from link_peer_local.core.principals import ManagedPolicy, User, Version
from link_peer_local.ram import params as given
from link_peer_local.ram.answers import Answer, paging, shown_policy, shown_version, without
from link_peer_local.ram.call import Call


def create_policy(call: Call) -> Answer:
    """Create a policy with its first version."""
    name = given.name_in(call.params, "PolicyName")
    document = given.document(call.params, "PolicyDocument", given.MAX_POLICY, parse)
    description = given.description(call.params, "Description")
    if (call.account, name) in call.identity.policies:
        raise ApiError("EntityAlreadyExists.Policy", 409, "The policy does already EXIST.")
    policy = ManagedPolicy(
        name, {"v1": Version(document, call.now)}, description=description, created=call.now, updated=call.now
    )
    call.identity.policies[call.account, name] = policy
    return {"Policy": without(shown_policy(policy), "UpdateDate")}


def get_policy(call: Call) -> Answer:
    """One policy, with its default version."""
    policy = call.policy()
    shown = {**shown_policy(policy), "AttachmentCount": len(call.holders(policy))}
    return {"Policy": shown, "DefaultPolicyVersion": shown_version(policy, policy.default)}


def list_policies(call: Call) -> Answer:
    """The policies that the account may attach, by name."""
    kind = given.policy_type(call.params, optional=True)
    custom = {name: policy for (owner, name), policy in call.identity.policies.items() if owner == call.account}
    known = {**({} if kind == "Custom" else call.identity.system), **({} if kind == "System" else custom)}
    names, marker = given.page(call.params, list(known))
    rows = [{**shown_policy(known[name]), "AttachmentCount": len(call.holders(known[name]))} for name in names]
    return {**paging(marker), "Policies": {"Policy": rows}}


def delete_policy(call: Call) -> Answer:
    """Delete a policy that nobody has."""
    policy = call.custom()
    for holder in call.holders(policy):
        if isinstance(holder, User):
            message = "The policy CAN NOT been attached to any user while deleting the policy."
            raise ApiError("DeleteConflict.Policy.User", 409, message)
        message = "The policy CAN NOT been attached to any role while deleting the policy."
        raise ApiError("DeleteConflict.Role.Policy", 409, message)
    if len(policy.versions) > 1 and not given.flag(call.params, "CascadingDelete"):
        message = "The policy CAN NOT has any version except the default version."
        raise ApiError("DeleteConflict.Policy.Version", 409, message)
    del call.identity.policies[call.account, policy.name]
    return {}
