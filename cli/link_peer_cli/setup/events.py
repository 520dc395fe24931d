"""The service-linked roles by which EventBridge has the events and delivers them. Without them, nothing arrives.

`s deploy` makes those of its triggers, too [src fc3 0.1.22]; event rules and streams made in another way need them as well.
"""

from __future__ import annotations

from link_peer_cli.deployed.rules import Bus
from link_peer_cli.setup.resource import Resource, SetupTarget, State


def resources(deployment: SetupTarget) -> list[Resource]:
    """The service-linked roles."""
    return [LinkedRole(deployment, name) for name in deployment.description.linked_roles]


class LinkedRole(Resource):
    """A service-linked role. It is of the account: whatever else uses EventBridge there needs it, too."""

    kind = "service-linked role"
    of_the_account = True

    def __init__(self, deployment: SetupTarget, name: str) -> None:
        self._settings = deployment.settings
        self.name = name

    @property
    def target_state(self) -> State:
        """Nothing but that it exists."""
        return {}

    def read(self) -> State | None:
        """Whether it exists."""
        return {} if Bus(self._settings).may(self.name) else None

    def create(self) -> None:
        """Create it."""
        Bus(self._settings).let(self.name)

    def update(self) -> None:
        """Nothing of it is ever changed."""

    def delete(self) -> None:
        """It is never deleted."""
