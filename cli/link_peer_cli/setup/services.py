"""Whether the services that a deployment needs are activated, and whether the keys are those of its account."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from link_peer.alicloud import mns, sls
from link_peer.alicloud.sdk import call
from link_peer.domain.errors import Throttled

from link_peer_cli.access import identity
from link_peer_cli.access.identity import identified
from link_peer_cli.deployed.port import fc3
from link_peer_cli.deployed.rules import Bus
from link_peer_cli.setup.engine import Wait, patiently, say_wait
from link_peer_cli.setup.resource import SetupTarget
from link_peer_cli.setup.roles import Ram
from link_peer_cli.setup.sdk import log_call, queue_call


class Service(msgspec.Struct, frozen=True):
    """A service, a harmless read of it, the page that activates it, and codes or texts with which it refuses an account
    that has not activated it. `global_`: it is one for all regions."""

    name: str
    read: Callable[[SetupTarget], object]
    page: str
    not_active: tuple[str, ...] = ()
    global_: bool = False


def require_home(deployment: SetupTarget, wait: Wait = say_wait) -> None:
    """Raise OtherAccount unless the keys belong to the policy's home account. Where nothing answers this first call,
    there is no network, or another address is meant: no minute is waited for it."""
    keys = patiently(lambda: identified(deployment.settings), deployment.clock, wait, Throttled)
    identity.require_home(keys, deployment.policy)


def _functions(deployment: SetupTarget) -> object:
    client, models = fc3(deployment.settings, deployment.policy.home)
    return call(lambda: client.list_functions(models.ListFunctionsRequest(limit=1)))


def _queues(deployment: SetupTarget) -> object:
    account = mns.account(deployment.settings, deployment.policy.home)
    return queue_call(lambda: account.list_queue(ret_number=1))


def _logs(deployment: SetupTarget) -> object:
    client = sls.client(deployment.settings)
    return log_call(lambda: client.list_project(size=1))


SERVICES = (
    Service(
        "RAM",
        lambda deployment: Ram(deployment).ask("list_roles", max_items=1),
        "https://ram.console.aliyun.com",
        global_=True,
    ),
    Service(
        "Function Compute",
        _functions,
        "https://fcnext.console.aliyun.com",
        ("service is not enabled for current user",),
    ),
    Service(
        "EventBridge",
        lambda deployment: Bus(deployment.settings).buses(),
        "https://eventbridge.console.aliyun.com",
        ("ServiceAccessDenied", "ServiceNotEnable"),
    ),
    Service("SMQ (MNS)", _queues, "https://mns.console.aliyun.com"),
    Service("SLS", _logs, "https://sls.console.aliyun.com", ("is inactive",)),
)
"""The texts are those of `local/aliyun_local/core/errors.py`, with their sources; for MNS none is known. The default
bus of EventBridge carries the events of ECS and of ActionTrail, which needs no activation of its own."""
