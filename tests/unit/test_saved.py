"""Which files are plans, and for how long a plan may be applied."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import iso
from link_peer_cli.access.environment import Environment
from link_peer_cli.review.saved import decode, deployment_of, load, require_current
from msgspec.structs import replace

from tests.unit.small_world import HOME, NOW, POLICY, REGION

RULE = {"source": f"sg-app@{HOME}", "dest": "", "protocol": "tcp", "ports": "1/1"}
CHANGE = {"action": "authorize", "account": HOME, "group": "sg-db", "place": RULE, "description": "text"}
DEPLOYMENT = {"name": "prod", "home": HOME, "prefix": "link-peer", "region": REGION, "policy": "sha"}
PLAN: dict[str, Any] = {
    "link_peer_plan": 1,
    "made_at": iso(NOW),
    "deployment": DEPLOYMENT,
    "input": {},
    "changes": [CHANGE],
}


def place(**fields: Any) -> dict[str, Any]:
    return {"place": {**RULE, **fields}}


@pytest.mark.parametrize(
    ("change", "is_plan"),
    [
        ({}, True),
        ({"description": "a" * 512}, True),
        ({"description": "a" * 513}, False),
        ({"description": "\x1b[2J"}, False),
        ({"before": "\u202e"}, False),
        ({"account": "1" * 20}, True),
        ({"account": "1" * 21}, False),
        ({"account": "1" * 14}, False),
        ({"group": "sg-" + "a" * 60}, True),
        ({"group": "sg-" + "a" * 61}, False),
        ({"group": "sg-A"}, False),
        ({"action": "delete"}, False),
        ({"unknown": 1}, False),
        (place(source="10.0.0.1/32", dest="10.0.0.2/32", ports="-1/-1"), True),
        (place(source="sg-app"), False),
        (place(source="10.0.0.0/31"), False),
        (place(dest="10.0.0.0/31"), False),
        (place(protocol="gre"), False),
        (place(ports="1"), False),
        (place(unknown=""), False),
        # a change of rules has a place, and one of tags has tags
        ({"place": None}, False),
        ({"tags": ["link-managed"]}, False),
        ({"action": "tag"}, False),
        ({"action": "untag", "place": None}, False),
        ({"action": "untag", "place": None, "tags": ["link-managed"]}, True),
    ],
)
def test_a_file_is_a_plan_where_each_change_is_one_that_a_plan_has(
    tmp_path: Any, change: dict[str, Any], is_plan: bool
) -> None:
    """People read its texts on a terminal, and what is not in one cannot be called."""
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**PLAN, "changes": [{**CHANGE, **change}]}), encoding="utf-8")
    with nullcontext() if is_plan else pytest.raises(LinkPeerError, match="is not a plan of link-peer"):
        load(str(path))


def test_a_file_that_is_nested_too_deeply_is_no_plan() -> None:
    nested = '"requests": [{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]"
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(json.dumps(PLAN).replace('"input": {', '"input": {' + nested).encode())


@pytest.mark.parametrize(
    ("age", "fields", "problem"),
    [
        (86_400, {}, ""),
        (86_401, {}, "is older than 24 hours"),
        (-300, {}, ""),  # clocks differ
        (-301, {}, "which is in the future"),
        (0, {"policy": "other"}, "the policy file is sha, not other"),
        (0, {"name": "dev"}, "the deployment is prod, not dev"),
    ],
)
def test_a_plan_is_for_a_day_and_for_one_deployment(age: float, fields: dict[str, str], problem: str) -> None:
    names, settings = SimpleNamespace(prefix="link-peer"), SimpleNamespace(region=REGION)
    policy = replace(POLICY, digest="sha")
    env = cast(Environment, SimpleNamespace(policy=policy, names=names, settings=settings, now=NOW + age))
    plan = decode(json.dumps({**PLAN, "deployment": {**DEPLOYMENT, **fields}}).encode())
    assert not fields or deployment_of(env) != plan.deployment
    with pytest.raises(LinkPeerError, match=problem) if problem else nullcontext():
        require_current(plan, env)
