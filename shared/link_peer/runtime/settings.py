"""Settings of an invocation, from the environment and from the context that the platform passes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import DEFAULT_TAG_PREFIX, is_tag_prefix


class Credentials(msgspec.Struct, frozen=True):
    """Keys of the function's role; of a person at the command line, without a security token."""

    access_key_id: str
    access_key_secret: str
    security_token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key_id[:4]}…)"  # so that no log contains the secret


class Settings(msgspec.Struct, frozen=True):
    """The settings of one invocation. `endpoints` maps a service (see SERVICES) to a URL or host."""

    policy_path: str
    region: str
    audit_project: str
    audit_logstore: str
    queue: str
    endpoints: Mapping[str, str]
    credentials: Credentials
    calls_per_minute: int | None = None  # of each API of ECS in an account; None where that is not known
    account: str = ""  # the function's own account uid; empty if the platform does not give it
    tag_prefix: str = DEFAULT_TAG_PREFIX  # what the keys of the deployment's tags begin with
    sweep_queue: str = ""  # for sweeps of single accounts; where it is empty, a sweep is of all accounts
    operator_logstore: str = ""  # where people's commands write their records, beside the audit logstore

    @property
    def dead_letters(self) -> str:
        """The dead-letter queue, which has the name of the request queue with another ending."""
        return self._queue("dead-letters")

    @property
    def shared_queues(self) -> set[str]:
        """The deployment's queues that speak for no account, also those that this function does not use."""
        return {self.queue, self.dead_letters, self.sweep_queue or self._queue("sweeps")}

    def _queue(self, ending: str) -> str:
        return f"{self.queue.removesuffix('-requests')}-{ending}"

    def endpoint(self, service: str) -> tuple[str, str]:
        """(`http` or `https`, host[:port]) of a service. An empty host means the default endpoint."""
        url = self.endpoints.get(service, "")
        if "://" not in url:
            return "https", url
        scheme, host = url.split("://", 1)
        return scheme, host.rstrip("/")


_KEYS = ("access_key_id", "access_key_secret", "security_token")
SERVICES = ("ecs", "sts", "sls", "mns", "fc", "eventbridge", "ram", "actiontrail", "mns_open")
"""The services that have an endpoint setting, `LINK_PEER_<SERVICE>_ENDPOINT`."""


def load(context: Any = None, env: Mapping[str, str] | None = None) -> Settings:
    """The settings of this invocation. `context` is the one that FC passes to the handler; `env` defaults to
    os.environ.

    Credentials come from `context.credentials` (FC's python3.10 runtime), else from the environment, where python3.12
    puts them. Raises LinkPeerError if there are none, or no region, or a setting that is not a number.
    """
    env = os.environ if env is None else env
    region = env.get("LINK_PEER_REGION") or env.get("FC_REGION") or str(getattr(context, "region", "") or "")
    if not region:
        raise LinkPeerError("LINK_PEER_REGION is not set, and the platform gives no region")
    one_cloud = env.get("LINK_PEER_CLOUD", "")
    endpoints = {s: env.get(f"LINK_PEER_{s.upper()}_ENDPOINT") or one_cloud for s in SERVICES}
    code_folder = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    logstore = env.get("LINK_PEER_AUDIT_LOGSTORE", "")
    return Settings(
        policy_path=env.get("LINK_PEER_POLICY") or os.path.join(code_folder, "policy.yaml"),
        region=region,
        audit_project=env.get("LINK_PEER_AUDIT_PROJECT", ""),
        audit_logstore=logstore,
        queue=env.get("LINK_PEER_QUEUE", ""),
        endpoints={service: url for service, url in endpoints.items() if url},
        credentials=_credentials(context, env),
        calls_per_minute=_number(env, "LINK_PEER_CALLS_PER_MINUTE"),
        account=env.get("FC_ACCOUNT_ID", ""),
        tag_prefix=tag_prefix(env),
        sweep_queue=env.get("LINK_PEER_SWEEP_QUEUE", ""),
        operator_logstore=env.get("LINK_PEER_OPERATOR_LOGSTORE") or (logstore and f"{logstore}-operators"),
    )


def tag_prefix(env: Mapping[str, str]) -> str:
    """The setting LINK_PEER_TAG_PREFIX. Raises LinkPeerError for one that no tag key may begin with."""
    prefix = env.get("LINK_PEER_TAG_PREFIX") or DEFAULT_TAG_PREFIX
    if not is_tag_prefix(prefix):
        raise LinkPeerError(
            f"LINK_PEER_TAG_PREFIX is {prefix!a}: 1 to 16 characters of a-z and 0-9, beginning with a letter"
        )
    return prefix


def _number(env: Mapping[str, str], name: str) -> int | None:
    """A setting that is a positive number; None if it is not set."""
    text = env.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise LinkPeerError(f"{name} is {text!a}: it must be a positive number")
    return int(text)


def _credentials(context: Any, env: Mapping[str, str]) -> Credentials:
    # the context's first: they are fresh at each call, while an instance that is kept warm may outlive those it started
    # with
    source = getattr(context, "credentials", None)
    if source is not None:
        # FC passes an object with attributes; test doubles often pass a mapping
        values = source if isinstance(source, Mapping) else {name: getattr(source, name, None) for name in _KEYS}
        key, secret, token = (str(values.get(name) or "") for name in _KEYS)
        if key and secret:
            return Credentials(key, secret, token or None)
    key, secret = env.get("ALIBABA_CLOUD_ACCESS_KEY_ID", ""), env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "")
    if key and secret:
        return Credentials(key, secret, env.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
    raise LinkPeerError(
        "no credentials: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or give the function a role"
    )
