"""The order in which links, groups, rules and instances are given decides nothing: the same plan for all orders."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import TypeVar

import pytest
from link_peer.domain import reasons
from link_peer.domain.denial import Denial
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import parse_ports
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Plan, Refusal, Unseen
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May

from tests.unit.views import (
    APP,
    CACHE,
    DB,
    HOME,
    NOW,
    POLICY,
    REGION,
    A,
    B,
    group,
    instance,
    key,
    managed,
    ours,
    theirs,
    view,
)

T = TypeVar("T")
C, D = Party(HOME, "i-c"), Party(HOME, "i-d")
GROUPS, INSTANCES = (APP, DB, CACHE), (A, B, C, D)
ADDRESSES = ("10.0.0.1", "10.0.0.2")  # fewer than instances: a /32 cannot tell some of them apart
PORTS = ("tcp/1", "tcp/2")
CLAIMS = ((TAG,), (TAG, Claim("chg-1")), (Claim("chg-1", int(NOW) - 1), Claim("chg-2")), (Claim("chg-1"),))


class World:
    """A random world, of which `plan` gives the plan for one order of everything in it."""

    def __init__(self, seed: int) -> None:
        dice = random.Random(seed)
        self.dice = dice
        accepts = ["", "*", "*", "*", "sg-app", "i-a i-c:tcp/1"]
        peers = ["", "sg-db", "sg-db:tcp/1", "sg-cache:tcp/1+tcp/2", "i-b", "i-b:tcp/1 i-d:tcp/1", "i-d:tcp/2 sg-app x"]
        self.groups: list[Group] = [
            dice.choice((group, managed))(party, dice.choice(accepts), lock=dice.random() < 0.1) for party in GROUPS
        ]
        self.instances: list[Instance] = [
            instance(i, dice.choice(GROUPS), ip=dice.choice(ADDRESSES), link_peer=dice.choice(peers))
            for i in INSTANCES
            if dice.random() < 0.9
        ]
        self.rules: list[Rule] = [self._rule() for _ in range(dice.choice([0, 3, 6]))]
        full = dice.choice([0, 0, 18, 19, 20])
        self.rules += [theirs(key(DB, Party(HOME, f"sg-{number}"), "tcp/9")) for number in range(full)]
        self.rules = list({(rule.group, rule.id): rule for rule in self.rules}.values())
        self.links = [
            wanted for one in self.instances for wanted in links_from_tags(self._seen(), one, NOW, POLICY)
        ] + [
            DesiredLink(self._link(), Claim(f"chg-{n}", dice.choice([None, int(NOW) + n])), opens=dice.random() < 0.7)
            for n in range(3)
        ]
        denials = [Denial(reasons.QUOTA, "full", outcome="failed"), Denial(reasons.PEER_NOT_FOUND, "gone")]
        self.refused = {wanted.link: Refusal(dice.choice(denials)) for wanted in self.links if dice.random() < 0.1}
        self.may = {link: dice.choice(list(May)) for link in (True, False)}
        self.held = frozenset({Unseen(HOME, HOME)} if dice.random() < 0.2 else ())
        self.context = Context(POLICY, REGION, NOW, is_request=dice.random() < 0.3, completes_tags_only=True)

    def plan(self, *, shuffled: bool) -> Plan:
        links, refused = list(self.links), list(self.refused.items())
        if shuffled:
            self.dice.shuffle(links)
            self.dice.shuffle(refused)
        return make_plan(
            self._seen(shuffled=shuffled),
            self.context,
            links,
            may_lose=lambda rule, _marker, _claim: self.may[bool(rule.key and rule.key.dest)],
            held=self.held,
            refused=dict(refused),
        )

    def _seen(self, *, shuffled: bool = False) -> Snapshot:
        return view(*(self._mixed(part, shuffled) for part in (self.groups, self.instances, self.rules)))

    def _mixed(self, values: Iterable[T], shuffled: bool) -> list[T]:
        given = list(values)
        if shuffled:
            self.dice.shuffle(given)
        return given

    def _link(self) -> Link:
        ports = self.dice.choice([(), parse_ports("tcp/1"), parse_ports("tcp/1+tcp/2")])
        return Link(*self.dice.sample(self.dice.choice([GROUPS, INSTANCES]), 2), ports)

    def _rule(self) -> Rule:
        """A rule of ours or a person's, of groups or of addresses."""
        dice, port = self.dice, self.dice.choice(("all", *PORTS))
        target, source = dice.sample(GROUPS, 2)
        named, ends = key(target, source, port), None
        if dice.random() < 0.5:
            first, second = dice.sample(INSTANCES, 2)
            addresses = (f"{dice.choice(ADDRESSES)}/32", f"{dice.choice(ADDRESSES)}/32")
            named, ends = RuleKey(target, *addresses, named.port), (first, second)
        if dice.random() < 0.2:
            return theirs(named, act=dice.choice(["accept", "drop"]), priority=dice.choice([1, 100]))
        return ours(named, *dice.choice(CLAIMS), priority=dice.choice([1, 100, 100]), ends=ends)


@pytest.mark.parametrize("seed", range(300))
def test_the_plan_is_the_same_in_any_order(seed: int) -> None:
    """Its decisions too are in the same order."""
    world = World(seed)
    plan = world.plan(shuffled=False)
    for _ in range(3):
        assert world.plan(shuffled=True) == plan


def test_the_worlds_have_something_to_decide() -> None:
    """Shared addresses, full groups, removals, repairs."""
    found = [decision for seed in range(300) for decision in World(seed).plan(shuffled=False).decisions]
    why = {decision.why.reason for decision in found}
    assert {reasons.ADDRESS_CONFLICT, reasons.QUOTA, reasons.NO_CONSENT, reasons.LOCKED} <= why
    assert {decision.outcome for decision in found} == {"applied", "unchanged", "removed", "denied", "failed"}
    assert {decision.action for decision in found} == {"link", "unlink", "expire", "repair"}
