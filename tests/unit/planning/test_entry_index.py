"""What is looked up in the entries of a policy is what all of them say; and how many are looked at does not grow with
them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import TypeVar
from unittest import mock

import msgspec
import pytest
from link_peer.domain.errors import NoAccess
from link_peer.domain.model import Group, Link, Party, Port, RuleKey
from link_peer.domain.policy import Allow, GroupSet, Never, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, parse_ports
from link_peer.planning.claims import links_from_tags
from link_peer.planning.decision import Context
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May
from link_peer.planning.verdict import single_link
from link_peer.planning.verdict.acceptance import closed_by_group
from link_peer.planning.verdict.single_link import permitted

from tests.counted import calls_of
from tests.sample import SEED, WHOLE
from tests.unit.planning import plain_entries
from tests.unit.small_world import APP, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, ours, policy, view

ACCOUNTS = (HOME, PEER)
GROUPS = [Party(account, f"sg-{name}") for account in ACCOUNTS for name in "abcd"]
INSTANCES = [Party(account, f"i-{name}") for account in ACCOUNTS for name in "abc"]
PORTS = [Port("tcp", 22, 22), Port("tcp", 20, 30), Port("udp", 53, 53), Port("icmp")]
VALUES = ("", "prod", "dev")
LINKS_OF_A_WORLD = 20
CASES = 1_000_000 if os.environ.get(WHOLE) else 10_000
PARTS = 20

Choice = TypeVar("Choice")


class _Dice(random.Random):
    def up_to(self, choices: list[Choice], most: int) -> list[Choice]:
        """Up to so many of these, or all."""
        return self.sample(choices, min(self.randrange(most + 1), len(choices)))


def _group(dice: _Dice, party: Party) -> Group:
    tags = {key: value for key in ("env", "tier") if (value := dice.choice(VALUES))}
    entries = dice.up_to(["*", "sg-a", "sg-b:tcp/22", f"*@{PEER}", f"sg-c@{PEER}", "i-a", f"i-b@{HOME}:tcp/20-30"], 2)
    tags |= {"link-accept": " ".join(entries)} if entries else {}
    tags |= {"link-egress": dice.choice(["*", f"sg-a@{PEER}"])} if dice.random() < 0.2 else {}
    tags |= {"link-refuse": dice.choice(["sg-a", "i-b:tcp/22", "x:"])} if dice.random() < 0.1 else {}
    advanced = dice.random() < 0.3
    return group(party, vpc=dice.choice(["vpc-1", "vpc-1", "vpc-2"]), advanced=advanced, tags=tags)


def _world(dice: _Dice) -> Snapshot:
    """Groups with tags of every kind, and instances in one or two of them, as far as they are shown; sometimes an
    account cannot be read."""
    groups = [_group(dice, party) for party in GROUPS if dice.random() < 0.9]
    instances = [
        instance(
            party,
            *dice.sample([g for g in GROUPS if g.account == party.account], dice.choice((1, 2))),
            ip=f"10.0.0.{n}",
        )
        for n, party in enumerate(INSTANCES, start=1)
        if dice.random() < 0.8
    ]
    world = view(groups, instances)
    if dice.random() < 0.3:
        world = msgspec.structs.replace(world, refused_accounts={PEER: NoAccess("NoPermission", "no")})
    elif dice.random() < 0.2:
        world = msgspec.structs.replace(world, failed_accounts={PEER: "timeout"})
    return world


def _policy(dice: _Dice) -> Policy:
    sets = {
        f"s{number}": GroupSet(
            dice.choice(ACCOUNTS),
            {key: dice.choice(VALUES[1:]) for key in dice.choice([["env"], ["tier"], ["env", "tier"]])},
        )
        for number in range(4)
    }

    def end() -> Grantee:
        if dice.random() < 0.3:
            name = dice.choice(list(sets))
            return Grantee(sets[name].account, f"set:{name}")
        party = dice.choice([*GROUPS, *INSTANCES])
        return Grantee(party.account, dice.choice(("*", party.id, party.id, party.id)))

    def ports() -> tuple[Port, ...]:
        return tuple(dice.up_to(PORTS, 2))

    allow = [
        Allow(end(), end(), ports(), f"allow={number}", dice.choice((None, None, int(NOW) - 1, int(NOW) + 9)))
        for number in range(dice.randrange(12))
    ]
    never = [Never(end(), end(), ports(), f"never={number}") for number in range(dice.randrange(8))]
    return policy(allow=tuple(allow), never=tuple(never), sets=sets, accept_tags=dice.random() < 0.5)


def _link(dice: _Dice) -> Link:
    """A link of any kind: mutual or not, of groups, of instances, one part of it at either end, or a group's to an
    instance."""
    ports = tuple(dice.up_to(PORTS, 2))
    if dice.random() < 0.3:
        return Link(*dice.sample(INSTANCES, 2), ports)
    source, target = dice.sample(GROUPS, 2)
    if not ports or dice.random() < 0.4:
        return Link(source, target, ports)
    if dice.random() < 0.2:
        return Link(source, dice.choice(INSTANCES), ports, is_egress=True)
    is_egress = dice.random() < 0.3
    members = [party for party in INSTANCES if party.account == (target if is_egress else source).account]
    return Link(source, target, ports, dice.choice(members).id, is_egress)


def _key(link: Link) -> RuleKey:
    holder = link.source if link.is_egress else link.target
    source, dest = ("", "10.0.0.1/32") if link.is_egress else (str(link.source), "")
    if not holder.is_group:
        holder = GROUPS[0]
    return RuleKey(holder, source, dest, link.ports[0] if link.ports else Port("all"))


def _answers(snapshot: Snapshot, rules: Policy, links: list[Link]) -> Iterator[object]:
    fresh = msgspec.structs.replace(snapshot)  # which remembers nothing
    for link in links:
        yield permitted(fresh, rules, link, NOW), closed_by_group(fresh, rules, _key(link), link, NOW)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
def test_the_index_answers_as_all_entries_do(part: int) -> None:
    """On random policies, links and tags, whatever of them can be read."""
    dice = _Dice(f"{SEED} {part}")
    for number in range(CASES // PARTS // LINKS_OF_A_WORLD):
        snapshot, rules = _world(dice), _policy(dice)
        links = [_link(dice) for _ in range(LINKS_OF_A_WORLD)]
        answers = list(_answers(snapshot, rules, links))
        with plain_entries.plain_verdicts():
            expected = list(_answers(snapshot, rules, links))
        for link, answer, plain in zip(links, answers, expected, strict=True):
            assert answer == plain, f"seed {SEED}, part {part}, world {number}: {link}\n{rules.allow}\n{rules.never}"


def _entries_of_others(kind: str, count: int) -> Policy:
    """Entries of home's own parties, none of which is an end of the link that is asked about."""
    sets = {f"s{number}": GroupSet(HOME, {"env": f"v{number}"}) for number in range(10)}
    sources = [f"set:s{number % 10}" if "sets" in kind else f"sg-x{number}" for number in range(count)]
    pairs = [(Grantee(HOME, source), Grantee(HOME, f"sg-y{number}")) for number, source in enumerate(sources)]
    if kind.startswith("never"):
        return policy(never=tuple(Never(*pair, (), "never=x") for pair in pairs), sets=sets)
    return policy(allow=tuple(Allow(*pair, (), "allow=x") for pair in pairs), sets=sets)


