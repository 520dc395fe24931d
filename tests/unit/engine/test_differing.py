"""Which pairs differ from what tags and consent ask for, and what finding out may cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from link_peer.domain.model import Claim, Instance, Link, Party, Rule
from link_peer.domain.policy import Limits
from link_peer.domain.snapshot import Address
from link_peer.engine.scopes.calls import affordable, calls_left
from link_peer.engine.scopes.differing import Differences, differences, peers_at_home
from link_peer.planning.decision import InstancesOf, MembersOf, Missing
from link_peer.runtime.delivery import Throughput

from tests.unit.fakes import FakeEcs, FakeScope, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, A, B
from tests.unit.snapshots import group, instance, key, ours, policy

PAIR = Link(APP, DB)
WEB = Party(HOME, "sg-web")
C = Party(HOME, "i-c")


def differ(
    pairs: dict[Link, Party | None],
    *rules: Rule,
    instances: Sequence[Instance] = (),
    accept: str = "*",
    spent: int = 0,
    readers: int = 1,
    known_parties: Sequence[Party] = (),
) -> tuple[Differences, FakeEcs]:
    """What a scope finds that has read these rules, after so many calls."""
    ecs = FakeEcs([group(APP, "*"), group(CACHE, "*"), group(WEB, "*"), group(DB, accept)], instances, rules)
    scope = FakeScope(msgspec.structs.replace(delivery(ecs), throughput=Throughput(readers)))
    scope.fetch.rules({rule.group for rule in rules})
    scope.fetch.instances(known_parties)
    ecs.calls.clear()
    ecs.counted["others"] = spent - ecs.counted.total()
    return differences(scope, pairs), ecs


ASKS = instance(A, APP, ip="10.0.0.1", link_peer="sg-db:tcp/1")
SILENT = instance(A, APP, ip="10.0.0.1", name="x")
RULE = ours(key(DB, APP, "tcp/1"))


MUTUAL = instance(A, APP, link_peer="sg-db")
BOTH = [ours(key(DB, APP)), ours(key(APP, DB))]


@pytest.mark.parametrize(
    ("rules", "instances", "accept", "differing"),
    [
        ([], [], "*", False),
        ([], [ASKS], "*", True),
        ([RULE], [ASKS], "*", False),
        ([RULE], [ASKS], "sg-x", True),
        ([RULE], [SILENT], "*", True),
        ([RULE, ours(key(DB, APP, "tcp/2"))], [ASKS], "*", True),
        ([RULE], [instance(A, APP, link_peer="sg-db:tcp/1 sg-web:tcp/1 sg-?:1")], "*", False),
        # whatever is a request's, or another pair's
        ([ours(key(DB, APP, "tcp/1"), Claim("chg-1", int(NOW)))], [SILENT], "*", False),
        ([ours(key(DB, CACHE, "tcp/1"))], [SILENT, instance(C, CACHE)], "*", False),
        ([ours(key(APP, DB, "tcp/1"))], [SILENT], "*", False),
        ([ours(key(APP, CACHE)), ours(key(CACHE, APP))], [SILENT], "*", False),
        # any group of an instance may stand for it
        ([], [instance(A, APP, CACHE, link_peer="sg-db:tcp/1")], "*", True),
        ([ours(key(DB, CACHE, "tcp/1"))], [instance(A, APP, CACHE, link_peer="sg-db:tcp/1")], "*", True),
        # both halves
        ([], [MUTUAL], "*", True),
        ([BOTH[0]], [MUTUAL], "*", True),
        ([BOTH[1]], [SILENT, instance(B, DB, name="x")], "*", True),
        (BOTH, [SILENT, instance(B, DB, name="x")], "*", True),
        (BOTH, [SILENT, instance(B, DB, link_peer="sg-app")], "*", False),
    ],
)
def test_a_pair_differs_where_a_sync_would_change_a_rule(
    rules: list[Rule], instances: list[Instance], accept: str, differing: bool
) -> None:
    answer, ecs = differ({PAIR: None}, *rules, instances=instances, accept=accept)
    assert (answer.pairs, answer.unread_pairs) == ((PAIR,) if differing else (), 0)
    assert [denied_record["outcome"] for denied_record in answer.denied] == (["denied"] if accept == "sg-x" else [])
    assert ecs.changes() == []


def test_a_pair_is_looked_at_in_its_direction() -> None:
    """What the other side asks for is another pair, though its instances were read. A link of others costs no call."""
    differing, _ = differ({PAIR: None, Link(DB, CACHE): None}, instances=[instance(B, DB, link_peer="sg-app:tcp/1")])
    assert differing.pairs == ()
    _, ecs = differ({PAIR: None}, ours(key(APP, CACHE)), ours(key(CACHE, APP)), instances=[SILENT])
    assert ecs.calls == ["groups sg-app sg-db", "members sg-app"]


ONE, TWO, THREE = Link(APP, DB), Link(CACHE, DB), Link(WEB, DB)


def test_pairs_of_which_something_is_closed_come_first() -> None:
    """The others in their order. Denials of those that stay as they are come as outcomes."""
    asks = [instance(C, CACHE, link_peer="sg-db:tcp/1"), instance(Party(HOME, "i-w"), WEB, link_peer="sg-app:tcp/1")]
    pairs: dict[Link, Party | None] = {Link(DB, APP): None, TWO: None, Link(WEB, APP): None, ONE: None}
    differing, _ = differ(pairs, RULE, instances=[SILENT, *asks])
    assert differing.pairs == (ONE, TWO, Link(WEB, APP))
    assert differing.unread_pairs == 0
    differing, _ = differ({TWO: None, ONE: None}, RULE, instances=[SILENT, *asks], accept="sg-app")
    assert (differing.pairs, differing.unread_pairs) == ((ONE,), 0)
    (denied,) = differing.denied
    assert (denied["outcome"], denied["reason"], denied["from"], denied["record"]) == (
        "denied",
        "no-consent",
        CACHE.id,
        "outcome",
    )
    assert denied["effect"]


READS = ["groups sg-app sg-cache sg-db sg-web", "members sg-app", "rules sg-db", "members sg-cache", "members sg-web"]


@pytest.mark.parametrize("readers", [1, 2])
@pytest.mark.parametrize(("budget", "call_count", "unread"), [(0, 1, 3), (3, 1, 3), (4, 3, 2), (5, 4, 1), (6, 5, 0)])
def test_pairs_are_read_as_far_as_calls_are_left(budget: int, call_count: int, unread: int, readers: int) -> None:
    """The parties of all are read at once. A pair costs a call for the rules of each of its groups that are not read
    yet, and one for the instances that may ask."""
    asking = [(A, APP), (C, CACHE), (Party(HOME, "i-w"), WEB)]
    asks = [instance(*parties, link_peer="sg-db:tcp/1") for parties in asking]
    differing, ecs = differ(dict.fromkeys([ONE, TWO, THREE]), instances=asks, spent=44 - budget, readers=readers)
    assert (ecs.calls if readers == 1 else sorted(ecs.calls, key=READS.index)) == READS[:call_count]
    assert (differing.unread_pairs, len(differing.pairs)) == (unread, 3 - unread)


@pytest.mark.parametrize(("budget", "unread", "differing"), [(6, 1, 0), (7, 1, 1), (8, 0, 1)])
def test_a_pair_whose_askers_stand_in_other_groups_too_may_cost_too_much(
    budget: int, unread: int, differing: int
) -> None:
    """Each of these may hold half of a mutual link. A pair that costs less is read after it."""
    asks = [instance(asker, group_party, APP, link_peer="sg-db") for asker, group_party in ((A, CACHE), (C, WEB))]
    answer, _ = differ({PAIR: None, Link(B, A): B}, instances=asks, spent=44 - budget)
    assert (answer.unread_pairs, len(answer.pairs)) == (unread, differing)


@pytest.mark.parametrize(("budget", "unread"), [(2, 1), (3, 0)])
def test_a_pair_stays_unread_where_no_call_is_left_for_what_its_plan_misses(budget: int, unread: int) -> None:
    """A rule stands that others may ask for than the instance whose tag names the pair."""
    rules = [ours(key(DB, APP)), ours(key(DB, APP, "tcp/2"))]
    differing, _ = differ({PAIR: A}, *rules, instances=[MUTUAL], known_parties=[A], spent=44 - budget)
    assert (differing.unread_pairs, len(differing.pairs)) == (unread, 1 - unread)


@pytest.mark.parametrize(
    ("pair", "asker", "known_parties", "budget", "calls"),
    [
        (Link(A, B), A, [A, B], 3, ["groups sg-app sg-cache sg-db", "rules sg-cache", "rules sg-db"]),
        (Link(A, B), A, [], 4, ["instances i-a i-b", "groups sg-app sg-cache sg-db", "rules sg-cache", "rules sg-db"]),
        (
            Link(A, B),
            None,
            [],
            4,
            ["instances i-a i-b", "groups sg-app sg-cache sg-db", "rules sg-cache", "rules sg-db"],
        ),
        (Link(A, C), A, [], 2, ["instances i-a i-c", "groups sg-app"]),
        (Link(APP, CACHE), A, [A], 3, ["groups sg-app sg-cache"]),
    ],
)
def test_other_instances_of_a_group_are_not_read_where_a_tag_names_the_one_that_asks(
    pair: Link, asker: Party | None, known_parties: list[Party], budget: int, calls: list[str]
) -> None:
    """An instance costs a call for the rules of each of its groups."""
    instances = [instance(A, APP, ip="10.0.0.1", link_peer="i-b:tcp/1"), instance(B, DB, CACHE, ip="10.0.0.2")]
    differing, ecs = differ({pair: asker}, instances=instances, known_parties=known_parties, spent=44 - budget)
    assert (ecs.calls, differing.unread_pairs) == (calls, 0)


NAMES = [Party(HOME, f"sg-{n}") for n in range(4)]
ADDRESSES = [Address(HOME, "vpc-1", f"10.0.0.{n}") for n in range(4)]


@pytest.mark.parametrize(
    ("budget", "read_counts"),
    [(-1, (0, 0, 0)), (0, (0, 0, 0)), (3, (3, 1, 0)), (9, (4, 4, 1)), (11, (4, 4, 3)), (40, (4, 4, 4))],
)
def test_what_a_plan_misses_is_read_as_far_as_calls_are_left(budget: int, read_counts: tuple[int, int, int]) -> None:
    """An address costs two calls. Numbers of instances, for words alone, get what addresses leave. The rest is the
    sweep's."""
    unread = [Link(APP, name) for name in NAMES]
    counted = [MembersOf(name) for name in NAMES]
    missing = Missing(frozenset(unread), frozenset([*ADDRESSES, *counted, InstancesOf(DB), A]), frozenset([HOME]))
    fetch: Any = SimpleNamespace(calls=Counter(calls=44 - budget))
    assert calls_left(fetch) == budget
    choice = affordable(fetch, missing)
    lists: list[list[Any]] = [unread, ADDRESSES, counted]
    expected = [set(questions[:count]) for questions, count in zip(lists, read_counts, strict=True)]
    assert [choice.unread, *(choice.questions.intersection(questions) for questions in lists[1:])] == expected
    assert {InstancesOf(DB), A} <= choice.questions
    assert choice.doubted_accounts == {HOME}


def test_the_peers_of_instances_are_those_of_home_that_count() -> None:
    """Each once, in the order in which they are named, up to the limit of each instance."""
    asking_instance = instance(A, APP, link_peer=f"sg-db i-b {PEER} sg-x@{PEER} sg-cache")
    two = instance(C, APP, link_peer="sg-web sg-db")
    limits = policy(limits=Limits(max_peers=4))
    assert peers_at_home([asking_instance, two], limits) == [DB, B, WEB]
