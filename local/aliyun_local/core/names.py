"""The names that a loaded world gives to the parts of a deployment."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class World(Struct):
    """What a world file names besides the resources themselves: the home account's uid, queues, log, role, service.

    `queues` are those of single accounts, beside the shared `queue`; `policy` is the path of the policy file; `vpcs` are `{id, vswitch_id, owner, shared_with}` in the file's order. `history` and `traffic` are what happened before (`link_peer_local.history`), and `flow_logs` where accounts keep theirs.
    """

    home: str
    queue: str
    dead_letter_queue: str
    audit_project: str
    audit_logstore: str
    fc_service: str
    function_role: str
    policy: str
    deployment: str
    bare: bool = False  # nothing of a deployment exists: no roles, queues, logs or functions
    vpcs: list[dict[str, Any]] = field(default_factory=list)
    queues: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    traffic: list[dict[str, Any]] = field(default_factory=list)
    flow_logs: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        """What all of these names begin with: LINK_PEER_PREFIX of the deployment."""
        return self.function_role.removesuffix("-fc")
