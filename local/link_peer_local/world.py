"""Worlds to start from: YAML files of accounts, roles, VPCs, groups, instances, queues and an audit log."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from link_peer_local.cloud import LocalCloud
from link_peer_local.core.identity import Caller, Role
from link_peer_local.core.names import World
from link_peer_local.core.project import ROOT

WORLDS = Path(__file__).parent / "worlds"
DEFAULT = "two-accounts"
_AUDIT_INDEX = ROOT / "deploy" / "sls-index.json"


class WorldError(ValueError):
    """A world file that cannot be loaded; the message names the file and the problem."""


def load(cloud: LocalCloud, world: str | Path = DEFAULT) -> World:
    """Fill an empty cloud from a file, or from one of the bundled worlds by name (`two-accounts`, `shop`, …)."""
    path = Path(world)
    if not path.suffix:
        path = WORLDS / f"{world}.yaml"
    try:
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
        cloud.world = _Loader(cloud, text).load()
    except KeyError as missing:
        raise WorldError(f"{path}: {missing} is missing") from None
    except (OSError, TypeError, ValueError, yaml.YAMLError) as problem:
        raise WorldError(f"{path}: {problem}") from problem
    return cloud.world


def describe(cloud: LocalCloud) -> dict[str, Any]:
    """The first line of `link-peer local --json`: the endpoint and the names of what the cloud holds."""
    world, identity = cloud.world, cloud.identity
    peers = [role for role in identity.roles.values() if role.account != world.home]
    return {
        "endpoint": cloud.endpoint,
        "region": cloud.region,
        "accounts": [
            {
                "id": account.uid,
                "name": account.name,
                "access_key_id": account.access_key_id,
                "access_key_secret": account.access_key_secret,
            }
            for account in identity.accounts.values()
        ],
        "vpcs": world.vpcs,
        "queue": world.queue,
        "dead_letter_queue": world.dead_letter_queue,
        "audit_project": world.audit_project,
        "audit_logstore": world.audit_logstore,
        "role_arn": peers[0].arn if peers else "",
        "external_id": (peers[0].external_id or "") if peers else "",
        "fc_service": world.fc_service,
        "deployment": world.deployment,
        "policy": world.policy,
    }


class _Loader:
    def __init__(self, cloud: LocalCloud, text: dict[str, Any]) -> None:
        self.cloud = cloud
        self.text = text
        self.vpcs: dict[str, Any] = {}

    def load(self) -> World:
        text, cloud = self.text, self.cloud
        for uid, name in text["accounts"].items():
            cloud.identity.add_account(uid, name)
            cloud.ecs.account_names[name] = uid
        for role in text["roles"]:
            cloud.identity.add_role(Role(**role))
        self._queues_and_log()
        for vpc in text["vpcs"]:
            self.vpcs[vpc["name"]] = cloud.ecs.create_vpc(
                vpc["owner"], vpc["cidr"], shared_with=tuple(vpc.get("shared_with", ()))
            )
        for group in text.get("groups", ()):
            self._group(group)
        for instance in text.get("instances", ()):
            self._instance(instance)
        audit = text["audit"]
        policy = self._policy()
        return World(
            home=text["home"],
            queue=text["queue"],
            dead_letter_queue=text["dead_letter_queue"],
            audit_project=audit["project"],
            audit_logstore=audit["logstore"],
            fc_service=text["fc_service"],
            function_role=text["function_role"],
            policy=str(policy),
            deployment=text["deployment"],
            queues=list(text.get("queues", ())),
            vpcs=[
                {
                    "id": self.vpcs[vpc["name"]].id,
                    "vswitch_id": self.vpcs[vpc["name"]].vswitch_id,
                    "owner": vpc["owner"],
                    "shared_with": list(vpc.get("shared_with", ())),
                }
                for vpc in text["vpcs"]
            ],
        )

    def _queues_and_log(self) -> None:
        """Create what the home account's functions need: its queues, and the audit log with its index."""
        home, audit = self.text["home"], self.text["audit"]
        for name in (self.text["queue"], self.text["dead_letter_queue"], *self.text.get("queues", ())):
            self.cloud.mns.create_queue(home, name)
        index = json.loads(_AUDIT_INDEX.read_text(encoding="utf-8"))
        self.cloud.sls.create_project(home, audit["project"])
        self.cloud.sls.create_logstore(home, audit["project"], audit["logstore"])
        self.cloud.sls.create_index(home, audit["project"], audit["logstore"], index)

    def _group(self, group: dict[str, Any]) -> None:
        account = group["account"]
        made = self.cloud.ecs.create_group(
            account,
            self.vpcs[group["vpc"]].id,
            name=group["name"],
            type=group.get("type", "normal"),
            managed=group.get("managed", False),
            inner_access=group.get("inner_access", ""),
            tags=group.get("tags", {}),
            group_id=group.get("id"),
        )
        for permission in group.get("rules", ()):
            params = {"RegionId": self.cloud.region, "SecurityGroupId": made.id}
            params.update({f"Permissions.1.{name}": str(value) for name, value in permission.items()})
            self.cloud.ecs.call(Caller(account, f"acs:ram::{account}:root"), "AuthorizeSecurityGroup", params)

    def _instance(self, instance: dict[str, Any]) -> None:
        self.cloud.ecs.create_instance(
            instance["account"],
            instance["groups"],
            tags=instance.get("tags", {}),
            instance_id=instance.get("id"),
            private_ip=instance.get("private_ip"),
            name=instance.get("name", ""),
        )

    def _policy(self) -> Path:
        """The path of the policy file for the functions: the world's own policy, else the project's."""
        if self.text.get("policy") is None:
            return ROOT / "policy.yaml"
        folder = Path(tempfile.mkdtemp(prefix="link-peer-world-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        path = folder / "policy.yaml"
        path.write_text(yaml.safe_dump(self.text["policy"], sort_keys=False), encoding="utf-8")
        return path
