"""The access keys and the region that a person has set up for the `aliyun` CLI or for the SDKs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from link_peer.alicloud.sdk import shared_tls
from link_peer.domain.errors import BadInput, LinkPeerError
from link_peer.runtime.settings import Credentials, Settings
from link_peer_deploy.regions import misspelt

from link_peer_cli.access.identity import AccountKeys, identified
from link_peer_cli.ui import looked
from link_peer_cli.ui.remedies import ours

PROFILE = "ALIBABA_CLOUD_PROFILE"
"""The variable that names a profile; `link-peer --profile` sets CHOSEN."""

CHOSEN = {"profile": "", "region": ""}
"""What the options `--profile` and `--region` of `link-peer` give; empty without them. They beat the environment, as
with the `aliyun` CLI."""


def cli_file() -> Path:
    """The configuration of the `aliyun` CLI."""
    return Path.home() / ".aliyun" / "config.json"


def own_keys(env: Mapping[str, str], profile: str = "") -> Callable[[], Credentials]:
    """Return what gives the person's keys, renewed where they expire.

    Those of `profile` if it is given, else of the environment, else of the SDKs' default chain: the current profile of
    the `aliyun` CLI, the credentials file, the role of the ECS instance. Raises LinkPeerError if there are none.
    """
    key, secret = env.get("ALIBABA_CLOUD_ACCESS_KEY_ID"), env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if key and secret and not profile:
        keys = Credentials(key, secret, env.get("ALIBABA_CLOUD_SECURITY_TOKEN") or None)
        unset = "unset ALIBABA_CLOUD_ACCESS_KEY_ID ALIBABA_CLOUD_ACCESS_KEY_SECRET ALIBABA_CLOUD_SECURITY_TOKEN"
        looked.note_key(key, "ALIBABA_CLOUD_ACCESS_KEY_ID", f"{unset}; aliyun configure")
        return lambda: keys
    provider = _provider(profile)

    def current() -> Credentials:
        try:
            credentials = provider.get_credentials()
        except Exception as error:  # the providers raise many kinds, some of them plain
            if profile:
                raise LinkPeerError(f"profile {profile} of {cli_file()}: {error}") from None
            raise LinkPeerError(ours("no-key")) from None
        looked.note_key(credentials.get_access_key_id(), *_origin(profile, credentials.get_provider_name() or ""))
        return Credentials(
            credentials.get_access_key_id(),
            credentials.get_access_key_secret(),
            credentials.get_security_token() or None,
        )

    current()
    return current


def _origin(profile: str, provider: str) -> tuple[str, str]:
    """Where keys are from, and the command that sets others there."""
    if profile:
        return f"profile {profile} of {cli_file()}", f"aliyun configure --profile {profile}"
    return (f"{cli_file()}" if "cli_profile" in provider else f"the SDK's {provider}"), "aliyun configure"


def profile_keys(settings: Settings, profile: str) -> AccountKeys:
    """The keys of a profile of the `aliyun` CLI, for an option of a command. Raises LinkPeerError if there are none, or
    STS refuses them."""
    return identified(settings, own_keys(os.environ, profile))


def _provider(profile: str) -> Any:
    from alibabacloud_credentials.provider import (  # an SDK: when it is asked, since help needs none
        CLIProfileCredentialsProvider,
        DefaultCredentialsProvider,
    )

    shared_tls()
    logging.getLogger("credentials").disabled = True  # the SDK prints what the chain tried and did not find
    if profile:
        return CLIProfileCredentialsProvider(profile_name=profile, profile_file=str(cli_file()))
    return DefaultCredentialsProvider()


def region_in_use(env: Mapping[str, str]) -> str:
    """Return the region that a command works in: that of `--region`, else of the environment, else of the profile;
    empty if there is none. Raises BadInput for what is no region, with the one that was probably meant."""
    profile = f"the profile of {cli_file()}"
    places = {"--region": CHOSEN["region"], **{name: env.get(name, "") for name in ("LINK_PEER_REGION", "FC_REGION")}}
    source = next((name for name, region in places.items() if region), profile)
    region = places.get(source) or region_of(env, CHOSEN["profile"])
    if region and (problem := misspelt(region)):
        raise BadInput(source, problem)
    return region


def region_of(env: Mapping[str, str], profile: str) -> str:
    """Return the region of a profile of the `aliyun` CLI, of the current one if it is empty; empty if there is none."""
    try:
        config = json.loads(cli_file().read_text(encoding="utf-8"))
        profile_name = profile or env.get(PROFILE) or config.get("current")
        profiles = [candidate for candidate in config["profiles"] if candidate.get("name") == profile_name]
        return str(profiles[0].get("region_id") or "") if profiles else ""
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""
