"""What holds of a plan in any world: carried out, it leaves nothing to plan and no rule without consent; it reads no
reason's code; and the order in which links, groups, rules and instances are given decides nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest
from link_peer.domain import reasons
from link_peer.domain.denials import Denial
from link_peer.domain.errors import CloudError
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import GroupSet, Limits, Never
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import Grantee, parse_ports
from link_peer.planning import consent
from link_peer.planning.actual import owned_rules
from link_peer.planning.claims import links_from_tags, wanted_by_all
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan, Refusal, Unseen
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May

from tests.reasons import SHIFTS, swapped
from tests.unit.planning.test_plan import REQ, edits, naming, plan
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, POLICY, REGION, A, B
from tests.unit.snapshots import group, instance, key, managed, ours, policy, theirs, view


def carried_out(snapshot: Snapshot, decisions: Sequence[Decision]) -> Snapshot:
    """The snapshot after the edits."""
    rules = [rule for group_rules in snapshot.rules.values() for rule in group_rules]
    for edit in (edit for decision in decisions for edit in decision.edits):
        rules = [rule for rule in rules if edit.rule is None or rule.id != edit.rule.id]
        if edit.claims:
            rules.append(ours(edit.key, *edit.claims, ends=edit.ends))
    return view(snapshot.groups.values(), snapshot.instances.values(), rules)


def some_world(dice: random.Random) -> Snapshot:
    """Three groups that accept some of each other, two instances that ask for links, and rules of every kind."""
    parties = (APP, DB, CACHE)
    accepts = ["", "*", "sg-app", "sg-db:tcp/1", "sg-app:tcp/1 sg-cache"]
    peers = ["", "sg-db", "sg-db:tcp/1", "sg-cache:tcp/1+tcp/2", "sg-app", "i-b", "i-a:tcp/2", "sg-db:tcp/1 sg-db", "x"]
    refusals = ["sg-app", "sg-db", "sg-cache:tcp/1", "i-a", "*:tcp/2", "ledger"]
    groups = [
        msgspec.structs.replace(party_group, tags={**party_group.tags, "link-refuse.x": dice.choice(refusals)})
        if dice.random() < 0.3
        else party_group
        for party_group in (managed(p, dice.choice(accepts), lock=dice.random() < 0.1) for p in parties)
    ]
    instances = [
        instance(i, *dice.sample(parties, dice.choice([1, 2])), ip=f"10.0.0.{n}", link_peer=dice.choice(peers))
        for n, i in enumerate((A, B), start=1)
    ]
    kinds = (ours, lambda k: ours(k, TAG, REQ), lambda k: ours(k, priority=1), theirs, lambda k: theirs(k, act="drop"))
    keys = [key(t, s, port) for t in parties for s in parties if s != t for port in ("all", "tcp/1", "tcp/2")]
    rules = [dice.choice(kinds)(k) for k in dice.sample(keys, dice.choice([0, 2, 5]))]
    return view(groups, instances, rules + naming(dice.choice([0, 0, 18, 19, 20])))


def refused_at(snapshot: Snapshot, holder: Any, peer: Any, rule: RuleKey) -> bool:
    """Whether a group of one end refuses the other on the port of a rule, by the five values that these worlds have."""
    groups = list(holder.groups) if isinstance(holder, Instance) else [holder.id]
    names = {"*", *peer.groups, peer.party.id} if isinstance(peer, Instance) else {"*", peer.id}
    for value in (snapshot.groups[Party(HOME, name)].tags.get("link-refuse.x", "") for name in groups):
        party, _, port = value.partition(":")
        if value == "ledger" or (party in names and (port in ("", str(rule.port)) or str(rule.port) == "all")):
            return True
    return False


def desired_links(snapshot: Snapshot) -> list[DesiredLink]:
    return [claim for i in snapshot.instances.values() for claim in links_from_tags(snapshot, i, NOW, POLICY)]


@pytest.mark.parametrize("seed", range(120))
def test_a_plan_carried_out_leaves_nothing_to_plan_and_no_rule_without_consent(seed: int) -> None:
    """In any world: no rule of a person's is edited, no rule is edited twice, and a second plan has no edits. Each rule
    of ours is then on a group that accepts its source, and is not locked, and no group of either end refuses the
    other."""
    snapshot = some_world(random.Random(seed))
    decisions = plan(snapshot, *desired_links(snapshot)).decisions
    changed = [edit for decision in decisions for edit in decision.edits]
    assert len({edit.key for edit in changed}) == len(changed)
    ours = f"link-peer/2 dep=prod home={HOME} "
    assert all(edit.rule is None or edit.rule.description.startswith(ours) for edit in changed)
    after = carried_out(snapshot, decisions)
    assert edits(plan(after, *desired_links(snapshot)).decisions) == []
    for rule, marker in owned_rules(after, POLICY, REGION):
        assert rule.key is not None
        assert rule.priority == 100
        source: Any = Party(HOME, rule.key.source.partition("@")[0])
        if marker.ends:
            source = after.instances[marker.ends[0]]
        _, missing = consent.consents(
            POLICY, consent.Gate(after.groups[rule.group], source, rule.group), (rule.key.port,), NOW
        )
        assert missing == [], rule.key
        assert "link-lock" not in after.groups[rule.group].tags
        target = after.instances.get(marker.ends[1], rule.group) if marker.ends else rule.group
        for holder, peer in ((target, source), (source, target)):
            assert not refused_at(after, holder, peer, rule.key), rule.key


# any two reasons of a kind


def disturbed(dice: random.Random) -> Snapshot:
    """A world in which much is denied: things that are not shown or not suitable, ends that are past, accounts that
    cannot be read."""
    snapshot = some_world(dice)
    groups: dict[Party, Any] = {
        party: msgspec.structs.replace(
            group,
            advanced=dice.random() < 0.2,
            managed=dice.random() < 0.1,
            vpc=dice.choice(["vpc-1"] * 5 + ["vpc-2", ""]),
        )
        for party, group in snapshot.groups.items()
        if dice.random() < 0.9
    }
    instances = {}
    for party, member in snapshot.instances.items():
        tags = {
            **member.tags,
            **dice.choice([{}, {}, {"link-until": "2020-01-01T00:00:00Z"}, {"link-until": "soon"}]),
        }
        instances[party] = msgspec.structs.replace(
            member, tags=tags, ip=dice.choice([member.ip, member.ip, "", "8.8.8.8", "10.0.0.1"])
        )
    instances = {party: member for party, member in instances.items() if dice.random() < 0.9}
    ended = Claim("chg-7", int(NOW) - 60)
    rules = {
        party: tuple(ours(r.key, ended) if r.key and dice.random() < 0.1 else r for r in rules_of_party)
        for party, rules_of_party in snapshot.rules.items()
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
    return msgspec.structs.replace(snapshot, groups=groups, instances=instances, rules=rules, **fields)


def decision_rows(decisions: Iterable[Decision]) -> list[tuple[Any, ...]]:
    """What each decision does: all of it but what it says."""
    return [
        (d.link, d.action, d.outcome, d.edits, d.missing_managed_tag, d.unseen, d.instance, d.raw, d.rules)
        for d in decisions
    ]


@pytest.mark.parametrize("seed", range(40))
def test_any_two_reasons_of_a_kind_may_be_swapped(seed: int) -> None:
    """The plan does the same to rules and tags, comes to the same outcomes, and misses the same."""
    dice = random.Random(seed)
    snapshot = disturbed(dice)
    rules = policy(limits=Limits(max_peers=dice.choice([1, 50]), max_ports=dice.choice([1, 20])))
    may = dice.choice([May.TAKE, May.TAKE, May.CLOSE, May.READ])
    limit = dice.choice([0, 50])

    def planned() -> tuple[Any, ...]:
        new_plan = plan(snapshot, *desired_links(snapshot), with_policy=rules, may_lose=may, limit=limit)
        return decision_rows(new_plan.decisions), new_plan.missing, new_plan.due, new_plan.held_removals

    expected = planned()
    for shift in SHIFTS:
        with swapped(shift):
            assert planned() == expected, shift


# in any order

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
        self.rules += naming(dice.choice([0, 0, 18, 19, 20]))
        self.rules = list({(rule.group, rule.id): rule for rule in self.rules}.values())
        self.links = desired_links(view(self.groups, self.instances, self.rules)) + [
            DesiredLink(self._link(), Claim(f"chg-{n}", dice.choice([None, int(NOW) + n])), opens=dice.random() < 0.7)
            for n in range(3)
        ]
        denials = [Denial(reasons.QUOTA, "full", outcome="failed"), Denial(reasons.PEER_NOT_FOUND, "gone")]
        self.refused = {
            desired_link.link: Refusal(dice.choice(denials)) for desired_link in self.links if dice.random() < 0.1
        }
        self.may = {link: dice.choice(list(May)) for link in (True, False)}
        self.held_unseens = frozenset({Unseen(HOME, HOME)} if dice.random() < 0.2 else ())
        self.context = Context(POLICY, REGION, NOW, is_request=dice.random() < 0.3, completes_tags_only=True)

    def plan(self, *, shuffled: bool) -> Plan:
        order: Callable[[Iterable[Any]], list[Any]] = self._mixed if shuffled else list
        return make_plan(
            view(order(self.groups), order(self.instances), order(self.rules)),
            self.context,
            order(self.links),
            may_lose=lambda rule, _link, _claim: self.may[bool(rule.key and rule.key.dest)],
            hold=lambda _due: frozenset(self.held_unseens),
            refused=dict(order(self.refused.items())),
        )

    def _mixed(self, values: Iterable[T]) -> list[T]:
        shuffled_values = list(values)
        return self.dice.sample(shuffled_values, len(shuffled_values))

    def _link(self) -> Link:
        ports = self.dice.choice([(), parse_ports("tcp/1"), parse_ports("tcp/1+tcp/2")])
        return Link(*self.dice.sample(self.dice.choice([GROUPS, INSTANCES]), 2), ports)

    def _rule(self) -> Rule:
        """A rule of ours or a person's, of groups or of addresses."""
        dice, port = self.dice, self.dice.choice(("all", *PORTS))
        target, source = dice.sample(GROUPS, 2)
        rule_key, ends = key(target, source, port), None
        if dice.random() < 0.5:
            first, second = dice.sample(INSTANCES, 2)
            addresses = (f"{dice.choice(ADDRESSES)}/32", f"{dice.choice(ADDRESSES)}/32")
            rule_key, ends = RuleKey(target, *addresses, rule_key.port), (first, second)
        if dice.random() < 0.2:
            return theirs(rule_key, act=dice.choice(["accept", "drop"]), priority=dice.choice([1, 100]))
        return ours(rule_key, *dice.choice(CLAIMS), priority=dice.choice([1, 100, 100]), ends=ends)


