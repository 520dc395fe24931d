"""Snapshots of the small world, for the pure parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from link_peer.domain import marker as markers
from link_peer.domain.model import TAG, Claim, Group, Instance, Marker, Party, Port, Rule, RuleKey
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import iso, parse_port, parse_ports

from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, MANAGED, NOW, PEER, POLICY, REGION, A, B, C


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
    tags_by_key = {name.replace("_", "-"): value for name, value in tags.items()}
    return Instance(party, vpc, tuple(g.id for g in groups), ip, tags_by_key)


def ours(
    key: RuleKey,
    *claims: Claim,
    priority: int = 100,
    ends: tuple[Party, Party] | None = None,
    age: float | None = None,
) -> Rule:
    """A rule of this deployment, `age` seconds old."""
    marker = Marker(HOME, "prod", key.id(HOME, "prod", REGION), claims or (TAG,), ends, key.is_egress)
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
    """The snapshot after everything was read, and this is what the cloud showed. `fields` are others of the
    snapshot."""
    by_party = {g.party: g for g in groups}
    rules_by_party: dict[Party, tuple[Rule, ...]] = dict.fromkeys(by_party, ())
    for rule in rules:
        rules_by_party[rule.group] = (*rules_by_party.get(rule.group, ()), rule)
    instances_by_party = {i.party: i for i in instances}
    read: dict[str, Any] = {
        "instances": instances_by_party,
        "groups": by_party,
        "rules": rules_by_party,
        "requested": {*by_party, *instances_by_party},
        "whole_accounts": {HOME, PEER},
        "live_accounts": {HOME, PEER} if alive else set(),
    }
    return Snapshot(**{**read, **fields})


IPS = {A: "10.0.0.1", B: "10.0.0.2", C: "10.0.0.3"}
APART = [managed(APP, "*"), managed(DB, "*", vpc="vpc-2"), managed(CACHE, "*")]
"""The groups of the small world, with sg-db in another VPC: links to it are written by address."""


def one_instance(party: Party, *groups: Party, peer: str = "", **fields: Any) -> Instance:
    """An instance of home, which asks for `peer`."""
    tags = {"link_peer": peer} if peer else {}
    return instance(party, *groups, **{"ip": IPS.get(party, "10.0.0.9"), **tags, **fields})


def between(source: Party, target: Party, group: Party, port: str = "tcp/1", ip: str = "", *claims: Claim) -> Rule:
    """A rule of ours between the addresses of two instances; `ip` is the source's, where it is not that of now."""
    rule = RuleKey(group, f"{ip or IPS[source]}/32", f"{IPS[target]}/32", parse_port(port))
    return ours(rule, *claims, ends=(source, target))


def member(party: Party, *claims: Claim) -> Rule:
    """A rule of a link of sg-app by address, for one of its instances."""
    return ours(RuleKey(DB, f"{IPS[party]}/32", "", parse_port("tcp/1")), *claims, ends=(party, APP))


def text(rule: RuleKey) -> str:
    return f"{rule.source.partition('@')[0]}>{rule.group.id} {rule.port}"
