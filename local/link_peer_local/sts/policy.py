"""A RAM policy, as AssumeRole takes one for a session: which actions it lets through.

Resources and conditions are not known here. A statement that names some is read so that nothing is allowed which the
real cloud could refuse: such an Allow allows nothing, such a Deny denies its actions everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from link_peer_local.core.json_text import loads


def matches(action: str, patterns: Sequence[str]) -> bool:
    """Whether one of `ecs:Describe*`, `*`, … names the action."""
    return any(fnmatchcase(action, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Statement:
    allow: bool
    actions: tuple[str, ...]
    inverted: bool  # NotAction
    everywhere: bool  # Resource "*", no Condition

    def applies(self, action: str) -> bool:
        return matches(action, self.actions) is not self.inverted and (self.everywhere or not self.allow)


@dataclass(frozen=True, slots=True)
class Policy:
    """What no statement allows is refused, and so is what one denies."""

    statements: tuple[Statement, ...]

    def allows(self, action: str) -> bool:
        applying = [statement.allow for statement in self.statements if statement.applies(action)]
        return bool(applying) and all(applying)


def parse(text: str) -> Policy:
    """ValueError for what has not passed the grammar check [doc RAM "policy structure and syntax"]."""
    policy = loads(text)
    if not isinstance(policy, dict) or policy.keys() != {"Version", "Statement"} or policy["Version"] != "1":
        raise ValueError("Version and Statement are wanted")
    if not isinstance(policy["Statement"], list) or not policy["Statement"]:
        raise ValueError("Statement: a list")
    return Policy(tuple(_statement(item) for item in policy["Statement"]))


def _statement(item: Any) -> Statement:
    if not isinstance(item, dict) or not item.keys() <= {"Effect", "Action", "NotAction", "Resource", "Condition"}:
        raise ValueError("a statement: Effect, Action or NotAction, Resource, Condition")
    if item.get("Effect") not in ("Allow", "Deny") or ("Action" in item) is ("NotAction" in item):
        raise ValueError("Effect: Allow or Deny; either Action or NotAction")
    if not isinstance(item.get("Condition", {}), dict):
        raise ValueError("Condition: an object")
    return Statement(
        allow=item["Effect"] == "Allow",
        actions=_texts(item.get("Action", item.get("NotAction"))),
        inverted="NotAction" in item,
        everywhere="*" in _texts(item.get("Resource")) and not item.get("Condition"),
    )


def _texts(value: Any) -> tuple[str, ...]:
    """One text or a list of them."""
    texts = value if isinstance(value, list) else [value]
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError("a text, or a list of texts")
    return tuple(texts)
