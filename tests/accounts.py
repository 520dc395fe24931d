"""Worlds as files, and an account that a selftest may use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from aliyun_conformance.bench import Options
from aliyun_local.api import LocalCloud, Role, trust_text


def written(folder: Path, text: dict[str, Any]) -> Path:
    """The world's file."""
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False), encoding="utf-8")
    return path


HOME, PEER = "1000000000000001", "1000000000000002"
ROLE = f"acs:ram::{HOME}:role/selftest"
TAGS = {"link-peer-selftest": "yes"}


def mark(cloud: LocalCloud) -> Options:
    """Mark two VPCs of the account, and a group of the peer in one of them; a role may be narrowed. Returns what to give."""
    own, _, shared = cloud.world.vpcs
    for account, vpc in ((HOME, shared), (HOME, own), (PEER, shared)):
        cloud.ecs.create_group(account, vpc["id"], tags=TAGS)
    cloud.identity.add_role(Role(HOME, "selftest", trust_text([f"acs:ram::{HOME}:root"])))
    cloud.identity.allow_only(ROLE, ["*"])
    return Options(
        vpc=shared["id"],
        instances=True,
        image="aliyun_3",
        instance_type="ecs.t6-c1m1.large",
        vswitch=shared["vswitch_id"],
        role=ROLE,
        peer=PEER,
        peer_role=f"acs:ram::{PEER}:role/link-peer",
        external_id="link-peer-local-example",
    )


def existing(cloud: LocalCloud) -> list[set[str]]:
    """The resources of the account, of every kind that a question creates."""
    account = cloud.ecs.accounts[HOME]
    running = {key for key, each in account.instances.items() if each.states.at(cloud.clock.now())}
    queues = {queue.name for queue in cloud.mns.queues(HOME)}
    projects = {project.name for project in cloud.sls.projects(HOME)}
    return [set(account.groups), running, set(account.interfaces), queues, projects]
