"""The SLS client as this project uses it: one attempt a call, and any endpoint."""

from __future__ import annotations

import re
from typing import Any, cast

from aliyun.log import LogClient
from aliyun.log.logexception import LogException

from link_peer.runtime.settings import Settings

TIMEOUT_SECONDS = 5


class AuditUnavailable(Exception):
    """A refused or failed call. Not a LogException, so that the SDK's own ten attempts, a second apart, do not happen."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class OneAttemptClient(LogClient):
    """LogClient without its retry loop: retries are ours, bounded by the function's time."""

    def _sendRequest(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # the SDK's name
        try:
            return super()._sendRequest(*args, **kwargs)  # type: ignore[misc]
        except LogException as error:
            raise AuditUnavailable(error.get_error_code(), error.get_error_message()[:300]) from error


def client(settings: Settings) -> LogClient:
    """A client for the region's endpoint, or for the one in the settings."""
    scheme, host = settings.endpoint("sls")
    endpoint = f"{scheme}://{host}" if host else f"https://{settings.region}.log.aliyuncs.com"
    credentials = settings.credentials
    made: Any = OneAttemptClient(
        endpoint,
        credentials.access_key_id,
        credentials.access_key_secret,
        credentials.security_token,
        source="link-peer",  # else the SDK opens a socket to find out this host's address
        region=settings.region,
    )
    made.timeout = TIMEOUT_SECONDS
    if re.fullmatch(r"[\d.]+(:\d+)?", host):
        # the SDK looks up <project>.<host>, which an address has not; with this the project travels in Host only.
        # It sets this itself for an address without a port (Util.is_row_ip).
        made._isRowIp = True
    return cast(LogClient, made)
