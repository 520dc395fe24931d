"""The account and identity that keys belong to."""

from __future__ import annotations

from link_peer.alicloud.sdk import call, client_config
from link_peer.runtime.settings import Credentials, Settings


def caller(settings: Settings, credentials: Credentials) -> tuple[str, str]:
    """The account uid and the ARN of keys [doc GetCallerIdentity]. Raises CloudError if STS refuses them."""
    from alibabacloud_sts20150401.client import Client

    config = client_config(settings, "sts", credentials)
    config.endpoint = config.endpoint or f"sts.{settings.region}.aliyuncs.com"
    body = call(Client(config).get_caller_identity).body
    return str(body.account_id), str(body.arn)
