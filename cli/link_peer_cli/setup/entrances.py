"""The entrances of a local cloud: each region that is in use has one, for all its services."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.domain.errors import BadInput, LinkPeerError

from link_peer_cli.access.regions import local_entrances
from link_peer_cli.setup.resource import SetupTarget


def entrances(deployment: SetupTarget) -> Mapping[str, str] | None:
    """The URLs of the regions of a local cloud, as its DescribeRegions names them; None where the settings do not lead
    to one. Raises LinkPeerError if it does not answer."""
    return local_entrances(deployment.settings, deployment.clock)


def require_own_entrance(deployment: SetupTarget) -> None:
    """Raise BadInput where a local cloud is asked for one region at the entrance of another: queues and functions are
    those of the entrance. One that does not say is taken for the region's."""
    region, url = deployment.settings.region, deployment.settings.endpoints.get("ecs", "")
    try:
        urls = entrances(deployment) or {}
    except LinkPeerError:
        return
    owner = next((name for name, address in urls.items() if address == url.rstrip("/")), region)
    if owner != region:
        region_url = urls.get(region) or "not there: name the region in `regions` of the world's file"
        raise BadInput("LINK_PEER_CLOUD", f"{url} is the entrance of {owner}; that of {region} is {region_url}")
