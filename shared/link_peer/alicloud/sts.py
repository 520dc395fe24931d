"""The way into each account: home with the function's own keys, the others by AssumeRole.

Roles and external ids come from the policy file alone; no message and no tag can name one.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from typing import Any

import msgspec

from link_peer.alicloud.ecs import SdkEcs
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import Ambiguous, BadInput, CloudError, NoAccess
from link_peer.domain.policy import Policy
from link_peer.domain.tags import parse_instant
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

SESSION_SECONDS = 900  # the shortest STS gives
MARGIN_SECONDS = 300  # keys are given up this long before they end
TRUST_WAITS = (0.3, 0.6)  # seconds until a refused role is asked for again: an edited trust policy needs a moment


class Session(msgspec.Struct, frozen=True):
    """Temporary keys of a role, and when they end (epoch seconds)."""

    credentials: Credentials
    expires: float


class SessionCache:
    """Sessions by (account, role, external id, own key). Lives as long as the function's instance, and holds no data of
    a request."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str, str, str], Session] = {}


CACHE = SessionCache()


class Accounts:
    """The `Cloud` protocol over the official SDKs."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        clock: Clock,
        retry: Retry,
        session_name: str,
        cache: SessionCache = CACHE,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._clock = clock
        self._retry = retry
        self._session_name = session_name_for(session_name)
        self._cache = cache
        self._made: dict[str, Ecs] = {}
        self.calls: Counter[str] = Counter()

    def ecs(self, account: str) -> Ecs:
        if account not in self._made:
            keys = functools.partial(self._credentials, account)
            self._made[account] = SdkEcs(self._settings, account, keys, self._retry, self.calls)
        return self._made[account]

    def identity(self, account: str) -> tuple[str, str]:
        """(account uid, ARN) of the caller as whom an account is read [doc GetCallerIdentity]. Raises as `ecs` does."""
        from alibabacloud_sts20150401.client import Client

        client = Client(self._sts_config(self._credentials(account, False)))
        found = call(client.get_caller_identity).body
        return str(found.account_id), str(found.arn)

    def _sts_config(self, credentials: Credentials) -> Any:
        config = client_config(self._settings, "sts", credentials)
        if not config.endpoint:
            config.endpoint = f"sts.{self._settings.region}.aliyuncs.com"
        return config

    def _credentials(self, account: str, renew: bool) -> Credentials:
        entry = self._policy.accounts[account]
        if entry.role is None:
            return self._settings.credentials
        key = (account, entry.role, entry.external_id or "", self._settings.credentials.access_key_id)
        session = self._cache.sessions.get(key)
        if renew or session is None or session.expires - MARGIN_SECONDS <= self._clock.now():
            session = self._assume(entry.role, entry.external_id or "")
            self._cache.sessions[key] = session
        return session.credentials

    def _assume(self, role: str, external_id: str) -> Session:
        from alibabacloud_sts20150401 import models
        from alibabacloud_sts20150401.client import Client

        client = Client(self._sts_config(self._settings.credentials))
        request = models.AssumeRoleRequest(
            role_arn=role,
            role_session_name=self._session_name,
            duration_seconds=SESSION_SECONDS,
            external_id=external_id or None,
        )

        def assume() -> Any:
            self.calls["AssumeRole"] += 1
            try:
                return call(lambda: client.assume_role(request)).body.credentials
            except NoAccess:
                raise
            except CloudError as error:  # whatever the code, the account cannot be entered
                raise NoAccess(error.code, error.message, error.request_id) from error

        given = self._retry.refused(assume, TRUST_WAITS)
        try:
            credentials = Credentials(given.access_key_id, given.access_key_secret, given.security_token)
            return Session(credentials, parse_instant(given.expiration))
        except (AttributeError, TypeError, BadInput):
            # The SDK makes an empty model of an answer with the wrong shape, without an error.
            raise Ambiguous("an answer of AssumeRole without credentials") from None


def session_name_for(text: str) -> str:
    """A RoleSessionName (2-64 of letters, digits and .@-_): in ActionTrail it names the delivery that opened the session.

    Later deliveries of the same function instance use it too, until it ends: what ties each change to its record is the
    RequestId.
    """
    return re.sub(r"[^A-Za-z0-9.@_-]", "-", f"link-peer-{text}")[:64]
