"""Which instances of an account run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from link_peer.alicloud import ecs_shapes as shapes
from link_peer.domain.model import Party

from link_peer_cli.access.ecs import PersonalEcs
from link_peer_cli.access.environment import Environment

PAGE = 100  # [doc DescribeInstances: MaxResults <= 100]


def read_running(env: Environment, accounts: Iterable[str]) -> frozenset[Party]:
    """The instances of these accounts that run: one call for 100. Raises LinkPeerError if an account cannot be read."""
    persons_accounts, retry = env.accounts("tighten", env.patient_retry()), env.patient_retry()
    running: set[Party] = set()
    for account in sorted(accounts):
        ecs = PersonalEcs(env.settings, persons_accounts.keys(account), env.clock)
        token = ""
        while True:

            def page(ecs: PersonalEcs = ecs, token: str = token) -> Any:
                return ecs.ask("describe_instances", status="Running", max_results=PAGE, next_token=token or None)

            body = retry(page)
            rows = shapes.items(body.instances, "instance")
            running |= {Party(account, row.instance_id) for row in rows if row.instance_id}
            token = body.next_token or ""
            if not token:
                break
    return frozenset(running)
