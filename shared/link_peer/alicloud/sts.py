"""Access to each account: to home with the function's own credentials, to the others through AssumeRole.

Roles and external ids come from the policy file alone; no message or tag can name one.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from link_peer.alicloud.ecs import SdkEcs
from link_peer.alicloud.sdk import call, client_config
from link_peer.domain.errors import Ambiguous, BadInput, CloudError, KeysExpired, NotEntered, token_expired
from link_peer.domain.policy import Policy
from link_peer.domain.tags import parse_instant
from link_peer.runtime.clock import Clock
from link_peer.runtime.ports import Ecs
from link_peer.runtime.retry import Retry
from link_peer.runtime.settings import Credentials, Settings

SESSION_SECONDS = 900  # the minimum [doc AssumeRole: DurationSeconds]
MARGIN_SECONDS = 300  # a session is renewed this long before it expires
TRUST_WAITS = (0.3, 0.6)  # seconds between attempts at a denied role: a change of the trust policy takes a moment


class Session(msgspec.Struct, frozen=True):
    """Temporary credentials of a role, and when they expire, in epoch seconds."""

    credentials: Credentials
    expires: float


SessionCache = dict[tuple[str, str, str, str], Session]
"""Sessions by (account, role, external id, own access key id), shared by all deliveries of a function instance."""
CACHE: SessionCache = {}
"""The cache of this process."""


class Accounts:
    """The `Cloud` port over the official SDKs."""

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
        self._clients: dict[str, Ecs] = {}
        self.calls: Counter[str] = Counter()

    def ecs(self, account: str) -> Ecs:
        """An account's ECS; the account must be in the policy. Raises NoAccess if the account cannot be entered."""
        if account not in self._clients:
            keys = functools.partial(self._credentials, account)
            self._clients[account] = SdkEcs(self._settings, account, keys, self._retry, self.calls)
        return self._clients[account]

    def identity(self, account: str) -> tuple[str, str]:
        """(account uid, ARN) of the identity used in an account [doc GetCallerIdentity]. Raises as `ecs` does."""
        from alibabacloud_sts20150401.client import Client

        client = Client(self._sts_config(self._credentials(account, False)))
        identity = call(client.get_caller_identity).body
        return str(identity.account_id), str(identity.arn)

    def _sts_config(self, credentials: Credentials) -> Any:
        config = client_config(self._settings, "sts", credentials)
        if not config.endpoint:
            config.endpoint = f"sts.{self._settings.region}.aliyuncs.com"
        return config

    def _credentials(self, account: str, renew: bool) -> Credentials:
        entry = self._policy.accounts[account]
        if entry.role is None:
            if renew:
                raise KeysExpired("the keys of this process are refused, and it has no others")
            return self._settings.credentials
        return self._through(account, entry.role, renew, TRUST_WAITS)

    def _through(self, account: str, role: str, renew: bool, waits: Sequence[float]) -> Credentials:
        external_id = self._policy.accounts[account].external_id or ""
        key = (account, role, external_id, self._settings.credentials.access_key_id)
        session = self._cache.get(key)
        if renew or session is None or session.expires - MARGIN_SECONDS <= self._clock.now():
            session = self._cache[key] = self.assume(role, external_id, waits)
        return session.credentials

    def assume(self, role: str, external_id: str, waits: Sequence[float], seconds: int = SESSION_SECONDS) -> Session:
        """A session of a role (its ARN), with the keys of the settings. `waits` are those before further attempts where
        it is refused. Raises NotEntered if the role cannot be assumed."""
        from alibabacloud_sts20150401 import models
        from alibabacloud_sts20150401.client import Client

        client = Client(self._sts_config(self._settings.credentials))
        request = models.AssumeRoleRequest(
            role_arn=role,
            role_session_name=self._session_name,
            duration_seconds=seconds,
            external_id=external_id or None,
        )

        def assume() -> Session:
            self.calls["AssumeRole"] += 1
            try:
                return _session(call(lambda: client.assume_role(request)).body)
            except CloudError as error:  # with any other code, the account cannot be entered
                if token_expired(error.code):
                    raise KeysExpired(str(error)).of("sts", error.code, error.request_id) from error
                refusal = NotEntered(error.code, error.message, error.request_id, "sts")
                refusal.account = role.split(":")[3]
                raise refusal from error

        return self._retry.refused(assume, waits)


def _session(body: Any) -> Session:
    """The session in an AssumeRole response. The SDK turns a response of the wrong shape into an empty model, without
    an error; without keys it is Ambiguous."""
    credentials = getattr(body, "credentials", None)
    names = ("access_key_id", "access_key_secret", "security_token", "expiration")
    key, secret, token, expiration = (str(getattr(credentials, name, None) or "") for name in names)
    try:
        expires = parse_instant(expiration)
    except BadInput:
        raise Ambiguous("the AssumeRole response has no expiry") from None
    if not (key and secret and token):
        raise Ambiguous("the AssumeRole response has no credentials")
    return Session(Credentials(key, secret, token), expires)


def session_name_for(text: str) -> str:
    """A RoleSessionName (2 to 64 letters, digits and .@-_). In ActionTrail it names the delivery that opened the
    session.

    Later deliveries of the same function instance use the session too, until it expires. So a change is matched to its
    audit record by RequestId.
    """
    return re.sub(r"[^A-Za-z0-9.@_-]", "-", f"link-peer-{text}")[:64]
