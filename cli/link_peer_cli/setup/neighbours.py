"""Other deployments with the same home account and region, as their functions show them."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.policy import Policy
from link_peer.domain.tags import tag_keys
from link_peer.runtime.clock import Clock
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Settings

from link_peer_cli.access.roles import PersonsAccounts
from link_peer_cli.deployed.functions import deployments

SECONDS = 60.0


def conflicts(settings: Settings, policy: Policy, prefix: str, clock: Clock) -> Iterator[str]:
    """Why the deployment with this prefix would share tags or rules with another one: each would undo what the other does.
    Raises the errors of link_peer.domain.errors."""
    for other in deployments(settings, policy.home):
        if other.prefix == prefix:
            continue
        if other.tag_prefix == settings.tag_prefix:
            yield (
                f"the deployment {other.prefix} in account {policy.home} acts on the same tags, {other.tag_prefix}-…: "
                "give each a LINK_PEER_TAG_PREFIX of its own"
            )
            continue
        retry = Retry(clock, clock.now() + SECONDS)
        home = PersonsAccounts(settings, policy, clock, retry, "neighbours", reading=True).ecs(policy.home)
        managed = tag_keys(other.tag_prefix, policy.deployment, policy.home).managed
        if groups := sorted(group.party.id for group in home.tagged_groups(managed)):
            yield (
                f"the deployment {other.prefix} in account {policy.home} is called {policy.deployment} in its policy file, too, "
                f"so each takes the rules of the other for its own ({', '.join(groups[:3])}): change `deployment` in this "
                "policy file before it has rules"
            )
