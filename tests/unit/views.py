"""Snapshots of the small world, for the pure parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.model import TAG, Claim, Group, Instance, Marker, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso, parse_ports

from tests.unit.small_world import HOME, INSTANCES, MANAGED, NOW, PEER, POLICY, REGION


def policy(**changes: Any) -> Policy:
    return msgspec.structs.replace(POLICY, **changes)


def group(party: Party, accept: str = "", *, lock: bool = False, managed_tag: bool = False, **fields: Any) -> Group:
    tags = {"link-accept": accept} if accept else {}
    tags |= {"link-lock": ""} if lock else {}
    tags |= {MANAGED: "true", INSTANCES: "true"} if managed_tag else {}
    return Group(**{"party": party, "vpc": "vpc-1", "tags": tags, **fields})


def managed(party: Party, accept: str = "", **fields: Any) -> Group:
    """A group with the managed tag."""
    return group(party, accept, managed_tag=True, **fields)


def instance(party: Party, *groups: Party, ip: str = "", vpc: str = "vpc-1", **tags: str) -> Instance:
    """`link_peer="sg-db"`: `_` stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in tags.items()}
    return Instance(party, vpc, tuple(g.id for g in groups), ip, named)


def ours(
    key: RuleKey,
    *claims: Claim,
    priority: int = 100,
    ends: tuple[Party, Party] | None = None,
    age: float | None = None,
) -> Rule:
    """A rule of this deployment, `age` seconds old."""
    marker = Marker(HOME, "prod", key.id(HOME, "prod", REGION), claims or (TAG,), ends)
    name, created = f"sgr-{key.id(HOME, 'prod', REGION)}", iso(NOW - age) if age is not None else ""
    return Rule(key.group, name, key, "accept", priority, markers.render(marker), created)


def theirs(key: RuleKey, description: str = "", act: str = "accept", priority: int = 1) -> Rule:
    """A rule that a person made."""
    return Rule(key.group, f"sgr-{act}-{priority}", key, act, priority, description)


def key(target: Party, source: Party, port: str = "all") -> RuleKey:
    """`source` may reach `target`: a group rule."""
    return RuleKey(target, str(source), "", Port("all") if port == "all" else parse_ports(port)[0])


def view(
    groups: Iterable[Group] = (),
    instances: Iterable[Instance] = (),
    rules: Iterable[Rule] = (),
    alive: bool = True,
    **fields: Any,
) -> Snapshot:
    """The snapshot after everything was read, and this is what the cloud showed. `fields` are others of the snapshot."""
    by_party = {g.party: g for g in groups}
    found: dict[Party, tuple[Rule, ...]] = dict.fromkeys(by_party, ())
    for rule in rules:
        found[rule.group] = (*found.get(rule.group, ()), rule)
    shown = {i.party: i for i in instances}
    read: dict[str, Any] = {
        "instances": shown,
        "groups": by_party,
        "rules": found,
        "requested": {*by_party, *shown},
        "whole_accounts": {HOME, PEER},
        "live_accounts": {HOME, PEER} if alive else set(),
    }
    return Snapshot(**{**read, **fields})
