"""Worlds to start from: YAML files of accounts, roles, VPCs, groups, instances, queues and logs.

| key | |
|---|---|
| `accounts` | uid to name; the rest of the file names accounts by uid |
| `regions` | those that the world is in, the cloud's own among them; without it, that one alone |
| `vpcs` | `{name, owner, cidr, shared_with, region}` |
| `peerings` | pairs of names of VPCs with a route between them |
| `groups` | `{account, name, vpc, id, type, managed, inner_access, tags, rules}`; a rule has the keys of AuthorizeSecurityGroup, with `Direction: egress` those of AuthorizeSecurityGroupEgress, and may have a `SecurityGroupRuleId` |
| `instances` | `{account, groups, id, name, private_ip, tags}` |
| `roles` | `{account, name, trusted, external_id, allowed_actions}`: `trusted` are ARNs and service names, and no `allowed_actions` means all |
| `service_linked_roles` | the accounts that have those of EventBridge |
| `queues` | `{account, name}`, in each region |
| `logs` | `{account, project, logstores}`, in each region: the index of each logstore by its name |
| `inactive` | services that the accounts have not activated |
| `knobs` | readings, by knob |
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any, TypeVar

import yaml
from msgspec import Struct, field
from msgspec.structs import replace

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.identity import Caller
from aliyun_local.core.principals import Role, trust_text
from aliyun_local.core.refusals import INACTIVE
from aliyun_local.ecs.state import Group
from aliyun_local.eventbridge import linked_roles

WORLDS = Path(__file__).parent / "worlds"
_KEYS = frozenset(
    [
        "accounts",
        "regions",
        "vpcs",
        "peerings",
        "groups",
        "instances",
        "roles",
        "service_linked_roles",
        "queues",
        "logs",
        "inactive",
        "knobs",
    ]
)
# The keys of an entry of each list. Those of `roles` are the fields of Role.
_ENTRY_KEYS = {
    "vpcs": {"name", "owner", "cidr", "shared_with", "region"},
    "groups": {"account", "name", "vpc", "id", "type", "managed", "inner_access", "tags", "rules"},
    "instances": {"account", "groups", "id", "name", "private_ip", "tags"},
    "queues": {"account", "name"},
    "logs": {"account", "project", "logstores"},
}
DEFAULT = "two-accounts"
# Ten times as fast, where PyYAML was built with libyaml: thousands of tests load a world.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WorldError(ValueError):
    """A world file that cannot be loaded; the message names the file and the problem."""


class World(Struct):
    """What a world has named in a region: `vpcs` are `{name, id, vswitch_id, owner, shared_with}` in the file's order.

    Who has names of its own beside these loads a subclass.
    """

    vpcs: list[dict[str, Any]] = field(default_factory=list)


AnyWorld = TypeVar("AnyWorld", bound=World)
_Read = TypeVar("_Read")


def load(cloud: LocalCloud, world: str | Path = DEFAULT) -> World:
    """Fill an empty cloud from a file, or from one of the bundled worlds by name (`two-accounts`, `web-shop`, `empty`).
    Raises WorldError."""
    path = path_of(world, WORLDS)
    return loaded(path, lambda text: fill(cloud, text, World()))


def path_of(world: str | Path, bundled: Path) -> Path:
    """The file of a world that may be named like one in a folder. Raises WorldError, which names those that there
    are."""
    path = Path(world)
    if path.suffix:
        return path
    path = bundled / f"{world}.yaml"
    if not path.exists():
        names = sorted(file.stem for file in bundled.glob("*.yaml"))
        raise WorldError(f"{str(world)!r} is neither a file nor one of {', '.join(names)}")
    return path


def loaded(path: Path, read: Callable[[dict[str, Any]], _Read]) -> _Read:
    """What `read` makes of a file's text. Raises WorldError for a file that cannot be read, or that it cannot use."""
    try:
        text = yaml.load(path.read_text(encoding="utf-8"), _LOADER)  # noqa: S506  # both are safe
        if not isinstance(text, dict):
            raise TypeError("not a mapping of the keys of a world")
        return read(text)
    except KeyError as missing:
        raise WorldError(f"{path}: {missing} is missing") from None
    except (OSError, TypeError, ValueError, yaml.YAMLError) as problem:
        raise WorldError(f"{path}: {problem}") from problem


def fill(cloud: LocalCloud, text: Mapping[str, Any], world: AnyWorld, further_keys: Set[str] = frozenset()) -> AnyWorld:
    """Fill an empty cloud, whose `world` then is the one given, with a copy for each further region. ValueError,
    KeyError or TypeError for text that is no world; a key that is not among these or `further_keys`, which the caller
    reads, is an error."""
    _check_keys("", text, _KEYS | further_keys)
    for name, keys in _ENTRY_KEYS.items():
        for entry in text.get(name, ()):
            _check_keys(f"{name}: ", entry, keys)
    _Loader(cloud, text).load(world)
    return world


def _check_keys(place: str, fields: Mapping[str, Any], keys: Set[str]) -> None:
    """ValueError for a key that nothing reads."""
    for key in fields:
        if key not in keys:
            raise ValueError(f"{place}unknown key {key!r}: the known keys are {', '.join(sorted(keys))}")


def describe(cloud: LocalCloud) -> dict[str, Any]:
    """The first line of `aliyun-local --json`: the endpoint, the accounts with their keys, and the names of what the
    cloud holds."""
    identity, world = cloud.identity, cloud.world
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
        "roles": [
            {"arn": role.arn, "external_id": role.external_id or ""}
            for role in identity.roles.values()
            if not role.linked_to
        ],
        "queues": [queue.name for uid in identity.accounts for queue in cloud.mns.queues(uid)],
        "projects": [project.name for uid in identity.accounts for project in cloud.sls.projects(uid)],
    }


