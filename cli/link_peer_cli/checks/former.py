"""Whether a name is a former one of the deployment, or that of another one which is still there."""

from __future__ import annotations

import re
from collections.abc import Iterator

from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.domain.tags import parse_instant, quoted, tag_keys
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.checks.running import LATE_SECONDS, sweeps_of_a_day
from link_peer_cli.deployed.functions import deployments
from link_peer_cli.review.delivery import suppose


def require_former(env: Environment, name: str, *, insists: bool) -> None:
    """Raises BadInput for what is no other name, and, unless the person `insists`, LinkPeerError where a deployment of that name
    may be alive, as far as can be told: its functions would go on opening what is closed."""
    if not re.fullmatch(r"[a-z0-9-]{1,32}", name):
        raise BadInput("--deployment", f"{quoted(name)} is not a name of a deployment: a-z, 0-9 and -")
    if name == env.policy.deployment:
        raise BadInput("--deployment", f"{name} is this deployment: link-peer close --all")
    if not insists and (signs := "; ".join(_signs_of_life(env, name))):
        raise LinkPeerError(
            f"nothing was changed: the deployment {name} may still be there: {signs}. If it is a former name of this one after "
            "all: --even-if-alive"
        )


def _signs_of_life(env: Environment, name: str) -> Iterator[str]:
    """Why the deployment may be one that is alive: its sweep was recorded in our log a moment ago, or last of all; functions
    of another prefix may be called so in their policy file. Also why that could not be told."""
    looking = env if env.reading else load_environment(reading=True)
    try:
        sweeps = sweeps_of_a_day(looking)
        last = max(sweeps, key=lambda record: record["time"], default={})
        theirs = max((one["time"] for one in sweeps if one.get("deployment") == name), default="")
        if theirs and (last.get("deployment") == name or env.clock.now() - parse_instant(theirs) < LATE_SECONDS):
            yield f"its sweep ran at {theirs}"
        groups = open_fetch(suppose(looking, "close")[0], "close", TOLERANT).all_groups(sorted(env.policy.accounts))
        keys = {key for group in groups for key in group.tags}
        for other in deployments(looking.settings, env.policy.home):
            if other.prefix == env.names.prefix:
                continue
            before, after = tag_keys(other.tag_prefix, "/", env.policy.home).managed.split("/")
            names = {key[len(before) : -len(after)] for key in keys if key.startswith(before) and key.endswith(after)}
            # where RAM refuses managed tags, nothing says what it is called
            if other.prefix == name or other.tag_prefix == env.settings.tag_prefix or name in names or not names:
                yield f"the functions {other.prefix}-… are in account {env.policy.home}, and may be its"
    except LinkPeerError as error:
        yield f"that could not be told: {error}"
