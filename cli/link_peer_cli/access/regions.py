"""The other regions of the cloud, with the settings that lead there."""

from __future__ import annotations

from collections.abc import Mapping

from link_peer.alicloud.sdk import call
from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.clock import Clock
from link_peer.runtime.settings import Settings
from msgspec.structs import replace

from link_peer_cli.access.ecs import PersonalEcs

_REAL = ".aliyuncs.com"
"""How the hosts of the real cloud end."""
_EVERYWHERE = ("sts", "ram")
"""The services whose endpoints serve every region."""


def region_hosts(settings: Settings, clock: Clock) -> Mapping[str, str]:
    """The host of ECS in each region, as DescribeRegions names them. Raises LinkPeerError if they cannot be read."""
    ecs = PersonalEcs(settings, settings.credentials, clock)
    body = call(lambda: ecs.client.describe_regions(ecs.models.DescribeRegionsRequest())).body
    if not body.regions:
        raise LinkPeerError("DescribeRegions names no region")
    return {row.region_id: row.region_endpoint or "" for row in body.regions.region}


def local_entrances(settings: Settings, clock: Clock) -> Mapping[str, str] | None:
    """The URLs of the regions of a local cloud; None where the settings do not lead to one. Raises LinkPeerError if it
    does not answer."""
    scheme, host = settings.endpoint("ecs")
    if not host or host.endswith(_REAL):
        return None
    hosts = region_hosts(settings, clock)
    return {region: f"{scheme}://{host}" for region, host in hosts.items() if host and not host.endswith(_REAL)}


def other_regions(settings: Settings, clock: Clock) -> list[Settings]:
    """The settings for each other region that the API names, by name; of a local cloud, those that have an entrance:
    nobody has been in the others. Raises LinkPeerError if they cannot be read."""
    urls = local_entrances(settings, clock)
    shared_endpoints = {name: url for name, url in settings.endpoints.items() if name in _EVERYWHERE}
    return [
        replace(
            settings,
            region=region,
            endpoints=dict.fromkeys(settings.endpoints, urls[region]) if urls is not None else shared_endpoints,
        )
        for region in sorted(region_hosts(settings, clock) if urls is None else urls)
        if region != settings.region
    ]
