"""The service-linked roles by which EventBridge has the events and delivers them. Without them, nothing arrives.

`s deploy` makes those of its triggers, too [src fc3 0.1.22]; event rules and streams made in another way need them as
well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from link_peer.domain.errors import CloudError, NoAccess
from link_peer_deploy.description import LinkedRole

from link_peer_cli.deployed.rules import Bus, BusRule
from link_peer_cli.setup.resource import NotOffered, Resource, SetupTarget, State
from link_peer_cli.setup.roles import NO_ROLE, Ram


def resources(deployment: SetupTarget) -> list[Resource]:
    """The service-linked roles."""
    ram = Ram(deployment)
    return [ServiceLinkedRole(deployment, ram, role) for role in deployment.description.linked_roles]


def of_functions(deployment: SetupTarget, rules: Iterable[BusRule]) -> list[BusRule]:
    """Those rules of the bus that invoke auto_link."""
    ours = re.compile(rf"functions/{re.escape(deployment.names.functions['auto_link'])}(?![A-Za-z0-9_-])")
    return [rule for rule in rules if any(map(ours.search, rule.endpoints))]


class ServiceLinkedRole(Resource):
    """A service-linked role, under any of its names. It is of the account: whatever else uses the service there needs
    it, too."""

    kind = "service-linked role"
    of_the_account = True

    def __init__(self, deployment: SetupTarget, ram: Ram, role: LinkedRole) -> None:
        self._deployment = deployment
        self._ram = ram
        self._names = role.names
        self.name = " or ".join(role.names)
        self.without, self.is_needed = role.without, role.is_needed

    @property
    def target_state(self) -> State:
        """Nothing but that it exists."""
        return {}

    def read(self) -> State | None:
        """Whether it exists under one of its names. One of which no source says that it is needed is not missed where
        rules of the functions are on the bus: Function Compute made them without it."""
        is_there = any(self._ram.ask("get_role", {NO_ROLE}, role_name=name) for name in self._names)
        if is_there or self.is_needed:
            return {} if is_there else None
        return {} if of_functions(self._deployment, Bus(self._deployment.settings).rules()) else None

    def create(self) -> None:
        """Create it under each of its names, since any may be the one that is needed. Raises NotOffered if each is
        refused."""
        refusals = [refusal for name in self._names if (refusal := self._refusal(name))]
        if len(refusals) == len(self._names):
            raise NotOffered(f"{'; '.join(refusals)}. Without it, {self.without}")

    def _refusal(self, name: str) -> str:
        """Why EventBridge does not create it under a name; empty if it does."""
        try:
            Bus(self._deployment.settings).let(name)
        except NoAccess:
            raise
        except CloudError as error:
            return f"EventBridge does not take the name {name} ({error.code})"
        return ""

    def update(self) -> None:
        """Nothing of it is ever changed."""

    def delete(self) -> None:
        """It is never deleted."""
