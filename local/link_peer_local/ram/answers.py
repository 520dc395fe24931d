"""Roles, policies and users in the form of answers [src SDK ram20150501]."""

from __future__ import annotations

from typing import Any

from link_peer_local.core.clock import utc
from link_peer_local.core.principals import ManagedPolicy, Role, User

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


def shown_user(user: User) -> Answer:
    """A user."""
    return {
        "UserId": user.id,
        "UserName": user.name,
        "DisplayName": user.display_name,
        "Comments": user.comments,
        "CreateDate": utc(user.created),
    }


def paging(marker: str) -> Answer:
    """How a list goes on."""
    return {"IsTruncated": True, "Marker": marker} if marker else {"IsTruncated": False}


def without(shown: Answer, *fields: str) -> Answer:
    """The same without some fields."""
    return {name: value for name, value in shown.items() if name not in fields}
