"""The access keys and the region that a person has set up for the `aliyun` CLI or for the SDKs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from link_peer.domain.errors import LinkPeerError
from link_peer.runtime.settings import Credentials

PROFILE = "ALIBABA_CLOUD_PROFILE"
"""The variable that names a profile; `link-peer --profile` sets CHOSEN."""

CHOSEN: list[str] = []
"""The profile of the option `--profile`, which beats keys in the environment, as with the `aliyun` CLI; empty without it."""


def cli_file() -> Path:
    """The configuration of the `aliyun` CLI."""
    return Path.home() / ".aliyun" / "config.json"


def own_keys(env: Mapping[str, str], profile: str = "") -> Callable[[], Credentials]:
    """Return what gives the person's keys, renewed where they expire.

    Those of `profile` if it is given, else of the environment, else of the SDKs' default chain: the current profile of the
    `aliyun` CLI, the credentials file, the role of the ECS instance. Raises LinkPeerError if there are none.
    """
    key, secret = env.get("ALIBABA_CLOUD_ACCESS_KEY_ID"), env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key and secret and not profile:
        keys = Credentials(key, secret, env.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
        return lambda: keys
    provider = _provider(profile)

    def current() -> Credentials:
        try:
            found = provider.get_credentials()
        except Exception as error:  # the providers raise many kinds, some of them plain
            if profile:
                raise LinkPeerError(f"profile {profile} of {cli_file()}: {error}") from None
            raise LinkPeerError(
                "there is no access key: set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or run "
                "`aliyun configure`"
            ) from None
        return Credentials(found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token() or None)

    current()
    return current


def _provider(profile: str) -> Any:
    logging.getLogger("credentials").setLevel(logging.CRITICAL)  # the SDK prints what the chain tried and did not find
    if profile:
        from alibabacloud_credentials.provider import CLIProfileCredentialsProvider

        return CLIProfileCredentialsProvider(profile_name=profile, profile_file=str(cli_file()))
    from alibabacloud_credentials.provider import DefaultCredentialsProvider

    return DefaultCredentialsProvider()


def region_of(env: Mapping[str, str], profile: str = "") -> str:
    """Return the region of a profile of the `aliyun` CLI, by default the current one; empty if there is none."""
    try:
        config = json.loads(cli_file().read_text(encoding="utf-8"))
        wanted = profile or env.get(PROFILE) or config.get("current")
        found = [one for one in config["profiles"] if one.get("name") == wanted]
        return str(found[0].get("region_id") or "") if found else ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""
