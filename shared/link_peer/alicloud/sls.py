"""The SLS client: one attempt for each call, and any endpoint.

Names are imported from the SDK's modules, not from `aliyun.log`: the package leaves out the `__init__` that imports
them all.
"""

from __future__ import annotations

import functools
import re
from typing import Any, cast

from aliyun.log.logclient import LogClient
from aliyun.log.logexception import LogException

from link_peer.alicloud import tls
from link_peer.runtime.settings import Credentials, Settings

TIMEOUT_SECONDS = 5
CLIENTS = 4  # kept; a function instance needs one, and another when its credentials are renewed


class AuditUnavailable(Exception):
    """A call failed. Not a LogException, because the SDK would retry that ten times, a second apart."""

    def __init__(self, code: str, message: str, request_id: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.request_id = request_id


class OneAttemptClient(LogClient):
    """LogClient without its retry loop: we retry ourselves, within the time limit of the function."""

    def _sendRequest(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # the SDK's name
        try:
            return super()._sendRequest(*args, **kwargs)  # type: ignore[misc]
        except LogException as error:
            answer = error.get_error_code(), error.get_error_message()[:300], error.get_request_id() or ""
            raise AuditUnavailable(*answer) from error


def client(settings: Settings, timeout: float = 0) -> LogClient:
    """The client for the region's endpoint, or for the one in the settings. `timeout` is how many seconds it waits for
    an answer, where that is not as long as a function has.

    One client is kept for each endpoint and key, because its connection is kept with it: an event that follows another
    saves the TCP and TLS handshakes. It may be used by several threads.
    """
    scheme, host = settings.endpoint("sls")
    return _client(scheme, host, settings.region, settings.credentials, timeout or TIMEOUT_SECONDS)


@functools.lru_cache(maxsize=CLIENTS)
def _client(scheme: str, host: str, region: str, credentials: Credentials, timeout: float) -> LogClient:
    endpoint = f"{scheme}://{host}" if host else f"https://{region}.log.aliyuncs.com"
    client: Any = OneAttemptClient(
        endpoint,
        credentials.access_key_id,
        credentials.access_key_secret,
        credentials.security_token,
        source="link-peer",  # without it the SDK opens a socket to find this host's address
        region=region,
    )
    client.timeout = timeout
    if client.http_type == "https://":
        tls.context()  # here, because the SDK would take its error for that of a call
        client._session = tls.session()
    if re.fullmatch(r"[\d.]+(:\d+)?", host):
        # The SDK would connect to <project>.<host>, which does not resolve for an IP address. With this flag it puts
        # the project into the Host header only. It sets the flag itself for an address without a port (Util.is_row_ip).
        client._isRowIp = True
    return cast(LogClient, client)
