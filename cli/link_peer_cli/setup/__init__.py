"""What a deployment needs besides its functions, as a list of resources that `setup` makes and `doctor` checks."""

from __future__ import annotations

from link_peer_cli.setup import alerts, events, logs, queues, roles
from link_peer_cli.setup.engine import plan
from link_peer_cli.setup.resource import Action, Resource, ResourceChange, SetupTarget, State

__all__ = ["Action", "Resource", "ResourceChange", "SetupTarget", "State", "plan", "resources"]


def resources(deployment: SetupTarget) -> list[Resource]:
    """Every resource of a deployment but its functions, in the order in which they are created: first the log project,
    whose name another customer may hold, and which it takes a while until every server knows."""
    services = (roles, events, queues, logs, alerts)
    all_resources = [resource for service in services for resource in service.resources(deployment)]
    return sorted(all_resources, key=lambda resource: resource.kind != logs.LogProject.kind)