@pytest.mark.parametrize("seed", range(100))
def test_the_plan_is_the_same_in_any_order(seed: int) -> None:
    """Its decisions too are in the same order."""
    world = World(seed)
    plan = world.plan(shuffled=False)
    for _ in range(3):
        assert world.plan(shuffled=True) == plan


def test_the_worlds_have_something_to_decide() -> None:
    """Shared addresses, full groups, removals, repairs."""
    decisions = [decision for seed in range(100) for decision in World(seed).plan(shuffled=False).decisions]
    reason_codes = {decision.denial.reason for decision in decisions}
    assert {reasons.ADDRESS_CONFLICT, reasons.QUOTA, reasons.NO_CONSENT, reasons.LOCKED} <= reason_codes
    assert {decision.outcome for decision in decisions} == {"applied", "unchanged", "removed", "denied", "failed"}
    assert {decision.action for decision in decisions} == {"link", "unlink", "expire", "repair"}


@pytest.mark.parametrize("seed", range(60))
def test_what_earlier_snapshots_remember_changes_no_plan(seed: int) -> None:
    dice = random.Random(seed)
    accepting = {"accepting": GroupSet(HOME, {"link-accept": "*"})}
    never = (Never(Grantee(HOME, "*"), Grantee(HOME, "set:accepting"), parse_ports("tcp/2"), "never=one"),)
    judging = policy(never=never, sets=accepting)
    later = Snapshot()
    for _ in range(6):
        world = some_world(dice)
        parts = {name: getattr(later if dice.random() < 0.5 else world, name) for name in ("groups", "rules")}
        if dice.random() < 0.2:
            parts["failed_accounts"] = {HOME: "timeout"}
        fresh = msgspec.structs.replace(world, **parts)
        later = msgspec.structs.replace(fresh).after(later)
        plans = [
            plan(snapshot, *wanted_by_all(snapshot, judging, REGION, NOW), with_policy=judging)
            for snapshot in (later, fresh)
        ]
        assert plans[0] == plans[1]
