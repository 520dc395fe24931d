"""What a world of link-peer's names of a deployment."""

from __future__ import annotations

from typing import Any, cast

from aliyun_local.api import LocalCloud, World
from msgspec import field


class DeploymentWorld(World, kw_only=True):
    """What a world names of a deployment."""

    home: str  # the uid of the home account
    queue: str
    dead_letter_queue: str
    audit_project: str
    audit_logstore: str
    fc_service: str
    function_role: str
    policy: str  # the path of the policy file
    deployment: str
    bare: bool = False  # nothing of a deployment exists: no roles, queues, logs or functions
    queues: list[str] = field(default_factory=list)  # of single accounts, beside the shared `queue`
    # what happened before: see `link_peer_cli.demo.history`
    history: list[dict[str, Any]] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)  # packets of that time
    flow_logs: dict[str, str] = field(default_factory=dict)  # where accounts keep theirs

    @property
    def prefix(self) -> str:
        """What all of these names begin with: LINK_PEER_PREFIX of the deployment."""
        return self.function_role.removesuffix("-fc")


def deployment_of(cloud: LocalCloud) -> DeploymentWorld:
    """The names of the world that `load` filled a cloud from."""
    return cast(DeploymentWorld, cloud.world)