class _Loader:
    def __init__(self, cloud: LocalCloud, text: Mapping[str, Any]) -> None:
        self.cloud = cloud
        self.text = text
        self.vpcs: dict[str, Any] = {}
        self.regions: dict[str, LocalCloud] = {}
        self.places: dict[str, LocalCloud] = {}  # the region of each VPC, by name, and group, by id

    def load(self, world: World) -> None:
        text, cloud = self.text, self.cloud
        for uid, name in text["accounts"].items():
            cloud.identity.add_account(uid, name)
            cloud.ecs.account_names[name] = uid
        self._open_regions(world)
        cloud.knobs.change(text.get("knobs") or {})
        cloud.inactive.update(self._inactive())
        for uid in text.get("service_linked_roles", ()):
            linked_roles.create(cloud.identity, uid, cloud.clock.now())
        self._roles()
        if text.get("logs") and len(self.regions) > 1 and cloud.knobs.project_names == "global":
            raise WorldError(
                "logs: each region would have a project of the same name: set the knob project_names to region"
            )
        for place in self.regions.values():
            self._queues_and_logs(place)
        for vpc in text["vpcs"]:
            self._vpc(vpc)
        for pair in text.get("peerings", ()):
            self._peering(pair)
        for group in text.get("groups", ()):
            self._group(group)
        for instance in text.get("instances", ()):
            self._instance(instance)

    def _queues_and_logs(self, place: LocalCloud) -> None:
        for queue in self.text.get("queues", ()):
            place.mns.create_queue(queue["account"], queue["name"])
        for log in self.text.get("logs", ()):
            place.sls.create_project(log["account"], log["project"])
            for name, index in log["logstores"].items():
                place.sls.create_logstore(log["account"], log["project"], name)
                place.sls.create_index(log["account"], log["project"], name, dict(index))

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
        vpc_state = self.vpcs[vpc["name"]] = place.ecs.create_vpc(
            vpc["owner"], vpc["cidr"], shared_with=tuple(shared_with), name=vpc["name"]
        )
        described_vpc = {
            "name": vpc["name"],
            "id": vpc_state.id,
            "vswitch_id": vpc_state.vswitch_id,
            "owner": vpc["owner"],
            "shared_with": shared_with,
        }
        place.world.vpcs.append(described_vpc)

    def _peering(self, pair: list[str]) -> None:
        """Join two VPCs of one region, in both directions."""
        if not isinstance(pair, list) or len(pair) != 2 or len(self.vpcs.keys() & {*pair}) != 2:
            raise ValueError(f"peerings: {pair} is no list of two VPCs of the file")
        ends = {self.places[name].region: self.places[name] for name in pair}
        if len(ends) == 2:
            raise ValueError(f"peerings: {' and '.join(pair)} are in two regions")
        [place] = ends.values()
        place.ecs.peerings.add(frozenset(self.vpcs[name].id for name in pair))

    def _inactive(self) -> set[str]:
        """The services of the file's `inactive`."""
        services = set(self.text.get("inactive", ()))
        if not services <= INACTIVE.keys():
            raise ValueError(f"inactive: there are {', '.join(sorted(INACTIVE))}")
        return services

    def _roles(self) -> None:
        """Create the roles that the file lists. ValueError for a string where a list of strings is expected: it would
        be read letter by letter."""
        for listed in self.text.get("roles") or ():
            fields = dict(listed)
            for name in ("trusted", "allowed_actions"):
                value = fields.get(name)
                if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                    raise ValueError(f"role {fields['name']}: {name} must be a list of strings")
            actions = fields.pop("allowed_actions", None)
            trust = trust_text(fields.pop("trusted", None) or [], fields.pop("external_id", None))
            role = self.cloud.identity.add_role(Role(**fields, trust=trust))
            self.cloud.identity.allow_only(role.arn, ["*"] if actions is None else actions)

    def _group(self, group: dict[str, Any]) -> None:
        account, place = group["account"], self.places[group["vpc"]]
        group_state = place.ecs.create_group(
            account,
            self.vpcs[group["vpc"]].id,
            name=group["name"],
            type=group.get("type", "normal"),
            managed=group.get("managed", False),
            inner_access=group.get("inner_access", ""),
            tags=group.get("tags", {}),
            group_id=group.get("id"),
        )
        self.places[group_state.id] = place
        for permission in group.get("rules", ()):
            fields = dict(permission)
            rule_id, direction = fields.pop("SecurityGroupRuleId", None), fields.pop("Direction", "ingress")
            if direction not in ("ingress", "egress"):
                raise ValueError(f"group {group['name']}: the Direction of a rule is ingress or egress")
            action = "AuthorizeSecurityGroup" + ("Egress" if direction == "egress" else "")
            params = {"RegionId": place.region, "SecurityGroupId": group_state.id}
            params.update({f"Permissions.1.{name}": str(value) for name, value in fields.items()})
            place.ecs.call(Caller(account, f"acs:ram::{account}:root"), action, params)
            if rule_id:
                self._name_last_rule(group_state, rule_id)

    def _name_last_rule(self, group: Group, rule_id: str) -> None:
        now = self.cloud.clock.now()
        *earlier_rules, last = group.rules.at(now)
        group.rules.change(now, lambda _rules: (*earlier_rules, replace(last, id=rule_id)))

    def _instance(self, instance: dict[str, Any]) -> None:
        self.places[instance["groups"][0]].ecs.create_instance(
            instance["account"],
            instance["groups"],
            tags=instance.get("tags", {}),
            instance_id=instance.get("id"),
            private_ip=instance.get("private_ip"),
            name=instance.get("name", ""),
        )
