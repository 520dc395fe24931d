"""Policies: made, shown and deleted, with their versions: at most five, one of them in effect."""

from __future__ import annotations

from collections.abc import Mapping

from aliyun_local.core.errors import ApiError
from aliyun_local.core.policy import parse
from aliyun_local.core.principals import ManagedPolicy, User, Version
from aliyun_local.ram import params as given
from aliyun_local.ram.call import Answer, Call, shown_policy, shown_version, without


def create_policy(call: Call) -> Answer:
    """Create a policy with its first version."""
    name = given.name_in(call.params, "PolicyName")
    document = given.document(call.params, "PolicyDocument", given.MAX_POLICY, parse)
    description = given.description(call.params, "Description")
    if (call.account, name) in call.identity.policies:
        raise ApiError("EntityAlreadyExists.Policy", 409)
    policy = ManagedPolicy(
        name, {"v1": Version(document, call.now)}, description=description, created=call.now, updated=call.now
    )
    call.identity.policies[call.account, name] = policy
    return {"Policy": without(shown_policy(policy), "UpdateDate")}


def get_policy(call: Call) -> Answer:
    """One policy, with its default version."""
    policy = call.policy()
    fields = {**shown_policy(policy), "AttachmentCount": len(call.holders(policy))}
    return {"Policy": fields, "DefaultPolicyVersion": shown_version(policy, policy.default)}


def delete_policy(call: Call) -> Answer:
    """Delete a policy that nobody has."""
    policy = call.custom()
    for holder in call.holders(policy):
        if isinstance(holder, User):
            raise ApiError("DeleteConflict.Policy.User", 409)
        raise ApiError("DeleteConflict.Role.Policy", 409)
    if len(policy.versions) > 1 and not given.flag(call.params, "CascadingDelete"):
        raise ApiError("DeleteConflict.Policy.Version", 409)
    del call.identity.policies[call.account, policy.name]
    return {}


MAX_VERSIONS = 5
ROTATE = "DeleteOldestNonDefaultVersionWhenLimitExceeded"


def create_policy_version(call: Call) -> Answer:
    """Add a version to a policy."""
    policy = call.custom()
    document = given.document(call.params, "PolicyDocument", given.MAX_POLICY, parse)
    default = given.flag(call.params, "SetAsDefault")
    rotate = call.params.get("RotateStrategy") or "None"
    if rotate not in ("None", ROTATE):
        raise ApiError("InvalidParameter.RotateStrategy", 400)
    if len(policy.versions) >= MAX_VERSIONS:
        if rotate == "None":
            raise ApiError("LimitExceeded.Policy.Version", 409)
        del policy.versions[next(version for version in policy.versions if version != policy.default)]
    policy.version_count += 1
    version = f"v{policy.version_count}"
    policy.updated = call.now
    policy.versions[version] = Version(document, call.now)
    if default:
        policy.default = version
    return {"PolicyVersion": shown_version(policy, version)}


def get_policy_version(call: Call) -> Answer:
    """One version of a policy."""
    policy = call.policy()
    return {"PolicyVersion": shown_version(policy, _version(policy, call.params))}


def list_policy_versions(call: Call) -> Answer:
    """The versions of a policy."""
    policy = call.policy()
    rows = [shown_version(policy, version) for version in policy.versions]
    return {"PolicyVersions": {"PolicyVersion": rows}}


def set_default_policy_version(call: Call) -> Answer:
    """Put a version into effect."""
    policy = call.custom()
    policy.default = _version(policy, call.params)
    policy.updated = call.now
    return {}


def delete_policy_version(call: Call) -> Answer:
    """Delete a version that is not in effect."""
    policy = call.custom()
    version = _version(policy, call.params)
    if version == policy.default:
        raise ApiError("DeleteConflict.Policy.Version.Default", 409)
    del policy.versions[version]
    return {}


def _version(policy: ManagedPolicy, params: Mapping[str, str]) -> str:
    version = given.require(params, "VersionId")
    if version not in policy.versions:
        raise ApiError("EntityNotExist.Policy.Version", 404)
    return version
