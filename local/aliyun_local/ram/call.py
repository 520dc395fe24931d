"""One call of RAM: what an operation works with, how it finds what the parameters name, and the form of answers [src
SDK ram20150501].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Identity
from aliyun_local.core.principals import ManagedPolicy, Role, User
from aliyun_local.ram import params as given

Holder = Role | User


class Call(Struct, frozen=True):
    """The directory, the caller's account, the parameters, the time in epoch seconds, and two knobs."""

    identity: Identity
    account: str
    params: Mapping[str, str]
    now: float
    trusts_anyone: bool = True
    policies_per_role: int = 5

    def role(self) -> Role:
        """The role of the account that RoleName names."""
        role = self.identity.roles.get(f"acs:ram::{self.account}:role/{given.name_in(self.params, 'RoleName')}")
        if role is None:
            raise ApiError("EntityNotExist.Role", 404)
        return role

    def policy(self) -> ManagedPolicy:
        """The policy that PolicyType and PolicyName name."""
        return self._policy(given.policy_type(self.params))

    def custom(self) -> ManagedPolicy:
        """The policy that PolicyName names among those that the account may change."""
        return self._policy("Custom")

    def _policy(self, kind: str) -> ManagedPolicy:
        policy = self.identity.policy(self.account, kind, given.name_in(self.params, "PolicyName"))
        if policy is None:
            raise ApiError("EntityNotExist.Policy", 404)
        return policy

    def holders(self, policy: ManagedPolicy) -> list[Holder]:
        """The roles and users of the account that have a policy."""
        holders: list[Holder] = [*self.identity.roles.values(), *self.identity.users.values()]
        return [
            holder
            for holder in holders
            if holder.account == self.account and (policy.type, policy.name) in holder.attached
        ]


Answer = dict[str, Any]


def shown_role(role: Role) -> Answer:
    """A role."""
    return {
        "RoleId": role.id,
        "RoleName": role.name,
        "Arn": role.arn,
        "Description": role.description,
        "AssumeRolePolicyDocument": role.trust,
        "MaxSessionDuration": role.max_session_seconds,
        "CreateDate": utc(role.created),
        "UpdateDate": utc(role.updated),
    }


def shown_policy(policy: ManagedPolicy) -> Answer:
    """A policy, without its document."""
    return {
        "PolicyName": policy.name,
        "PolicyType": policy.type,
        "Description": policy.description,
        "DefaultVersion": policy.default,
        "CreateDate": utc(policy.created),
        "UpdateDate": utc(policy.updated),
    }


def shown_version(policy: ManagedPolicy, version: str) -> Answer:
    """A version of a policy."""
    return {
        "VersionId": version,
        "IsDefaultVersion": version == policy.default,
        "PolicyDocument": policy.versions[version].document,
        "CreateDate": utc(policy.versions[version].created),
    }


def paging(marker: str) -> Answer:
    """How a list goes on."""
    return {"IsTruncated": True, "Marker": marker} if marker else {"IsTruncated": False}


def without(answer: Answer, *fields: str) -> Answer:
    """The same without some fields."""
    return {name: value for name, value in answer.items() if name not in fields}
