"""A plan reads the kind of a reason, and never its code."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import CloudError
from link_peer.domain.model import Claim, Party
from link_peer.domain.policy import Limits
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.decision import Decision
from link_peer.planning.removals import May

from tests.reasons import SHIFTS, swapped
from tests.unit.planning.test_plan import desired_links, plan, some_world
from tests.unit.views import APP, CACHE, DB, HOME, NOW, ours, policy


def disturbed(dice: random.Random) -> Snapshot:
    """A world in which much is denied: things that are not shown or not suitable, ends that are past, accounts that cannot
    be read."""
    seen = some_world(dice)
    groups: dict[Party, Any] = {
        party: msgspec.structs.replace(
            one,
            advanced=dice.random() < 0.2,
            managed=dice.random() < 0.1,
            vpc=dice.choice(["vpc-1"] * 5 + ["vpc-2", ""]),
        )
        for party, one in seen.groups.items()
        if dice.random() < 0.9
    }
    instances = {}
    for party, one in seen.instances.items():
        tags = {**one.tags, **dice.choice([{}, {}, {"link-until": "2020-01-01T00:00:00Z"}, {"link-until": "soon"}])}
        instances[party] = msgspec.structs.replace(
            one, tags=tags, ip=dice.choice([one.ip, one.ip, "", "8.8.8.8", "10.0.0.1"])
        )
    instances = {party: one for party, one in instances.items() if dice.random() < 0.9}
    ended = Claim("chg-7", int(NOW) - 60)
    rules = {
        party: tuple(ours(r.key, ended) if r.key and dice.random() < 0.1 else r for r in found)
        for party, found in seen.rules.items()
        if party in groups
    }
    fields: dict[str, Any] = dice.choice(
        [
            *[{}] * 4,
            {"live_accounts": set()},
            {"refused_accounts": {HOME: CloudError("Forbidden.RAM", "no")}},
            {"failed_accounts": {HOME: "timeout"}},
            {"inner_access": dict.fromkeys((APP, DB, CACHE), False)},
        ]
    )
    return msgspec.structs.replace(seen, groups=groups, instances=instances, rules=rules, **fields)


def done(decisions: Iterable[Decision]) -> list[tuple[Any, ...]]:
    """What each decision does: all of it but what it says."""
    return [
        (d.link, d.action, d.outcome, d.edits, d.missing_managed_tag, d.unseen, d.instance, d.raw, d.rules)
        for d in decisions
    ]


@pytest.mark.parametrize("seed", range(60))
def test_any_two_reasons_of_a_kind_may_be_swapped(seed: int) -> None:
    """The plan does the same to rules and tags, comes to the same outcomes, and misses the same."""
    dice = random.Random(seed)
    seen = disturbed(dice)
    rules = policy(limits=Limits(max_peers=dice.choice([1, 50]), max_ports=dice.choice([1, 20])))
    may = dice.choice([May.TAKE, May.TAKE, May.CLOSE, May.READ])
    limit = dice.choice([0, 50])

    def planned() -> tuple[Any, ...]:
        found = plan(seen, *desired_links(seen), with_policy=rules, may_lose=may, limit=limit)
        return done(found.decisions), found.missing, found.due, found.held

    expected = planned()
    for shift in SHIFTS:
        with swapped(shift):
            assert planned() == expected, shift
