"""What the engine needs of the outside world, and no more: each account's ECS, the audit log, the request queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from link_peer.domain.model import Group, Instance, Rule, RuleKey
from link_peer.domain.request import Request

Record = dict[str, str]
"""One flat audit record; every value is a string."""


class Ecs(Protocol):
    """One account's ECS in one region. Reads return every page or raise; ids that do not exist are left out.

    Every method raises Transient (Ambiguous when no answer could be read), NoAccess, or CloudError with the platform's
    code. Changes return the cloud's RequestId.
    """

    account: str

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        """Instances by id."""
        ...

    def members(self, group: str) -> list[Instance]:
        """Every instance of a group."""
        ...

    def all_instances(self) -> list[Instance]:
        """Every instance of the account."""
        ...

    def shows_instances(self) -> bool:
        """Whether an unfiltered read shows any instance."""
        ...

    def groups(self, ids: Sequence[str]) -> list[Group]:
        """Security groups by id."""
        ...

    def all_groups(self) -> list[Group]:
        """Every security group of the account."""
        ...

    def managed_groups(self, deployment: str) -> list[Group]:
        """The groups that carry the managed tag of a deployment."""
        ...

    def rules(self, group: str) -> list[Rule]:
        """The ingress rules of a group."""
        ...

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        """Adds ingress rules, each with its description."""
        ...

    def modify(self, group: str, rule_id: str, description: str) -> str:
        """Gives a rule another description, and our priority."""
        ...

    def revoke(self, group: str, rule_ids: Sequence[str]) -> str:
        """Removes ingress rules by id."""
        ...

    def tag_managed(self, group: str, deployment: str) -> str:
        """Puts the managed tag of a deployment on a group."""
        ...

    def untag_managed(self, group: str, deployment: str) -> str:
        """Takes the managed tag of a deployment off a group."""
        ...


class Cloud(Protocol):
    """The way into each account of the policy. `calls` counts API calls by action."""

    calls: Counter[str]

    def ecs(self, account: str) -> Ecs:
        """That account's ECS. Raises NoAccess when the account cannot be entered."""
        ...


class AuditLog(Protocol):
    """Where records go."""

    def write(self, records: Sequence[Record]) -> None:
        """Returns once the records are durable. Raises Transient when they may not be."""
        ...


class Queue(Protocol):
    """Where requests go."""

    def post(self, request: Request) -> None:
        """Puts a request on its queue. Raises Transient when the queue may not have it."""
        ...
