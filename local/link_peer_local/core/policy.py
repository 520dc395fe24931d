"""RAM policies of sessions, as AssumeRole takes them: which actions they allow.

Resources and conditions are not evaluated. A statement that has any is read so that it never allows more than the real
cloud would: such an Allow allows nothing, such a Deny denies its actions everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct

from link_peer_local.core.json_text import loads


def matches(action: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns (`ecs:Describe*`, `*`) matches the action."""
    return any(fnmatchcase(action, pattern) for pattern in patterns)


class Statement(Struct, frozen=True):
    """One statement: it allows or denies the actions it matches."""

    allow: bool
    actions: tuple[str, ...]
    inverted: bool  # NotAction
    everywhere: bool  # Resource "*" and no Condition

    def applies(self, action: str) -> bool:
        """Whether the statement decides about this action."""
        return matches(action, self.actions) is not self.inverted and (self.everywhere or not self.allow)


class Policy(Struct, frozen=True):
    """A policy. An action is refused when no statement allows it, or when one denies it."""

    statements: tuple[Statement, ...]

    def allows(self, action: str) -> bool:
        """Whether the policy allows an action such as `ecs:DescribeInstances`."""
        applying = [statement.allow for statement in self.statements if statement.applies(action)]
        return bool(applying) and all(applying)


def parse(text: str) -> Policy:
    """Read a policy document. ValueError for an invalid one [doc RAM "policy structure and syntax"]."""
    policy = loads(text)
    if not isinstance(policy, dict) or policy.keys() != {"Version", "Statement"} or policy["Version"] != "1":
        raise ValueError("a policy has Version 1 and Statement")
    if not isinstance(policy["Statement"], list) or not policy["Statement"]:
        raise ValueError("Statement must be a non-empty list")
    return Policy(tuple(_statement(item) for item in policy["Statement"]))


def _statement(item: Any) -> Statement:
    if not isinstance(item, dict) or not item.keys() <= {"Effect", "Action", "NotAction", "Resource", "Condition"}:
        raise ValueError("a statement has Effect, Action or NotAction, Resource, Condition")
    if item.get("Effect") not in ("Allow", "Deny") or ("Action" in item) is ("NotAction" in item):
        raise ValueError("Effect is Allow or Deny, and there is either Action or NotAction")
    if not isinstance(item.get("Condition", {}), dict):
        raise ValueError("Condition must be an object")
    return Statement(
        allow=item["Effect"] == "Allow",
        actions=_texts(item.get("Action", item.get("NotAction"))),
        inverted="NotAction" in item,
        everywhere="*" in _texts(item.get("Resource")) and not item.get("Condition"),
    )


def _texts(value: Any) -> tuple[str, ...]:
    """One string or a list of them, as a tuple."""
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("expected a string or a list of strings")
    return tuple(texts)
