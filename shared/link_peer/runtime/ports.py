"""What the engine needs of the outside world, and no more: each account's ECS, the audit log, the request queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from link_peer.domain.model import Group, Instance, Party, Rule, RuleKey
from link_peer.domain.request import Message, SweepAccount

Record = dict[str, str]
"""One flat audit record; every value is a string."""


class Ecs(Protocol):
    """One account's ECS in one region. Reads return every page or raise, but for `instance_page`; ids that do not exist
    are left out.

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

    def instance_page(self, token: str = "", group: str = "") -> tuple[list[Instance], str]:
        """One page of the account's instances, or of a group's, and the token of the next one; empty after the last."""
        ...

    def shows_instances(self) -> bool:
        """Whether an unfiltered read shows any instance. Raises NoAccess where an empty answer means that none may be
        read."""
        ...

    def groups(self, ids: Sequence[str]) -> list[Group]:
        """Security groups by id."""
        ...

    def all_groups(self) -> list[Group]:
        """Every security group of the account."""
        ...

    def tagged_groups(self, tag: str) -> list[Group]:
        """The groups that carry a tag with this key and the value `true`."""
        ...

    def references(self, groups: Sequence[str]) -> list[Party]:
        """The groups with a rule that names one of these groups as its source or destination: at least the first
        hundred."""
        ...

    def inner_access(self, group: str) -> bool:
        """Whether the members of a basic group reach each other: InnerAccessPolicy Accept."""
        ...

    def addresses_taken(self, vpc: str, ips: Collection[str]) -> set[str]:
        """Those of these private IPv4 addresses that an instance or network interface in a VPC, as this account sees
        it, has."""
        ...

    def instances_of(self, interfaces: Sequence[str]) -> Mapping[str, str]:
        """The instances whose primary network interfaces these are, by the interface; without the secondary ones."""
        ...

    def rules(self, group: str) -> list[Rule]:
        """The rules of a group, of both directions."""
        ...

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]], *, advanced: bool = False) -> str:
        """Adds rules of one direction to a group, which may be an `advanced` one, each with its description."""
        ...

    def modify(self, group: str, rule_id: str, description: str, *, egress: bool = False) -> str:
        """Gives a rule another description, and our priority."""
        ...

    def revoke(self, group: str, rule_ids: Sequence[str], *, egress: bool = False) -> str:
        """Removes rules of one direction by id."""
        ...

    def tag(self, groups: Sequence[str], keys: Sequence[str]) -> str:
        """Puts tags with the value `true` on groups, at most 50."""
        ...

    def untag(self, group: str, keys: Sequence[str]) -> str:
        """Removes tags from a group."""
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
    """Where messages go."""

    def post(self, message: Message | SweepAccount, *, queue: str = "", delay: int = 0) -> None:
        """Puts a message on a queue of the home account, by its name; without one, on the shared queue of the settings.
        It is delivered after `delay` seconds. Raises Transient when the queue may not have it."""
        ...
