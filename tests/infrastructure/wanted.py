"""What `link-peer setup` creates, as values that the tests of deploy/terraform compare with what it creates."""

from __future__ import annotations

from typing import Any

from link_peer.domain.policy import Policy
from link_peer.inbound import policy_file
from link_peer.runtime.clock import SystemClock
from link_peer.runtime.settings import Settings
from link_peer.runtime.settings import load as load_settings
from link_peer_cli import setup
from link_peer_deploy.names import Names

from tests.functional.lab import HOME, PEER, REGION

PREFIX = "tenant-b"
ACTION_POLICY = "on-call"
BOUND = f"{PREFIX}-requests-{PEER}"
ALONE = f"""
deployment: prod
accounts:
  "{HOME}": {{name: a@aliyun.com}}
"""
TOGETHER = f"""{ALONE}
  "{PEER}":
    name: b@aliyun.com
    role: "acs:ram::{PEER}:role/{PREFIX}"
    external_id: "a-random-value-of-1"
    queue: {BOUND}
  "1000000000000003":
    name: c@aliyun.com
    role: "acs:ram::1000000000000003:role/other"
    external_id: "a-random-value-of-2"
"""
"""Policies of a deployment without other accounts, and with two, one of which has a queue of its own."""

NOT_IN_TEMPLATES = {"user", "action policy", "service-linked role"}
"""What is of the account. The provider has no resource for records of the alert centre; `s deploy` makes the roles, too."""

States = dict[tuple[str, str], Any]
"""Kind and name of a resource to its state, in the words of `setup`."""


def states(policy: str, action_policy: str) -> States:
    """What `setup` creates; what needs somebody to notify only where that is given."""
    env = {
        "LINK_PEER_REGION": REGION,
        "LINK_PEER_PREFIX": PREFIX,
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "unused",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": "unused",
    }
    settings: Settings = load_settings(env=env)
    found: Policy = policy_file.parse(policy)
    deployment = setup.Deployment(settings, found, Names(HOME, PREFIX), SystemClock(), action_policy=action_policy)
    return {
        (resource.kind, resource.name): resource.wanted
        for resource in setup.resources(deployment)
        if not resource.lacks and resource.kind not in NOT_IN_TEMPLATES
    }


def bare(value: Any) -> Any:
    """A value without what means the same as nothing: null, empty texts, lists and objects."""
    if isinstance(value, dict):
        parts = {key: bare(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in (None, "", [], {})}
    return [bare(part) for part in value] if isinstance(value, list) else value
