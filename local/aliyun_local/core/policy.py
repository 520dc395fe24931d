"""RAM policies: whether the statements that a caller has allow an action on resources, under conditions.

An Allow counts only where everything in it is understood and met. A Deny counts also where a condition is not
understood. So no policy allows more here than on the real cloud.

Sources: [doc RAM "policy elements", "policy structure and syntax", "conditional operators"].
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct, field

from aliyun_local.core.http import loads

MFA = "acs:MFAPresent"
KNOWN_KEYS = (MFA, "ecs:SecurityGroupSourceCidrIps", "ram:ServiceName", "sts:ExternalId")
KNOWN_PREFIXES = ("acs:RequestTag/",)
"""Condition keys that the local services fill in for the calls that have them."""

_Test = Callable[[str, str], bool]


class Access(Struct, frozen=True):
    """What is asked for: an action, the ARNs of its resources, and the values of condition keys.

    `resources` is None for an action without a resource level: only statements with Resource `*` decide about it.
    `principals` are the ARNs and service names that the caller answers to in a trust policy.
    """

    action: str
    resources: Sequence[str] | None = None
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)
    principals: frozenset[str] = frozenset()


class Condition(Struct, frozen=True):
    """One operator on one key."""

    operator: str
    key: str
    values: tuple[str, ...]

    def met(self, context: Mapping[str, Sequence[str]], *, every: bool) -> bool | None:
        """Whether the request meets it; None if that is not known. Of several values in the request, one or `every`
        must."""
        test = _OPERATORS.get(self.operator)
        if test is None or not (self.key in KNOWN_KEYS or self.key.startswith(KNOWN_PREFIXES)):
            return None
        negated, values = "Not" in self.operator, context.get(self.key)
        if not values:  # what a negated operator says of a key that the request lacks is not documented
            return None if negated else False
        verdicts = [any(test(expected, value) for expected in self.values) is not negated for value in values]
        return all(verdicts) if every else any(verdicts)


class Statement(Struct, frozen=True):
    """One statement. A trust policy's has principals, any other resources."""

    allow: bool
    actions: tuple[str, ...]
    inverted: bool  # NotAction
    resources: tuple[str, ...]
    principals: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def applies(self, access: Access, resource: str | None) -> bool:
        """Whether the statement, which is about the action, decides about it on this resource."""
        if not self._covers(access, resource):
            return False
        met = [condition.met(access.context, every=self.allow) for condition in self.conditions]
        return all(met) if self.allow else False not in met

    def _covers(self, access: Access, resource: str | None) -> bool:
        if self.principals:
            return not access.principals.isdisjoint(self.principals)
        return "*" in self.resources or (
            resource is not None and any(_same_resource(pattern, resource) for pattern in self.resources)
        )


class Policy(Struct, frozen=True, cache_hash=True):
    """A policy document."""

    statements: tuple[Statement, ...]

    def allows(self, access: Access) -> bool:
        """Whether this policy alone allows a request."""
        return allowed((self,), access)


def allowed(policies: Sequence[Policy], access: Access) -> bool:
    """Whether policies together allow a request: for each of its resources one statement allows it, and none denies
    it."""
    if access.resources is not None and not access.resources:
        return False
    for resource in (None,) if access.resources is None else access.resources:
        deciding = [
            statement.allow
            for policy in policies
            for statement in _about(policy, access.action)
            if statement.applies(access, resource)
        ]
        if not deciding or not all(deciding):
            return False
    return True


@lru_cache(maxsize=1024)
def parse(text: str) -> Policy:
    """Read a policy document. ValueError for an invalid one."""
    return _policy(loads(text), {"Resource"})


@lru_cache(maxsize=1024)
def parse_trust(text: str) -> Policy:
    """Read a role's trust policy: statements with Principal. ValueError for an invalid one."""
    return _policy(loads(text), {"Principal"})


