"""What of a deployment still works with its resources: its functions, and the rules on security groups."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from link_peer.alicloud.sdk import client_config
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.retry import Retry
from msgspec.structs import replace

from link_peer_cli.access.roles import HomeKeys, PersonsAccounts
from link_peer_cli.setup.resource import Deployment
from link_peer_cli.setup.sdk import unless

SECONDS = 300.0


def in_use(deployment: Deployment) -> Iterator[str]:
    """One sentence for each function that exists, and for each account with groups that carry the managed tag, or that
    cannot be read."""
    yield from _functions(deployment)
    policy, clock, mine = deployment.policy, deployment.clock, deployment.settings.credentials
    acting = HomeKeys(lambda: mine, deployment.settings, policy, clock, deployment.names.reader_role)
    settings = replace(deployment.settings, credentials=acting())
    retry = Retry(clock, clock.now() + SECONDS, longest_wait=SECONDS)
    cloud = PersonsAccounts(settings, policy, clock, retry, "setup", reading=True)
    for uid in sorted(policy.accounts):
        try:
            groups = sorted(group.party.id for group in cloud.ecs(uid).tagged_groups(policy.keys.managed))
        except LinkPeerError as error:
            yield f"account {uid} cannot be read ({error}), so rules may be left there"
        else:
            if groups:
                yield f"account {uid} has groups with rules of link-peer: {', '.join(groups)}"


def _functions(deployment: Deployment) -> Iterator[str]:
    from alibabacloud_fc20230330 import models
    from alibabacloud_fc20230330.client import Client

    config = client_config(deployment.settings, "fc", deployment.settings.credentials)
    config.endpoint = config.endpoint or f"{deployment.policy.home}.{deployment.settings.region}.fc.aliyuncs.com"
    client, request = Client(config), models.GetFunctionRequest()
    for name in sorted(deployment.names.functions.values()):
        if unless({"FunctionNotFound"}, functools.partial(client.get_function, name, request)) is not None:
            yield f"the function {name} exists: run `s remove -y`"
