"""The public endpoint of the queues: an account may close it, or open it to some networks only."""

from __future__ import annotations

from typing import Any

import msgspec
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import CloudError
from link_peer.runtime.settings import Settings

EVERYWHERE = "0.0.0.0/0"


class PublicEndpoint(msgspec.Struct, frozen=True):
    """Whether the public endpoint is on, and the networks that it answers."""

    is_enabled: bool
    networks: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """Whether it answers everybody."""
        return self.is_enabled and EVERYWHERE in self.networks


def internal(home: str, region: str) -> str:
    """The endpoint that answers within the region whatever the public one does [doc SMQ endpoints]."""
    return f"https://{home}.mns.{region}-internal.aliyuncs.com"


def public_endpoint(settings: Settings) -> PublicEndpoint:
    """The public endpoint of the keys' account. Raises LinkPeerError if it cannot be read.

    GetEndpointAttribute of mns-open 2022-01-19, whose own SDK is not needed for one call [src SDK mns-open20220119
    1.4.1].
    """
    from alibabacloud_tea_openapi import client, utils_models  # an SDK: when it is asked, since help needs none

    config = client_config(settings, "mns_open", settings.credentials)
    config.endpoint = config.endpoint or f"mns-open.{settings.region}.aliyuncs.com"
    params = utils_models.Params(
        action="GetEndpointAttribute",
        version="2022-01-19",
        protocol=config.protocol,
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    request = utils_models.OpenApiRequest(query={"EndpointType": "public"})
    answer: Any = call(lambda: client.Client(config).call_api(params, request, client.RuntimeOptions()))
    data = (answer.get("body") or {}).get("Data") or {}
    if not isinstance(is_enabled := data.get("EndpointEnabled"), bool):
        raise CloudError("UnreadableAnswer", "GetEndpointAttribute does not say whether the endpoint is enabled")
    return PublicEndpoint(is_enabled, tuple(str(entry.get("Cidr", "")) for entry in data.get("CidrList") or ()))