def like(pattern: str, text: str) -> bool:
    """Whether a pattern with `*` (any characters) and `?` (one) matches the whole text."""
    return _regex(pattern).fullmatch(text) is not None


@lru_cache(maxsize=65_536)
def _about(policy: Policy, action: str) -> tuple[Statement, ...]:
    """The statements of a policy that are about an action."""
    return tuple(
        statement
        for statement in policy.statements
        if _matches_any(statement.actions, action) is not statement.inverted
    )


def _matches_any(patterns: tuple[str, ...], action: str) -> bool:
    """Whether one of the patterns of actions, which ignore case, matches."""
    return any(like(pattern.lower(), action.lower()) for pattern in patterns)


@lru_cache(maxsize=4096)
def _regex(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def _same_resource(pattern: str, resource: str) -> bool:
    """Part by part: a `*` for the region does not reach into the account."""
    resource_parts = resource.split(":", 4)
    pattern_parts = pattern.split(":", 4)
    return all(like(pattern_part, part) for pattern_part, part in zip(pattern_parts, resource_parts, strict=True))


_OPERATORS: dict[str, _Test] = {
    "Bool": lambda expected, value: expected.lower() == value,
    "StringEquals": lambda expected, value: expected == value,
    "StringNotEquals": lambda expected, value: expected == value,
    "StringEqualsIgnoreCase": lambda expected, value: expected.lower() == value.lower(),
    "StringNotEqualsIgnoreCase": lambda expected, value: expected.lower() == value.lower(),
    "StringLike": like,
    "StringNotLike": like,
}


def _policy(document: Any, extra: set[str]) -> Policy:
    if not isinstance(document, dict) or document.keys() != {"Version", "Statement"} or document["Version"] != "1":
        raise ValueError("a policy has Version 1 and Statement")
    if not isinstance(document["Statement"], list) or not document["Statement"]:
        raise ValueError("Statement must be a non-empty list")
    return Policy(tuple(_statement(item, extra) for item in document["Statement"]))


def _statement(item: Any, extra: set[str]) -> Statement:
    if not isinstance(item, dict) or not item.keys() <= {"Effect", "Action", "NotAction", "Condition"} | extra:
        raise ValueError(f"a statement has Effect, Action or NotAction, {', '.join(extra)}, Condition")
    if item.get("Effect") not in ("Allow", "Deny") or ("Action" in item) is ("NotAction" in item):
        raise ValueError("Effect is Allow or Deny, and there is either Action or NotAction")
    return Statement(
        allow=item["Effect"] == "Allow",
        actions=_texts(item.get("Action", item.get("NotAction"))),
        inverted="NotAction" in item,
        resources=_resources(item.get("Resource")) if "Resource" in extra else (),
        principals=_principals(item.get("Principal")) if "Principal" in extra else (),
        conditions=tuple(_conditions(item.get("Condition", {}))),
    )


def _resources(value: Any) -> tuple[str, ...]:
    resources = _texts(value)
    for resource in resources:
        if resource != "*" and not (resource.startswith("acs:") and resource.count(":") >= 4):
            raise ValueError(f"{resource} is neither * nor acs:<service>:<region>:<account>:<resource>")
    return resources


def _principals(value: Any) -> tuple[str, ...]:
    if not isinstance(value, dict) or not value or not value.keys() <= {"RAM", "Service"}:
        raise ValueError("Principal has RAM or Service")
    return tuple(text for part in value.values() for text in _texts(part))


def _conditions(value: Any) -> list[Condition]:
    if not isinstance(value, dict) or not all(isinstance(keys, dict) and keys for keys in value.values()):
        raise ValueError("Condition must be an object of operators, each an object of keys")
    return [
        Condition(operator, key, _texts(values)) for operator, keys in value.items() for key, values in keys.items()
    ]


def _texts(value: Any) -> tuple[str, ...]:
    """One string or a list of them, as a tuple."""
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("expected a string or a list of strings")
    return tuple(texts)
