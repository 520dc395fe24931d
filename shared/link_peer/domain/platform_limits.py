"""The platform's limits on which its own documents disagree, or on which link-peer decides: two ends each, with the
sources.

What exceeds `high` is refused before it is tried, since every document refuses it. What exceeds `low` alone is tried,
with a warning that names both numbers. Where there is another way, nothing exceeds `low`.
"""

from __future__ import annotations

from msgspec import Struct


class PlatformLimit(Struct, frozen=True):
    """How many of something the platform allows: `low` is the least that a document gives, `high` the most. `sources`
    are the documents, of the lower number first."""

    low: int
    high: int
    sources: tuple[str, ...]

    def is_exceeded(self, count: int) -> bool:
        """Whether every document refuses so many."""
        return count > self.high

    def is_in_doubt(self, count: int) -> bool:
        """Whether one document refuses so many, and another allows them."""
        return self.low < count <= self.high

    def __str__(self) -> str:
        """Both numbers, for people."""
        return f"{self.low} by one document, {self.high} by another" if self.low < self.high else f"{self.low}"


GROUP_SOURCES = PlatformLimit(
    20, 20, ("AuthorizeSecurityGroup, 400 AuthorizedGroupRule.LimitExceed", "ECS security group limits, 2026-01")
)
"""Rules of a basic group whose source is a group, by the first; groups that such rules may name, by the second."""

GROUP_RULES = PlatformLimit(
    200, 1_000, ("VPC prefix lists; AuthorizeSecurityGroup, 2024-11", "AuthorizeSecurityGroup, 2026-01")
)
"""Rules of one group, of both directions; by the second, those of all groups of one network interface together."""

BUS_RULES = PlatformLimit(
    10, 50, ("Function Compute, event triggers for Alibaba Cloud services, 2025-10", "EventBridge limits, 2026")
)
"""Rules of the default event bus in a region."""

TRIGGERS = PlatformLimit(
    10, 50, ("Function Compute, manage triggers, 2026-03", "Function Compute, limits of usage, 2026-02")
)
"""Triggers of a function. Each one on a queue also counts towards the event streams of a region, of which no page gives
the number."""

ROLE_POLICIES = PlatformLimit(5, 10, ("RAM error codes, LimitExceeded.Role.Policy", "RAM limits, 2025-12"))
"""Custom policies of a role; can be raised."""

QUEUES = PlatformLimit(1_000, 1_000, ("SMQ limits",))
"""Queues of an account in a region; can be raised."""
