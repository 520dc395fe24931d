"""The local cloud with the project's functions deployed on it.

The local cloud is a project of its own. The import raises LinkPeerError where it is not installed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from link_peer.app import compose
from link_peer.domain.errors import LinkPeerError

from link_peer_cli.answers.operation import CloudDescribed
from link_peer_cli.ui.changes import CHANGES

HOW_TO_INSTALL = "in a clone of link-peer, run `make install`"

try:
    from aliyun_local.api import VARIABLES, Authority, LocalCloud, PastClock, serve

    from link_peer_cli.demo import history
    from link_peer_cli.demo import world as worlds
    from link_peer_cli.demo.deployment import deployment_of
    from link_peer_cli.demo.functions import deploy
    from link_peer_cli.demo.world import WorldError
except ModuleNotFoundError as missing:
    package = str(missing.name).partition(".")[0]
    text = f"the local cloud needs {package}, which is not installed: {HOW_TO_INSTALL}"
    raise LinkPeerError(text) from None

__all__ = ["VARIABLES", "LocalCloud", "WorldError", "deployment_of", "describe", "environment", "running"]


@contextmanager
def running(
    world: str = "", port: int = 0, *, region: str = "", connected: bool = True, tls: bool = False
) -> Iterator[LocalCloud]:
    """Serve a local cloud on loopback, over TLS if `tls`, with the functions in worker processes, until the block ends.

    It is entered at `region`, by default at the first that the world lists, else at cn-qingdao. If not `connected`, no
    event, message or timer invokes the functions; a bare world has none until they are deployed. Raises WorldError for
    an invalid world and OSError for a port in use.
    """
    clock = PastClock()
    world = world or worlds.DEFAULT
    cloud = LocalCloud(clock, region or worlds.entrance(world) or "cn-qingdao")
    worlds.load(cloud, world)
    with (
        TemporaryDirectory(prefix="link-peer-") as folder,
        serve(cloud, port, Authority(Path(folder)) if tls else None),
    ):
        if deployment_of(cloud).history:
            _play_history(cloud, clock)
        for place in cloud.regions.values():
            if not deployment_of(cloud).bare:
                deploy(place, connected=connected)
            place.triggers.start()
        try:
            yield cloud
        finally:
            CHANGES.clear()  # what was changed there ends with it
            for place in cloud.regions.values():
                place.triggers.close()


def _play_history(cloud: LocalCloud, clock: PastClock) -> None:
    """Play the world's history with the functions in this process, which read the time from the cloud's clock."""
    usual, compose.clock_for_functions = compose.clock_for_functions, lambda: clock
    try:
        history.play(cloud, clock, time.time())
    except (KeyError, ValueError) as problem:
        raise WorldError(f"history: {problem}") from problem
    finally:
        compose.clock_for_functions = usual


def describe(cloud: LocalCloud) -> CloudDescribed:
    """What `link-peer local --json` prints: the endpoint and the names of what the cloud holds."""
    return msgspec.convert(worlds.describe(cloud), CloudDescribed)


def environment(described: CloudDescribed) -> dict[str, str]:
    """Return the variables that point commands and SDKs at a local cloud."""
    home = described.accounts[0]
    return {
        "LINK_PEER_CLOUD": described.endpoint,
        **(dict.fromkeys(VARIABLES, described.authority) if described.authority else {}),
        "LINK_PEER_POLICY": described.policy,
        "LINK_PEER_REGION": described.region,
        "LINK_PEER_QUEUE": described.queue,
        "LINK_PEER_AUDIT_PROJECT": described.audit_project,
        "LINK_PEER_AUDIT_LOGSTORE": described.audit_logstore,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": home.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": home.access_key_secret,
    }
