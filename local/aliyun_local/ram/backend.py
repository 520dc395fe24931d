"""RAM 2015-05-01: roles, policies with their versions, and which policies roles have. No call makes users.

Refusals [doc RAM "error messages"; src terraform-provider-alicloud for those of roles]. Answers have the fields of the
SDK's models. Changes take effect at once; on the platform after some seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from aliyun_local.core.clock import Clock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller, Identity
from aliyun_local.core.knobs import Knobs
from aliyun_local.core.policy import Access
from aliyun_local.ram import attachments, policies, roles
from aliyun_local.ram.call import Answer, Call


class RamBackend:
    """The RAM of every account; safe to use from many threads."""

    def __init__(self, clock: Clock, identity: Identity, knobs: Knobs) -> None:
        self._knobs = knobs
        self._clock = clock
        self._identity = identity
        self._lock = threading.RLock()

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> Answer:
        """Run one action: the answer without RequestId, or ApiError."""
        if not self._identity.permitted(caller, access(action, params, caller.account)):
            raise ApiError("NoPermission", 403)
        with self._lock:
            knobs = (self._knobs.trusts_anyone, self._knobs.policies_per_role)
            return OPERATIONS[action](Call(self._identity, caller.account, params, self._clock.now(), *knobs))


OPERATIONS: dict[str, Callable[[Call], Answer]] = {
    "AttachPolicyToRole": attachments.attach_policy_to_role,
    "CreatePolicy": policies.create_policy,
    "CreatePolicyVersion": policies.create_policy_version,
    "CreateRole": roles.create_role,
    "DeletePolicy": policies.delete_policy,
    "DeletePolicyVersion": policies.delete_policy_version,
    "DeleteRole": roles.delete_role,
    "DetachPolicyFromRole": attachments.detach_policy_from_role,
    "GetPolicy": policies.get_policy,
    "GetPolicyVersion": policies.get_policy_version,
    "GetRole": roles.get_role,
    "ListEntitiesForPolicy": attachments.list_entities_for_policy,
    "ListPoliciesForRole": attachments.list_policies_for_role,
    "ListPolicyVersions": policies.list_policy_versions,
    "ListRoles": roles.list_roles,
    "SetDefaultPolicyVersion": policies.set_default_policy_version,
    "UpdateRole": roles.update_role,
}


def access(action: str, params: Mapping[str, str], account: str) -> Access:
    """What a caller of `account` asks for [doc RAM API reference, "authorization information" of each operation].

    Attaching names two resources: the policy, and who gets it.
    """
    owner = "system" if params.get("PolicyType") == "System" else account
    resources = [f"acs:ram:*:{account}:role/{params['RoleName']}"] if params.get("RoleName") else []
    if params.get("PolicyName"):
        resources.append(f"acs:ram:*:{owner}:policy/{params['PolicyName']}")
    listed = "role" if action == "ListRoles" else "policy"
    return Access(f"ram:{action}", resources or [f"acs:ram:*:{account}:{listed}/*"])
