"""The reads of an account's ECS, passed on; what changes anything is left to a subclass."""

from __future__ import annotations

from collections.abc import Sequence

from link_peer.domain.model import Group, Instance, Party, Rule
from link_peer.runtime.ports import Ecs


class Reads:
    """The reading half of an `Ecs`, from a real one."""

    def __init__(self, real: Ecs) -> None:
        self.account = real.account
        self._real = real

    def instances(self, ids: Sequence[str]) -> list[Instance]:
        """As `Ecs.instances`."""
        return self._real.instances(ids)

    def members(self, group: str) -> list[Instance]:
        """As `Ecs.members`."""
        return self._real.members(group)

    def instance_page(self, token: str = "") -> tuple[list[Instance], str]:
        """As `Ecs.instance_page`."""
        return self._real.instance_page(token)

    def shows_instances(self) -> bool:
        """As `Ecs.shows_instances`."""
        return self._real.shows_instances()

    def groups(self, ids: Sequence[str]) -> list[Group]:
        """As `Ecs.groups`."""
        return self._real.groups(ids)

    def all_groups(self) -> list[Group]:
        """As `Ecs.all_groups`."""
        return self._real.all_groups()

    def tagged_groups(self, tag: str) -> list[Group]:
        """As `Ecs.tagged_groups`."""
        return self._real.tagged_groups(tag)

    def references(self, groups: Sequence[str]) -> list[Party]:
        """As `Ecs.references`."""
        return self._real.references(groups)

    def rules(self, group: str) -> list[Rule]:
        """As `Ecs.rules`."""
        return self._real.rules(group)

    def inner_access(self, group: str) -> bool:
        """As `Ecs.inner_access`."""
        return self._real.inner_access(group)

    def address_taken(self, vpc: str, ip: str) -> bool:
        """As `Ecs.address_taken`."""
        return self._real.address_taken(vpc, ip)
