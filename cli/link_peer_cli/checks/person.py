"""Whether the person who runs the command may read and operate: other accounts refuse a person who may not."""

from __future__ import annotations

from collections.abc import Iterator

from link_peer.domain.denials import parts

from link_peer_cli.access.environment import Environment
from link_peer_cli.access.roles import acting
from link_peer_cli.checks.finding import OK, WARNING, CheckFinding


def check(env: Environment) -> Iterator[CheckFinding]:
    """A finding for each of home's two roles for people. That of the operator is assumed too, and used for nothing."""
    operating = acting(env.person_keys, env.settings, env.policy, env.clock, env.names.operator_role)
    for role, keys in {env.names.reader_role: env.keys, env.names.operator_role: operating}.items():
        detail, command = parts(keys.refusal)
        state = WARNING if keys.refusal else OK
        yield CheckFinding(state, "", f"your role {role}", detail or f"{env.person_keys.arn} may assume it", command)
