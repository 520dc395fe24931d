"""What the decisions need of the cloud, and no more: one account's ECS, and the way into each account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from link_peer.domain.model import Group, Instance, Rule, RuleKey


class Ecs(Protocol):
    """One account's ECS in one region. Reads are whole (every page) or raise; ids that are not shown are left out.

    Every method raises Transient (Ambiguous when no answer could be read), NoAccess, or CloudError with the platform's
    code.
    Changes answer with the cloud's RequestId.
    """

    account: str

    def instances(self, ids: Sequence[str]) -> list[Instance]: ...

    def members(self, group: str) -> list[Instance]: ...

    def all_instances(self) -> list[Instance]: ...

    def shows_instances(self) -> bool: ...

    def groups(self, ids: Sequence[str]) -> list[Group]: ...

    def all_groups(self) -> list[Group]: ...

    def managed_groups(self, deployment: str) -> list[Group]: ...

    def rules(self, group: str) -> list[Rule]: ...

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str: ...

    def modify(self, group: str, rule_id: str, description: str) -> str: ...

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str: ...

    def tag_managed(self, group: str, deployment: str) -> str: ...

    def untag_managed(self, group: str, deployment: str) -> str: ...


class Cloud(Protocol):
    """The way into each account of the policy. `calls` counts what was asked, by action."""

    calls: Counter[str]

    def ecs(self, account: str) -> Ecs:
        """That account's ECS. Raises NoAccess when the account cannot be entered."""
        ...
