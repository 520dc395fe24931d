"""Who may do what in an account: roles, users, and the policies attached to them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.policy import MFA, Access, Policy, parse, parse_trust

Attached = dict[tuple[str, str], float]
"""The (type, name) of each attached policy, with the time of attachment in epoch seconds."""

SYSTEM = {
    "AdministratorAccess": {"Action": "*", "Effect": "Allow", "Resource": "*"},
    "AliyunSTSAssumeRoleAccess": {"Action": "sts:AssumeRole", "Effect": "Allow", "Resource": "*"},
}
"""System policies that people need to try a deployment; the platform has hundreds."""


class Version(Struct):
    """One version of a policy: its document as it was sent."""

    document: str
    created: float


class ManagedPolicy(Struct):
    """A policy of an account (`Custom`) or of the platform (`System`), with its versions by id (`v1`, …)."""

    name: str
    versions: dict[str, Version]
    type: str = "Custom"
    description: str = ""
    default: str = "v1"
    version_count: int = 1  # versions ever made: their numbers are not used again
    created: float = 0
    updated: float = 0

    @property
    def document(self) -> str:
        """The default version's."""
        return self.versions[self.default].document

    @property
    def policy(self) -> Policy:
        """The default version, parsed."""
        return parse(self.document)


class Role(Struct):
    """A RAM role. `trust` is its trust policy as JSON text: who may assume it, under which conditions. Empty:
    nobody."""

    account: str
    name: str
    trust: str
    description: str = ""
    max_session_seconds: int = 3600
    created: float = 0
    updated: float = 0
    attached: Attached = field(default_factory=dict)
    linked_to: str = ""  # the service of a service-linked role

    @property
    def arn(self) -> str:
        """`acs:ram::<uid>:role/<name>`."""
        return f"acs:ram::{self.account}:role/{self.name}"

    @property
    def id(self) -> str:
        """As on the platform a number that starts with 3; here always the same for one ARN."""
        return _number(300_000_000_000_000_000, self.arn)

    @property
    def external_id(self) -> str | None:
        """The ExternalId that the trust policy asks for."""
        for statement in parse_trust(self.trust).statements if self.trust else ():
            for condition in statement.conditions:
                if condition.key == "sts:ExternalId":
                    return condition.values[0]
        return None

    def trusts(self, principals: frozenset[str], external_id: str | None = None, *, mfa: bool = False) -> bool:
        """Whether one of these principals, who signed in with `mfa` or without, may assume the role."""
        context = {MFA: [str(mfa).lower()], **({} if external_id is None else {"sts:ExternalId": [external_id]})}
        access = Access("sts:AssumeRole", context=context, principals=principals)
        return bool(self.trust) and parse_trust(self.trust).allows(access)


class User(Struct):
    """A RAM user: a person or program of an account, who has the rights of the attached policies."""

    account: str
    name: str
    attached: Attached = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """`acs:ram::<uid>:user/<name>`."""
        return f"acs:ram::{self.account}:user/{self.name}"

    @property
    def id(self) -> str:
        """As on the platform a number that starts with 2; here always the same for one ARN."""
        return _number(200_000_000_000_000_000, self.arn)


def trust_text(trusted: Sequence[str], external_id: str | None = None) -> str:
    """A trust policy for ARNs of accounts (`acs:ram::<uid>:root`) and roles, and names of services; empty for none."""
    if not trusted:
        return ""
    principal = {
        "RAM": [name for name in trusted if name.startswith("acs:")],
        "Service": [name for name in trusted if not name.startswith("acs:")],
    }
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {kind: names for kind, names in principal.items() if names},
    }
    if external_id is not None:
        statement["Condition"] = {"StringEquals": {"sts:ExternalId": external_id}}
    return policy_text([statement])


def policy_text(statements: Sequence[Mapping[str, Any]]) -> str:
    """A policy document of these statements."""
    return json.dumps({"Version": "1", "Statement": list(statements)})


def _number(start: int, arn: str) -> str:
    return str(start + int.from_bytes(arn.encode(), "big") % 10**15)