@pytest.mark.parametrize("kind", ["never", "never with sets", "allow", "allow with sets"])
def test_a_verdict_costs_no_more_for_entries_that_name_others(kind: str) -> None:
    """Counted in calls of functions, once the index is there."""
    snapshot = view([group(APP), group(DB, "sg-app")])

    def calls(count: int) -> int:
        rules = _entries_of_others(kind, count)
        assert permitted(snapshot, rules, Link(APP, DB, (PORTS[0],)), NOW).denial is None
        fresh = msgspec.structs.replace(snapshot)
        return calls_of(lambda: permitted(fresh, rules, Link(APP, DB, (PORTS[0],)), NOW))

    few = calls(10)
    assert few > 20
    assert calls(1000) <= few


def test_a_plan_judges_each_link_once() -> None:
    """Whoever asks for it, and whatever rules stand for it; the same snapshot is not asked again."""
    asking = [instance(party, APP, ip=ip, link_peer="sg-db:tcp/1") for party, ip in ((A, "10.0.0.1"), (B, "10.0.0.2"))]
    snapshot = view([managed(APP), managed(DB, "sg-app")], asking, [ours(key(DB, APP, "tcp/1"))])
    links = [link for asker in asking for link in links_from_tags(snapshot, asker, NOW, POLICY)]
    with mock.patch.object(single_link, "_verdict", wraps=single_link._verdict) as judgments:
        for _ in range(2):
            plan = make_plan(snapshot, Context(POLICY, REGION, NOW), links, may_lose=lambda *_: May.TAKE)
    assert [decision.outcome for decision in plan.decisions] == ["unchanged"]
    assert [call.args[2] for call in judgments.call_args_list] == [Link(APP, DB, parse_ports("tcp/1"))]
