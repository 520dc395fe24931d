"""Whether another deployment acts on the same tags, and whether the functions act on those of the commands."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.errors import LinkPeerError

from link_peer_cli.access.environment import Environment
from link_peer_cli.checks.finding import DIFFERS, CheckFinding, unreadable
from link_peer_cli.setup.neighbours import conflicts, deployments


def check(env: Environment) -> Iterator[CheckFinding]:
    """One finding for each deployment with the same tags or the same name, and one if the functions have other tags."""
    settings, prefix = env.settings, env.names.prefix
    try:
        found = list(conflicts(settings, env.policy, prefix, env.clock))
        own = [one.tag_prefix for one in deployments(settings, env.policy.home) if one.prefix == prefix]
    except LinkPeerError as error:
        yield unreadable("", "other deployments", error)
        return
    for problem in found:
        detail, _, advice = problem.rpartition(": ")
        yield CheckFinding(DIFFERS, "", "other deployment", detail, advice)
    for tag_prefix in own:
        if tag_prefix != settings.tag_prefix:
            detail = f"the functions act on tags {tag_prefix}-…, and LINK_PEER_TAG_PREFIX is {settings.tag_prefix} here"
            yield CheckFinding(DIFFERS, "", "tag prefix", detail, "set it as it was when the functions were deployed")
