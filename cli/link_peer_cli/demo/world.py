"""Worlds to start from, with a deployment of link-peer: the files of the local cloud, and what link-peer has in them.

Beside the keys of `aliyun_local.world`, a file has `home`, the account with the functions, and `deployment`. Queues,
log, service and roles have the names that a deployment with the prefix `link-peer` has; a file may name others. The
roles are those of deploy/, unless the file lists `roles` of its own. The home account has EventBridge's service-linked
roles. With `bare: true`, there are no roles, queues or logs at all: what `link-peer setup` starts from. Each of the
`regions` has the queues and the log. An account to which the file's policy gives a `flowlog` has a week of it, without
a packet. A `history` is played only where the clock is a PastClock, by who serves the cloud.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from aliyun_local import api
from aliyun_local.api import ADMINISTRATOR, LocalCloud, PastClock, QueueAttributes, Role, WorldError
from link_peer_deploy import description
from link_peer_deploy.documents import CLOSER, READER
from link_peer_deploy.names import Names
from msgspec.structs import replace

from link_peer_cli.demo import history
from link_peer_cli.demo.deployment import DeploymentWorld, deployment_of

__all__ = ["WorldError", "describe", "entrance", "load"]

WORLDS = Path(__file__).parent / "worlds"
DEFAULT = "two-accounts"
PREFIX = "link-peer"
EXTERNAL_ID = "link-peer-local-example"
KEYS = frozenset(
    [
        "home",
        "deployment",
        "policy",
        "bare",
        "history",
        "traffic",
        "queue",
        "dead_letter_queue",
        "audit",
        "fc_service",
        "function_role",
    ]
)
"""The keys of a world that only link-peer reads."""
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load(cloud: LocalCloud, world: str | Path = DEFAULT) -> DeploymentWorld:
    """Fill an empty cloud from a file, or from one of these worlds by name (`two-accounts`, `shop`, …). Raises
    WorldError."""
    return api.loaded(api.path_of(world, WORLDS), lambda text: _fill(cloud, text))


def entrance(world: str | Path = DEFAULT) -> str:
    """The region at which a world is entered: the first that its file lists; empty if it lists none. Raises
    WorldError."""
    return api.loaded(api.path_of(world, WORLDS), lambda text: next(iter(text.get("regions") or ()), ""))


def _fill(cloud: LocalCloud, text: dict[str, Any]) -> DeploymentWorld:
    if "history" in text and isinstance(cloud.clock, PastClock):
        cloud.clock.begin(history.begin(cloud.clock.now()))
    policy = text.get("policy") or _plain_policy(text)
    names = Names(text["home"], text.get("function_role", PREFIX).removesuffix("-fc"))
    world = DeploymentWorld(
        home=text["home"],
        queue=text.get("queue", f"{PREFIX}-requests"),
        dead_letter_queue=text.get("dead_letter_queue", f"{PREFIX}-dead-letters"),
        audit_project=text.get("audit", {}).get("project") or names.audit_project(cloud.region),
        audit_logstore=text.get("audit", {}).get("logstore", "decisions"),
        fc_service=text.get("fc_service", PREFIX),
        function_role=text.get("function_role", f"{PREFIX}-fc"),
        policy=str(_written(cloud, policy)),
        deployment=text["deployment"],
        bare=bool(text.get("bare")),
        queues=list(text.get("queues", ())),
        history=text.get("history", []),
        traffic=text.get("traffic", []),
        flow_logs={uid: entry["flowlog"] for uid, entry in policy["accounts"].items() if "flowlog" in entry},
    )
    cloud.shared.endpoint_variable = "LINK_PEER_CLOUD"
    cloud.shared.fc_service = cloud.fc.service = world.fc_service
    replaced = {"queues": [], "logs": [], "service_linked_roles": [] if world.bare else [world.home]}
    api.fill(cloud, {**text, **replaced, **({"roles": []} if world.bare else {})}, world, KEYS)
    if not world.bare:
        if "roles" not in text:
            shipped_roles(cloud, world, policy["accounts"], "link")
        for region in text.get("regions") or [cloud.region]:
            place = cloud.region_at(region)
            if place is not cloud:
                place.world = replace(deployment_of(place), audit_project=names.audit_project(region))
            queues_and_log(place, deployment_of(place))
    now = int(cloud.clock.now())
    if not world.history:
        history.capture(cloud, (now - 7 * 86_400 + 1, now))
    return world


def _plain_policy(text: dict[str, Any]) -> dict[str, Any]:
    """For a world without a policy of its own: every account with the usual role, but for home, which has none."""
    accounts: dict[str, dict[str, str]] = {}
    for uid, name in text["accounts"].items():
        entered = {"role": f"acs:ram::{uid}:role/{PREFIX}", "external_id": EXTERNAL_ID}
        accounts[uid] = {"name": name, **({} if uid == text["home"] else entered)}
    return {"deployment": text["deployment"], "accounts": accounts}


def _written(cloud: LocalCloud, policy: dict[str, Any]) -> Path:
    """The path of the policy file for the functions."""
    folder = Path(tempfile.mkdtemp(prefix="link-peer-world-"))
    # with the cloud, not at exit: workers of pytest-xdist end without exit handlers
    weakref.finalize(cloud, shutil.rmtree, folder, ignore_errors=True)
    path = folder / "policy.yaml"
    path.write_text(yaml.dump(policy, Dumper=_DUMPER, sort_keys=False), encoding="utf-8")
    return path


def shipped_roles(cloud: LocalCloud, world: DeploymentWorld, accounts: dict[str, Any], tag_prefix: str) -> None:
    """Create the roles that `setup` makes: at home, and in each account for which the policy file names one."""
    entered = {uid: of for uid, of in accounts.items() if "role" in of}
    deployment = (Names(world.home, world.prefix), world.deployment, tag_prefix)
    logs = {uid: of.get("flowlog", "") for uid, of in accounts.items()}
    roles_by_account = {
        world.home: _roles_of_home(*deployment, tuple(of["role"] for of in entered.values()), logs.get(world.home, ""))
    }
    roles_by_account |= {
        uid: _roles_of_peer(*deployment, uid, of["role"], of["external_id"], logs[uid]) for uid, of in entered.items()
    }
    for uid, roles in roles_by_account.items():
        for name, trust, policies in roles:
            cloud.identity.add_role(Role(uid, name, trust), policies)


_Roles = list[tuple[str, str, dict[str, str]]]
"""Name, trust policy and policies of each role. They are rendered once, because thousands of tests load the same."""


@lru_cache(maxsize=1024)
def _roles_of_home(names: Names, deployment: str, tag_prefix: str, peers: tuple[str, ...], flowlog: str) -> _Roles:
    admin = f"acs:ram::{names.home}:user/{ADMINISTRATOR}"
    described = description.describe(names, deployment, tag_prefix, peers, operators=[admin], flowlog=flowlog)
    return _rendered(described.roles)


@lru_cache(maxsize=1024)
def _roles_of_peer(
    names: Names, deployment: str, tag_prefix: str, uid: str, arn: str, external_id: str, flowlog: str
) -> _Roles:
    its = {"account": uid, "role": arn.partition(":role/")[2], "external_id": external_id}
    described = description.describe_peer(names, deployment, tag_prefix, **its)
    return _rendered(description.with_flow_log(described, uid, flowlog))


def _rendered(roles: Iterable[description.Role]) -> _Roles:
    def policies(role: description.Role) -> dict[str, str]:
        return {
            name if number == 1 else f"{name}-{number}": json.dumps(document)
            for name, documents in role.policies.items()
            for number, document in enumerate(documents, 1)
        }

    return [(role.name, json.dumps(role.trust), policies(role)) for role in roles]


def queues_and_log(cloud: LocalCloud, world: DeploymentWorld) -> None:
    """Create what the home account's functions need, as `link-peer setup` does: its queues, and their logs with the
    indexes of deploy/. A world may have names of its own."""
    audit, operators, functions = description.logstores(Names(world.home, world.prefix))
    for name in (world.queue, Names(world.home, world.prefix).sweep_queue, world.dead_letter_queue, *world.queues):
        attributes = QueueAttributes(description.HIDDEN_SECONDS, message_retention_period=description.MESSAGE_SECONDS)
        cloud.mns.create_queue(world.home, name, attributes)
    cloud.sls.create_project(world.home, world.audit_project)
    logstores = {world.audit_logstore: audit, f"{world.audit_logstore}-operators": operators, functions.name: functions}
    for name, logstore in logstores.items():
        cloud.sls.create_logstore(world.home, world.audit_project, name, logstore.days, appendMeta=True)
        cloud.sls.create_index(world.home, world.audit_project, name, dict(logstore.index))


def describe(cloud: LocalCloud) -> dict[str, Any]:
    """The first line of `link-peer local --json`: the endpoint and the names of what the cloud holds."""
    world, beside = deployment_of(cloud), (READER, CLOSER)
    roles = [
        role for role in cloud.identity.roles.values() if role.account != world.home and not role.name.endswith(beside)
    ]
    described = api.describe(cloud)
    return {
        **{name: described[name] for name in ("endpoint", "authority", "region", "regions", "accounts", "vpcs")},
        "queue": world.queue,
        "dead_letter_queue": world.dead_letter_queue,
        "audit_project": world.audit_project,
        "audit_logstore": world.audit_logstore,
        "role_arn": roles[0].arn if roles else "",
        "external_id": (roles[0].external_id or "") if roles else "",
        "fc_service": world.fc_service,
        "deployment": world.deployment,
        "policy": world.policy,
    }
