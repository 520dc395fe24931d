"""What `link-peer setup` makes: roles with their policies, queues, logs, alerts and alarms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from link_peer.domain.errors import LinkPeerError

from link_peer_cli.checks.finding import DIFFERS, MISSING, OK, WARNING, Finding, unreadable

if TYPE_CHECKING:
    from link_peer_cli.io.environment import Environment

SECONDS = 20.0  # for which a resource is asked again while a service is in trouble
ADVICE = "link-peer setup"


def check(env: Environment) -> Iterator[Finding]:
    """Whether each resource is as it is shipped."""
    from link_peer.runtime.retry import Retry

    from link_peer_cli.setup import Action, Deployment, resources
    from link_peer_cli.setup.resource import change_of

    deployment = Deployment(env.settings, env.policy, env.names, env.clock)
    for resource in resources(deployment):
        retry = Retry(env.clock, env.clock.now() + SECONDS)
        try:
            change = retry(lambda resource=resource: change_of(resource))  # type: ignore[misc]
        except LinkPeerError as error:
            yield unreadable("", resource.label, error)
            continue
        if change.action is Action.CREATE:
            yield Finding(MISSING, "", resource.label, "does not exist", ADVICE)
        elif change.action is Action.UPDATE:
            fields = ", ".join(change.fields)
            yield Finding(DIFFERS, "", resource.label, f"differs from what is shipped in: {fields}", ADVICE)
        elif change.action is Action.SKIP:
            yield Finding(WARNING, "", resource.label, f"does not exist: {change.detail}", ADVICE)
        else:
            yield Finding(OK, "", resource.label, "as shipped")
