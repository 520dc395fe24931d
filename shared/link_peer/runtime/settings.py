"""Settings from the environment, and what the platform says of this invocation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from link_peer.domain.errors import LinkPeerError


class Credentials(msgspec.Struct, frozen=True):
    """Keys of the function's role (or of a person at a laptop, without token)."""

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id[:4]}…)"  # a secret never reaches a log


class Settings(msgspec.Struct, frozen=True):
    """What the environment says. `endpoints` hold URLs by service: ecs, sts, sls, mns, fc."""

    policy_path: str
    region: str
    audit_project: str
    audit_logstore: str
    queue: str
    endpoints: Mapping[str, str]
    credentials: Credentials
    account: str = ""  # the function's own, where the platform tells

    def endpoint(self, service: str) -> tuple[str, str]:
        """(`http` or `https`, host[:port]) of a service; "" as host means the SDK's own choice."""
        url = self.endpoints.get(service, "")
        if "://" not in url:
            return "https", url
        scheme, host = url.split("://", 1)
        return scheme, host.rstrip("/")


_KEYS = ("access_key_id", "access_key_secret", "security_token")
SERVICES = ("ecs", "sts", "sls", "mns", "fc")


def load(context: Any = None, env: Mapping[str, str] | None = None) -> Settings:
    """Settings of this invocation.

    Credentials come from the environment (where FC python3.12 has them), else from `context.credentials` (python3.10).
    """
    env = os.environ if env is None else env
    region = env.get("LINK_PEER_REGION") or env.get("FC_REGION") or str(getattr(context, "region", "") or "")
    if not region:
        raise LinkPeerError("LINK_PEER_REGION is not set, and the platform names no region")
    everything = env.get("LINK_PEER_CLOUD", "")
    endpoints = {s: env.get(f"LINK_PEER_{s.upper()}_ENDPOINT") or everything for s in SERVICES}
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return Settings(
        policy_path=env.get("LINK_PEER_POLICY") or os.path.join(here, "policy.yaml"),
        region=region,
        audit_project=env.get("LINK_PEER_AUDIT_PROJECT", ""),
        audit_logstore=env.get("LINK_PEER_AUDIT_LOGSTORE", ""),
        queue=env.get("LINK_PEER_QUEUE", ""),
        endpoints={service: url for service, url in endpoints.items() if url},
        credentials=_credentials(context, env),
        account=env.get("FC_ACCOUNT_ID", ""),
    )


def _credentials(context: Any, env: Mapping[str, str]) -> Credentials:
    key, secret = env.get("ALIBABA_CLOUD_ACCESS_KEY_ID"), env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key and secret:
        return Credentials(key, secret, env.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
    given = getattr(context, "credentials", None)
    if given is not None:
        # FC's class has attributes; stand-ins for it often hand a mapping
        found = given if isinstance(given, Mapping) else {name: getattr(given, name, None) for name in _KEYS}
        key, secret, token = (str(found.get(name) or "") for name in _KEYS)
        if key and secret:
            return Credentials(key, secret, token or None)
    raise LinkPeerError("no credentials: set ALIBABA_CLOUD_ACCESS_KEY_ID and _SECRET, or give the function a role")
