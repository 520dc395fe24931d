"""The versions of a policy: at most five, one of them in effect."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer_local.core.errors import ApiError
from link_peer_local.core.policy import parse
from link_peer_local.core.principals import ManagedPolicy, Version
from link_peer_local.ram import params as given
from link_peer_local.ram.answers import Answer, shown_version
from link_peer_local.ram.call import Call

MAX_VERSIONS = 5
ROTATE = "DeleteOldestNonDefaultVersionWhenLimitExceeded"


def create_policy_version(call: Call) -> Answer:
    """Add a version to a policy."""
    policy = call.custom()
    document = given.document(call.params, "PolicyDocument", given.MAX_POLICY, parse)
    default = given.flag(call.params, "SetAsDefault")
    rotate = call.params.get("RotateStrategy") or "None"
    if rotate not in ("None", ROTATE):
        raise ApiError("InvalidParameter.RotateStrategy", 400, 'The parameter - "RotateStrategy" is incorrect.')
    if len(policy.versions) >= MAX_VERSIONS:
        if rotate == "None":
            message = "The count of policy version beyond the current limits."
            raise ApiError("LimitExceeded.Policy.Version", 409, message)
        del policy.versions[next(version for version in policy.versions if version != policy.default)]
    policy.made += 1
    version = f"v{policy.made}"
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
        message = "The default policy version CAN NOT been deleted directly."
        raise ApiError("DeleteConflict.Policy.Version.Default", 409, message)
    del policy.versions[version]
    return {}


def _version(policy: ManagedPolicy, params: Mapping[str, str]) -> str:
    version = given.require(params, "VersionId")
    if version not in policy.versions:
        raise ApiError("EntityNotExist.Policy.Version", 404, "The policy version does not exist.")
    return version
