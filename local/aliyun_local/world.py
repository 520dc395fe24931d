"""Worlds to start from: YAML files of accounts, VPCs, groups and instances.

Queues, log, service and roles have the names that a deployment with the prefix `link-peer` has; a file may name others.
The roles are those of deploy/, unless the file lists `roles` of its own:
`{account, name, trusted, external_id, allowed_actions}`, where `trusted` are ARNs and service names, and no
`allowed_actions` means all. The home account has EventBridge's service-linked roles. With `bare: true`, there are no
roles, queues or logs at all: what `link-peer setup` starts from. `inactive` lists services that the accounts have not activated. `regions` lists those with a deployment, the cloud's own
among them: each has the queues and the log, and VPCs whose `region` it is. An account to which the file's policy gives a `flowlog`
has a week of it, without a packet. A `history` is played only where the clock is a PastClock, by who serves the cloud.
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
from link_peer_deploy import description
from link_peer_deploy.documents import CLOSER, READER
from link_peer_deploy.names import Names
from msgspec.structs import replace

from link_peer_local import history
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import PastClock
from link_peer_local.core.identity import ADMINISTRATOR, Caller
from link_peer_local.core.names import World
from link_peer_local.core.principals import Role, trust_text
from link_peer_local.core.refusals import INACTIVE
from link_peer_local.ecs.state import Group
from link_peer_local.eventbridge import linked_roles
from link_peer_local.mns.state import QueueAttributes

WORLDS = Path(__file__).parent / "worlds"
DEFAULT = "two-accounts"
PREFIX = "link-peer"
EXTERNAL_ID = "link-peer-local-example"
# Ten times as fast, where PyYAML was built with libyaml: thousands of tests load a world.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class WorldError(ValueError):
    """A world file that cannot be loaded; the message names the file and the problem."""


def load(cloud: LocalCloud, world: str | Path = DEFAULT) -> World:
    """Fill an empty cloud from a file, or from one of the bundled worlds by name (`two-accounts`, `shop`, …)."""
    path = Path(world)
    if not path.suffix:
        path = WORLDS / f"{world}.yaml"
        if not path.exists():
            raise WorldError(f"{str(world)!r} is neither a file nor one of {', '.join(bundled())}")
    try:
        text = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506  # both are safe
        cloud.world = _Loader(cloud, text).load()
    except KeyError as missing:
        raise WorldError(f"{path}: {missing} is missing") from None
    except (OSError, TypeError, ValueError, yaml.YAMLError) as problem:
        raise WorldError(f"{path}: {problem}") from problem
    return cloud.world


def bundled() -> list[str]:
    """The names of the worlds that come with the local cloud."""
    return sorted(path.stem for path in WORLDS.glob("*.yaml"))


def shipped_roles(cloud: LocalCloud, world: World, accounts: dict[str, Any], tag_prefix: str) -> None:
    """Create the roles that `setup` makes: at home, and in each account for which the policy file names one."""
    entered = {uid: of for uid, of in accounts.items() if "role" in of}
    named = (Names(world.home, world.prefix), world.deployment, tag_prefix)
    logs = {uid: of.get("flowlog", "") for uid, of in accounts.items()}
    found = {world.home: _roles_of_home(*named, tuple(of["role"] for of in entered.values()), logs.get(world.home, ""))}
    found |= {uid: _roles_of_peer(*named, uid, of["role"], of["external_id"], logs[uid]) for uid, of in entered.items()}
    for uid, roles in found.items():
        for name, trust, policies in roles:
            cloud.identity.add_role(Role(uid, name, trust), policies)


_Roles = list[tuple[str, str, dict[str, str]]]
"""Name, trust policy and policies of each role. They are rendered once, because thousands of tests load the same."""


@lru_cache(maxsize=1024)
def _roles_of_home(names: Names, deployment: str, tag_prefix: str, peers: tuple[str, ...], flowlog: str) -> _Roles:
    admin = f"acs:ram::{names.home}:user/{ADMINISTRATOR}"
    made = description.describe(names, deployment, tag_prefix, peers, operators=[admin], flowlog=flowlog)
    return _rendered(made.roles)


@lru_cache(maxsize=1024)
def _roles_of_peer(
    names: Names, deployment: str, tag_prefix: str, uid: str, arn: str, external_id: str, flowlog: str
) -> _Roles:
    its = {"account": uid, "role": arn.partition(":role/")[2], "external_id": external_id}
    made = description.describe_peer(names, deployment, tag_prefix, **its)
    return _rendered(description.with_flow_log(made, uid, flowlog))


def _rendered(roles: Iterable[description.Role]) -> _Roles:
    def policies(role: description.Role) -> dict[str, str]:
        return {
            name if number == 1 else f"{name}-{number}": json.dumps(document)
            for name, documents in role.policies.items()
            for number, document in enumerate(documents, 1)
        }

    return [(role.name, json.dumps(role.trust), policies(role)) for role in roles]


def queues_and_log(cloud: LocalCloud, world: World) -> None:
    """Create what the home account's functions need, as `link-peer setup` does: its queues, and their logs with the indexes
    of deploy/. A world may have names of its own."""
    audit, operators, functions = description.logstores(Names(world.home, world.prefix))
    for name in (world.queue, Names(world.home, world.prefix).sweep_queue, world.dead_letter_queue, *world.queues):
        kept = QueueAttributes(description.HIDDEN_SECONDS, message_retention_period=description.MESSAGE_SECONDS)
        cloud.mns.create_queue(world.home, name, kept)
    cloud.sls.create_project(world.home, world.audit_project)
    own = {world.audit_logstore: audit, f"{world.audit_logstore}-operators": operators, functions.name: functions}
    for name, logstore in own.items():
        cloud.sls.create_logstore(world.home, world.audit_project, name, logstore.days, appendMeta=True)
        cloud.sls.create_index(world.home, world.audit_project, name, dict(logstore.index))


def describe(cloud: LocalCloud) -> dict[str, Any]:
    """The first line of `link-peer local --json`: the endpoint and the names of what the cloud holds."""
    world, identity = cloud.world, cloud.identity
    beside = (READER, CLOSER)
    peers = [role for role in identity.roles.values() if role.account != world.home and not role.name.endswith(beside)]
    return {
        "endpoint": cloud.endpoint,
        "authority": cloud.shared.authority,
        "region": cloud.region,
        "regions": {region: place.endpoint for region, place in cloud.regions.items() if place.endpoint},
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
        self.regions: dict[str, LocalCloud] = {}
        self.places: dict[str, LocalCloud] = {}  # the region of each VPC, by name, and group, by id

    def load(self) -> World:
        text, cloud = self.text, self.cloud
        if "history" in text and isinstance(cloud.clock, PastClock):
            cloud.clock.begin(history.begin(cloud.clock.now()))
        for uid, name in text["accounts"].items():
            cloud.identity.add_account(uid, name)
            cloud.ecs.account_names[name] = uid
        policy = self.text.get("policy") or self._plain_policy()
        world = World(
            home=text["home"],
            queue=text.get("queue", f"{PREFIX}-requests"),
            dead_letter_queue=text.get("dead_letter_queue", f"{PREFIX}-dead-letters"),
            audit_project=text.get("audit", {}).get("project", f"{PREFIX}-{text['home']}"),
            audit_logstore=text.get("audit", {}).get("logstore", "decisions"),
            fc_service=text.get("fc_service", PREFIX),
            function_role=text.get("function_role", f"{PREFIX}-fc"),
            policy=str(self._written(policy)),
            deployment=text["deployment"],
            bare=bool(text.get("bare")),
            queues=list(text.get("queues", ())),
            history=text.get("history", []),
            traffic=text.get("traffic", []),
            flow_logs={uid: one["flowlog"] for uid, one in policy["accounts"].items() if "flowlog" in one},
        )
        self._open_regions(world)
        cloud.knobs.change(text.get("knobs") or {})
        cloud.inactive.update(self._inactive())
        if not world.bare:
            linked_roles.create(cloud.identity, world.home, cloud.clock.now())
            if "roles" in text:
                self._listed_roles()
            else:
                shipped_roles(cloud, world, policy["accounts"], "link")
            for place in self.regions.values():
                queues_and_log(place, world)
        for vpc in text["vpcs"]:
            self._vpc(vpc)
        for group in text.get("groups", ()):
            self._group(group)
        for instance in text.get("instances", ()):
            self._instance(instance)
        now = int(cloud.clock.now())
        if not world.history:
            history.capture(cloud, (now - 7 * 86_400 + 1, now))
        return world

    def _plain_policy(self) -> dict[str, Any]:
        """For a world without a policy of its own: every account with the usual role, but for home, which has none."""
        accounts: dict[str, dict[str, str]] = {}
        for uid, name in self.text["accounts"].items():
            entered = {"role": f"acs:ram::{uid}:role/{PREFIX}", "external_id": EXTERNAL_ID}
            accounts[uid] = {"name": name, **({} if uid == self.text["home"] else entered)}
        return {"deployment": self.text["deployment"], "accounts": accounts}

    def _open_regions(self, world: World) -> None:
        """Open the entrances of the regions; each gets the world, with VPCs of its own."""
        names = self.text.get("regions") or [self.cloud.region]
        if self.cloud.region not in names:
            raise ValueError(f"regions: the cloud is entered at {self.cloud.region}, which must be among them")
        for name in names:
            place = self.regions[name] = self.cloud.region_at(name)
            place.world = world if place is self.cloud else replace(world, vpcs=[])

    def _vpc(self, vpc: dict[str, Any]) -> None:
        region = vpc.get("region", self.cloud.region)
        if region not in self.regions:
            raise ValueError(f"VPC {vpc['name']}: {region} is not in the list `regions`")
        place = self.places[vpc["name"]] = self.regions[region]
        shared_with = list(vpc.get("shared_with", ()))
        made = self.vpcs[vpc["name"]] = place.ecs.create_vpc(
            vpc["owner"], vpc["cidr"], shared_with=tuple(shared_with), name=vpc["name"]
        )
        shown = {"id": made.id, "vswitch_id": made.vswitch_id, "owner": vpc["owner"], "shared_with": shared_with}
        place.world.vpcs.append(shown)

    def _inactive(self) -> set[str]:
        """The services of the file's `inactive`."""
        named = set(self.text.get("inactive", ()))
        if not named <= INACTIVE.keys():
            raise ValueError(f"inactive: there are {', '.join(sorted(INACTIVE))}")
        return named

    def _listed_roles(self) -> None:
        """Create the roles that the file lists. ValueError for a string where a list of strings is expected: it would be
        read letter by letter."""
        for listed in self.text["roles"]:
            given = dict(listed)
            for name in ("trusted", "allowed_actions"):
                value = given.get(name)
                if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                    raise ValueError(f"role {given['name']}: {name} must be a list of strings")
            actions = given.pop("allowed_actions", None)
            trust = trust_text(given.pop("trusted", None) or [], given.pop("external_id", None))
            role = self.cloud.identity.add_role(Role(**given, trust=trust))
            self.cloud.identity.allow_only(role.arn, ["*"] if actions is None else actions)

    def _group(self, group: dict[str, Any]) -> None:
        account, place = group["account"], self.places[group["vpc"]]
        made = place.ecs.create_group(
            account,
            self.vpcs[group["vpc"]].id,
            name=group["name"],
            type=group.get("type", "normal"),
            managed=group.get("managed", False),
            inner_access=group.get("inner_access", ""),
            tags=group.get("tags", {}),
            group_id=group.get("id"),
        )
        self.places[made.id] = place
        for permission in group.get("rules", ()):
            given = dict(permission)
            rule_id = given.pop("SecurityGroupRuleId", None)
            params = {"RegionId": place.region, "SecurityGroupId": made.id}
            params.update({f"Permissions.1.{name}": str(value) for name, value in given.items()})
            place.ecs.call(Caller(account, f"acs:ram::{account}:root"), "AuthorizeSecurityGroup", params)
            if rule_id:
                self._name_last_rule(made, rule_id)

    def _name_last_rule(self, group: Group, rule_id: str) -> None:
        now = self.cloud.clock.now()
        *others, last = group.rules.at(now)
        group.rules.change(now, lambda _rules: (*others, replace(last, id=rule_id)))

    def _instance(self, instance: dict[str, Any]) -> None:
        self.places[instance["groups"][0]].ecs.create_instance(
            instance["account"],
            instance["groups"],
            tags=instance.get("tags", {}),
            instance_id=instance.get("id"),
            private_ip=instance.get("private_ip"),
            name=instance.get("name", ""),
        )

    def _written(self, policy: dict[str, Any]) -> Path:
        """The path of the policy file for the functions."""
        folder = Path(tempfile.mkdtemp(prefix="link-peer-world-"))
        # with the cloud, not at exit: workers of pytest-xdist end without exit handlers
        weakref.finalize(self.cloud, shutil.rmtree, folder, ignore_errors=True)
        path = folder / "policy.yaml"
        path.write_text(yaml.dump(policy, Dumper=_DUMPER, sort_keys=False), encoding="utf-8")
        return path
