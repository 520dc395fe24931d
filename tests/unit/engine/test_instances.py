"""Events about instances: what their tags say now is opened, what they no longer say is closed, and few calls are
made."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from link_peer.domain.errors import NoAccess, Transient
from link_peer.domain.model import TAG, Claim, Group, Instance, Link, Party, Rule, RuleKey, short_hash
from link_peer.domain.policy import Limits, Pause, Policy
from link_peer.domain.request import Hint, Look, Message, look_request, sync_request
from link_peer.engine.scopes.handover import LOOK_AGAIN_SECONDS, Later
from link_peer.engine.scopes.instances import FOREIGN as FOREIGN_PAIR
from link_peer.engine.scopes.instances import TURN_SECONDS, one_per_party, reconcile_instances, turn
from link_peer.engine.write.removal_guard import RemovalGuard

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, INSTANCES, NOW, PEER, POLICY, REGION, A, B, C, D
from tests.unit.snapshots import APART, between, group, key, managed, member, one_instance, ours, policy, text

FOREIGN = Party(PEER, "sg-x")
REQ = Claim("chg-1")
K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
HERE, THERE = key(DB, APP), key(APP, DB)
GROUPS = tuple(managed(party, "*") for party in (APP, DB, CACHE))


def hint(party: Party = A, kind: Any = "tags", time: float | None = NOW, **fields: Any) -> Hint:
    return Hint("event-1", party, kind, time, **fields)


def state(name: str, party: Party = A, time: float | None = NOW) -> Hint:
    return hint(party, "state", time, state=name)


class Clock(FakeClock):
    """Does what is to happen at the next waits, one after the other. `written` is how often the log was written before
    each."""

    def __init__(self, log: FakeLog) -> None:
        super().__init__()
        self.log = log
        self.happens: list[Callable[[], object]] = []
        self.written: list[int] = []

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.written.append(self.log.writes)
        if self.happens:
            self.happens.pop(0)()


class World:
    """Instances and rules of home, and sg-x of the other account, which accepts them."""

    def __init__(
        self,
        *instances: Instance,
        rules: Sequence[Rule] = (),
        groups: Sequence[Group] = GROUPS,
        with_policy: Policy = POLICY,
    ) -> None:
        self.ecs = FakeEcs(groups, instances, rules)
        self.peer = FakeEcs([managed(FOREIGN, f"*@{HOME}")], account=PEER)
        self.log, self.queue = FakeLog(), FakeQueue()
        self.clock = Clock(self.log)
        self.policy, self.guard = with_policy, RemovalGuard(with_policy.limits.removals_per_run)
        self.delivery = delivery(
            self.ecs, self.peer, log=self.log, policy=with_policy, queue=self.queue, clock=self.clock
        )

    def __call__(self, *hints: Hint) -> list[Later]:
        """Handles the events; `calls` are those made for them."""
        self.ecs.calls.clear()
        audit = self.delivery.audit({})
        return reconcile_instances(self.delivery, hints or [hint()], audit, self.guard)

    @property
    def reads(self) -> list[str]:
        """The calls before the first change."""
        return list(itertools.takewhile(lambda call: call not in self.ecs.changes(), self.ecs.calls))

    @property
    def rule_keys(self) -> list[RuleKey]:
        """The rules that stand."""
        return [rule.key for rule in self.ecs.existing if rule.key]


# what is not shown


@pytest.mark.parametrize(
    ("event", "until"),
    [
        (state("Created", time=NOW - 299), NOW + 1),
        (state("Created", time=NOW - 300), None),
        (state("Created", time=NOW + 299), NOW + 599),
        (state("Created", time=NOW + 300), None),
        (state("Created", time=None), None),
        (hint(time=NOW), NOW + 300),
        (hint(kind="look", time=None, expires=NOW + 1), NOW + 1),
    ],
)
def test_an_instance_that_is_not_shown_is_awaited_for_five_minutes_or_until_its_look_expires(
    event: Hint, until: float | None
) -> None:
    """With an attempt on record; later, it is denied. An event without a time, or dated tomorrow, is not awaited."""
    world = World()
    text_of_wait = f"{A} is not shown yet"
    assert world(event) == ([Later(A, text_of_wait, until)] if until else [])
    if until:
        (record,) = world.log.records
        assert record["record"] == "attempt"
        assert (record["action"], record["instance"], record["detail"]) == ("link", str(A), text_of_wait)
    else:
        (record,) = world.log.records
        assert (record["outcome"], record["reason"], record["action"]) == ("denied", "instance-gone", "link")
        assert (record["from_account"], record["from"], record["instance"]) == (HOME, A.id, str(A))


@pytest.mark.parametrize("event", [state("Deleted"), hint(kind="look", time=None, expires=NOW)])
def test_an_instance_that_was_released_and_a_look_that_has_expired_leave_no_record(event: Hint) -> None:
    world = World()
    assert (world(event), world.log.records) == ([], [])


BOTH = "i-b:tcp/1 sg-db:tcp/2"


@pytest.mark.parametrize(
    ("target", "age", "later", "outcomes"),
    [
        (None, 0, f"{B} does not exist, yet", [("applied", "")]),
        (one_instance(B, DB, ip=""), 299, f"{B} has no private address, yet", [("applied", "")]),
        (one_instance(B, DB, ip=""), 300, "", [("denied", "no-private-ip"), ("applied", "")]),
        (None, 300, "", [("denied", "instance-gone"), ("applied", "")]),
        (one_instance(B, DB), 0, "", [("applied", ""), ("applied", "")]),
    ],
)
def test_a_peer_or_an_address_that_may_still_be_shown_is_awaited(
    target: Instance | None, age: float, later: str, outcomes: list[tuple[str, str]]
) -> None:
    """The rest is made meanwhile. A rule of the pair stays, though it is not asked for as it stands."""
    standing = between(A, B, DB, "tcp/9")
    world = World(one_instance(A, APP, peer=BOTH), *([target] if target else []), rules=[standing])
    waiting = world(state("Running", time=NOW - age))
    assert sorted(o for o in world.log.outcomes() if o[0] != "removed") == sorted(outcomes)
    assert [(w.party, w.expires_at, later in w.reason) for w in waiting] == (
        [(A, NOW + 300 - age, True)] if later else []
    )
    assert (standing in world.ecs.existing) == bool(later)


@pytest.mark.parametrize(("age", "stays"), [(299, True), (300, False)])
def test_a_rule_stays_while_the_address_of_its_target_may_still_be_shown(age: float, stays: bool) -> None:
    """The event is of the target, which asks for nothing. Nothing of the pair is recorded meanwhile."""
    standing = between(A, B, DB, "tcp/1")
    world = World(one_instance(A, APP, peer="i-b:tcp/1"), one_instance(B, DB, ip=""), rules=[standing])
    waiting = world(state("Running", B, NOW - age))
    assert [(later.party, "no private address" in later.reason) for later in waiting] == ([(B, True)] if stays else [])
    assert world.rule_keys == ([standing.key] if stays else [])
    assert world.log.outcomes() == ([] if stays else [("removed", "no-private-ip")])


# what an event reads: of these groups, sg-cache alone has the tags of groups that hold rules

BARE = {APP: group(APP, "*"), DB: group(DB, "*"), CACHE: managed(CACHE, "*")}
MANAGED_DB = {**BARE, DB: managed(DB, "*")}
MANAGED_APP, FULL_APP = {**BARE, APP: managed(APP, "*")}, {**BARE, APP: group(APP, "*", rule_count=1)}
OTHERS = [Party(HOME, f"sg-{n}") for n in range(40)]
ALONE, HOLDERS = ["instances i-a", "groups sg-app"], f"tagged_groups {INSTANCES}"
CHANGED = ["instances i-a", "instance_page sg-app", "references sg-app", HOLDERS, "rules sg-cache", "groups sg-app"]


def absent_peers(count: int) -> str:
    """So many peers that do not exist."""
    return " ".join(f"{group.id}:tcp/1" for group in OTHERS[:count])


@pytest.mark.parametrize(
    ("peer", "event", "groups", "reads"),
    [
        ("", state("Pending"), BARE, ALONE),
        ("", state("Running"), BARE, [*ALONE, HOLDERS, "rules sg-cache"]),
        ("", state("Pending"), MANAGED_APP, [*ALONE, "rules sg-app"]),
        ("", state("Pending"), FULL_APP, ALONE),
        ("", hint(), BARE, CHANGED),
        ("", hint(), FULL_APP, [*CHANGED, "rules sg-app"]),
        ("sg-db:tcp/1", state("Pending"), BARE, ["groups sg-app sg-db", "instance_page sg-app", "rules sg-db"]),
        (
            "sg-db:tcp/1",
            hint(),
            BARE,
            ["groups sg-app sg-db", "references sg-app", HOLDERS, "rules sg-db", "rules sg-cache"],
        ),
        (
            "sg-db",
            state("Pending"),
            BARE,
            ["groups sg-app sg-db", "instance_page sg-app", "rules sg-db", "rules sg-app"],
        ),
        (
            "i-b:tcp/1",
            state("Pending"),
            BARE,
            ["instances i-b", "groups sg-app sg-db", HOLDERS, "rules sg-db", "rules sg-cache"],
        ),
    ],
)
def test_an_event_reads_what_its_instance_asks_for_and_where_its_rules_may_be(
    peer: str, event: Hint, groups: dict[Party, Group], reads: list[str]
) -> None:
    """Where tags have changed, also the groups whose rules name its own, and who else asks for them."""
    world = World(one_instance(A, APP, peer=peer), one_instance(B, DB), groups=list(groups.values()))
    world(event)
    assert world.reads == (reads if reads[0] == "instances i-a" else ["instances i-a", *reads])


@pytest.mark.parametrize(("count", "ahead"), [(8, 8), (9, 0)])
def test_the_rules_of_few_groups_are_read_before_it_is_known_whether_they_exist(count: int, ahead: int) -> None:
    world = World(one_instance(A, APP, peer=absent_peers(count)))
    world(state("Pending"))
    assert sum(call.startswith("rules sg-") for call in world.ecs.calls) == ahead + 1  # and those of its own


@pytest.mark.parametrize(
    ("event", "call_count", "read"),
    [(hint(), 0, 30), (state("Running"), 0, 30), (hint(), 20, 20), (hint(), 44, 0), (hint(), 60, 0)],
)
def test_of_many_groups_with_rules_between_addresses_as_many_are_read_as_calls_are_left_for(
    event: Hint, call_count: int, read: int
) -> None:
    """Of the fifty calls of a message, `call_count` were made before."""
    world = World(one_instance(A, APP), groups=[group(APP, "*"), *map(managed, OTHERS)])
    world.delivery.cloud("").calls["before"] = call_count
    world(event)
    assert sum(call.startswith("rules sg-") for call in world.ecs.calls) == read


def test_the_groups_with_rules_between_addresses_are_read_first_and_take_calls_from_the_others() -> None:
    """Ten of them. Of the fifty calls six are kept, and nineteen were made before."""
    rules = [ours(key(neighbour, APP, "tcp/1")) for neighbour in OTHERS[10:]]
    groups = [group(APP, "*"), *map(managed, OTHERS[:10]), *(group(neighbour, "*") for neighbour in OTHERS[10:])]
    world = World(one_instance(A, APP), rules=rules, groups=groups)
    world.delivery.cloud("").calls["before"] = 15
    world()
    assert sum(call.startswith("rules") for call in world.reads) == 10 + 50 - 6 - 19 - 10


@pytest.mark.parametrize(
    ("peer", "count", "call_count", "rules_left"),
    [
        *((peer, *row) for peer in ("", "sg-db:tcp/1") for row in ((20, 60, 0), (21, 0, 0), (21, 60, 9))),
        *(("", 40, 14, 14), ("sg-db:tcp/1", 40, 13, 14)),
    ],
)
def test_of_many_groups_whose_rules_name_its_own_those_are_read_first_that_no_neighbour_names(
    peer: str, count: int, call_count: int, rules_left: int
) -> None:
    """All of twenty; of more, ten, or as many as calls are left for. The rules of those that are not read stand."""
    rules = [ours(key(neighbour, APP, "tcp/1")) for neighbour in OTHERS[:count]]
    neighbour = one_instance(C, APP, peer=absent_peers(2))
    groups = [*BARE.values(), *(group(neighbour, "*") for neighbour in OTHERS)]
    world = World(one_instance(A, APP, peer=peer), neighbour, rules=rules, groups=groups)
    world.delivery.cloud("").calls["before"] = call_count
    world()
    assert [rule for rule in world.rule_keys if rule.group in OTHERS[:2]] == [rule.key for rule in rules[:2]]
    assert sum(rule.group in OTHERS for rule in world.rule_keys) == 2 + rules_left


# who goes first


TURN = turn(C, {A})
ASKS = one_instance(A, APP, peer="sg-db:tcp/1")


@pytest.mark.parametrize(
    ("events", "neighbour", "groups", "rules", "waits"),
    [
        ([state("Running", C)], ASKS, BARE, [], [TURN]),
        ([state("Created", C)], ASKS, MANAGED_DB, [], [TURN]),  # what has the tag already is not being written
        ([state("Running", C)], one_instance(A, APP, peer="sg-cache:tcp/1"), BARE, [], []),
        ([state("Running", C), state("Running")], ASKS, BARE, [], []),
        ([state("Running", C), state("Running")], one_instance(D, APP, peer="sg-db:tcp/1"), BARE, [], [turn(A, {D})]),
        ([state("Running", C)], ASKS, BARE, [ours(K1)], []),
        ([state("Running", C)], ASKS, BARE, [ours(K1), ours(K2)], []),  # only closes
        ([hint(C)], ASKS, BARE, [], []),
    ],
)
def test_others_go_first_where_they_ask_for_what_a_start_would_open(
    events: list[Hint], neighbour: Instance, groups: dict[Party, Group], rules: list[Rule], waits: list[float]
) -> None:
    """Not where the rule stands, nor for a tag that changes, nor among the instances of one delivery. What writes
    records is loaded before the wait."""
    instances = {asker.party: asker for asker in (ASKS, neighbour, one_instance(C, APP, peer="sg-db:tcp/1"))}
    if neighbour.party == A:
        instances[A] = neighbour
    world = World(*instances.values(), rules=rules, groups=list(groups.values()))
    world(*events)
    assert world.clock.waits == waits
    assert world.clock.written == [1] * len(waits)
    assert K1 in world.rule_keys


@pytest.mark.parametrize(
    ("tagged", "written", "waits", "changes"),
    [
        (False, False, [TURN], ["tag sg-db", "authorize sg-db"]),
        (True, False, [TURN, TURN_SECONDS / 2], ["authorize sg-db"]),
        (True, True, [TURN], []),
        (False, True, [TURN], ["tag sg-db"]),
    ],
)
def test_one_whose_turn_it_is_leaves_time_to_a_delivery_that_has_begun_to_write(
    tagged: bool, written: bool, waits: list[float], changes: list[str]
) -> None:
    """Its group got the managed tag meanwhile, and no rule yet."""
    world = World(ASKS, one_instance(C, APP, peer="sg-db:tcp/1"), groups=list(BARE.values()))

    def other_delivery() -> None:
        if tagged:
            world.ecs.group_by_id[DB.id] = managed(DB, "*")
        if written:
            world.ecs.existing.append(ours(K1))

    world.clock.happens.append(other_delivery)
    world(state("Running", C))
    assert (world.clock.waits, world.ecs.changes()) == (waits, changes)


def test_nobody_waits_within_five_seconds_of_other_work_nor_opens_what_may_be_read_no_more() -> None:
    world = World(ASKS, one_instance(C, APP, peer="sg-db:tcp/1"), groups=list(BARE.values()))
    world.ecs.errors["instance_page"] = [Transient("timeout")]
    world(state("Running", C))  # who else asks is not known
    assert (world.clock.waits, world.rule_keys) == ([], [K1])
    world = World(ASKS, one_instance(C, APP, peer="sg-db:tcp/1"), groups=list(BARE.values()))
    world(state("Running", B))
    world.clock.time += 5
    world(state("Running", C))
    assert (world.clock.waits, world.rule_keys) == ([], [K1])
    world = World(ASKS, one_instance(C, APP, peer="sg-db:tcp/1"), groups=list(BARE.values()))
    world.clock.happens.append(lambda: world.ecs.errors.update(rules=[NoAccess("Forbidden.RAM", "no")]))
    world(state("Running", C))
    assert (world.rule_keys, world.log.outcomes()) == ([], [("denied", "no-access")])


@pytest.mark.parametrize(
    ("place", "crowd_size", "seconds"),
    [
        (0, 1, 0.0),
        (1, 1, TURN_SECONDS * (1 - math.log(2 / 1.5) / math.log(4))),
        (0, 99, 0.0),
        (99, 99, 0.5 * (1 - math.log(100 / 99.5) / 4)),
    ],
)
def test_turns_are_spread_towards_the_end(place: int, crowd_size: int, seconds: float) -> None:
    """The first of all does not wait. Whichever of a crowd are handled at a moment, the first is well before the
    others."""
    crowd = sorted((Party(HOME, f"i-{n}") for n in range(crowd_size + 1)), key=lambda party: short_hash(str(party)))
    assert turn(crowd[place], {*crowd} - {crowd[place]}) == pytest.approx(seconds)


def test_of_several_events_of_an_instance_the_latest_counts_and_a_deletion_before_all() -> None:
    early, late, undated = hint(time=1.0), hint(time=2.0), hint(time=None)
    deletion = state("Deleted", time=0.5)
    for events, counts in (
        ([late, early], late),
        ([early, late], late),
        ([deletion, late], deletion),
        ([early, undated], early),
    ):
        assert one_per_party(events) == {A: counts}


# what is closed, and for whom


CACHES = key(DB, CACHE, "tcp/1")
AB, CB, CA = between(A, B, DB), between(C, B, DB), between(C, A, DB)
MOVED = "10.0.0.8"


@pytest.mark.parametrize(
    ("events", "instances", "rules", "rules_left"),
    [
        # of its groups, what no other instance of theirs asks for
        ([hint()], [one_instance(A, APP)], [ours(K1), ours(CACHES)], ["sg-cache>sg-db tcp/1"]),
        ([hint()], [one_instance(A, APP), one_instance(C, APP, peer="sg-db:tcp/1 sg-x:tcp/1 sg-db:tcp/9")], [ours(K1), ours(K2)], ["sg-app>sg-db tcp/1"]),
        ([hint()], [one_instance(A, APP)], [ours(K1, REQ)], ["sg-app>sg-db tcp/1"]),
        ([hint(B)], [one_instance(B, DB)], [ours(K1)], ["sg-app>sg-db tcp/1"]),
        ([state("Pending")], [one_instance(A, APP, peer="sg-db:tcp/2")], [ours(K1), ours(K2)], ["sg-app>sg-db tcp/2"]),
        ([state("Pending", B), hint()], [one_instance(A, APP), one_instance(B, CACHE)], [ours(K1)], []),
        ([hint()], [one_instance(A, APP)], [ours(K1, Claim("chg-1", int(NOW)))], ["sg-app>sg-db tcp/1"]),
        # of a mutual link both halves, at the event of either side
        ([hint()], [one_instance(A, APP)], [ours(HERE), ours(THERE)], []),
        ([hint(B)], [one_instance(B, DB)], [ours(HERE), ours(THERE)], []),
        ([hint()], [one_instance(A, APP), one_instance(B, DB, peer="sg-app")], [ours(HERE), ours(THERE)], ["sg-app>sg-db all", "sg-db>sg-app all"]),
        ([hint()], [one_instance(A, APP)], [ours(key(CACHE, DB)), ours(key(DB, CACHE))], ["sg-cache>sg-db all", "sg-db>sg-cache all"]),
        # of the instance itself, at its event and at its peer's
        ([hint()], [one_instance(A, APP), one_instance(B, DB), one_instance(C, CACHE)], [AB, CB], ["10.0.0.3/32>sg-db tcp/1"]),
        ([hint(B)], [one_instance(A, APP), one_instance(B, DB)], [AB], []),
        ([hint()], [one_instance(A, APP), one_instance(B, DB)], [between(A, B, DB, "tcp/1", "", REQ)], ["10.0.0.1/32>sg-db tcp/1"]),
        ([hint()], [one_instance(A, APP, peer="i-b:tcp/1", ip=MOVED), one_instance(B, DB)], [AB], ["10.0.0.8/32>sg-db tcp/1"]),
        ([hint(kind="moved")], [one_instance(A, APP), one_instance(C, CACHE, peer="i-a:tcp/1")], [CA], ["10.0.0.3/32>sg-app tcp/1"]),
        ([state("Deleted")], [one_instance(B, DB)], [AB], []),
        # of a link to another VPC what admits this instance
        ([hint()], [one_instance(A, APP), one_instance(C, APP)], [member(A), member(C)], ["10.0.0.3/32>sg-db tcp/1"]),
        ([hint()], [one_instance(A, CACHE), one_instance(C, APP)], [member(A, REQ), member(C, REQ)], ["10.0.0.3/32>sg-db tcp/1"]),
        ([hint()], [one_instance(A, APP, ip=MOVED), one_instance(C, APP)], [member(A, REQ), member(C, REQ)], ["10.0.0.3/32>sg-db tcp/1", "10.0.0.8/32>sg-db tcp/1"]),
        ([state("Running")], [one_instance(A, APP), one_instance(C, APP)], [member(C, REQ)], ["10.0.0.1/32>sg-db tcp/1", "10.0.0.3/32>sg-db tcp/1"]),
        ([state("Running"), state("Pending", B)], [one_instance(A, APP), one_instance(C, APP), one_instance(B, CACHE)], [member(C, REQ)], ["10.0.0.1/32>sg-db tcp/1", "10.0.0.3/32>sg-db tcp/1"]),
        ([hint()], [one_instance(A, APP, ip=""), one_instance(C, APP)], [member(A, REQ), member(C, REQ)], ["10.0.0.3/32>sg-db tcp/1"]),
    ],
)  # fmt: skip
def test_an_event_closes_what_its_instance_may_have_asked_for_and_nobody_asks_for_now(
    events: list[Hint], instances: list[Instance], rules: list[Rule], rules_left: list[str]
) -> None:
    """And nothing that it read beside that. What else a neighbour asks for is neither opened nor recorded."""
    by_address = any(rule.key and rule.key.by_address and not rule.key.dest for rule in rules)
    world = World(*instances, rules=rules, groups=APART if by_address else GROUPS)
    assert world(*events) == []
    assert sorted(map(text, world.rule_keys)) == rules_left
    assert {outcome for outcome, _ in world.log.outcomes()} <= {"removed", "applied", "unchanged"} | (
        {"denied"} if by_address else set()
    )


@pytest.mark.parametrize("rule", [HERE, THERE])
def test_half_of_a_mutual_link_is_closed_on_groups_without_the_managed_tag(rule: RuleKey) -> None:
    """Where the tag was refused, the other half leads to it."""
    world = World(
        one_instance(A, APP, peer="sg-cache:tcp/1"), rules=[ours(HERE), ours(THERE)], groups=list(BARE.values())
    )
    world()
    assert rule not in world.rule_keys
    world = World(one_instance(A, APP), rules=[ours(rule)], groups=list(FULL_APP.values()))
    world()
    assert world.rule_keys == []


@pytest.mark.parametrize(("event", "rules_left"), [(state("Deleted"), 0), (state("Pending", time=NOW - 300), 1)])
def test_the_platforms_word_that_an_instance_was_released_is_not_a_removal_to_count(
    event: Hint, rules_left: int
) -> None:
    """Without it, the instance is only not shown: too many such removals are held, and one summary says so."""
    world = World(
        one_instance(C, APP), rules=[between(A, C, APP)], with_policy=policy(limits=Limits(removals_per_run=0))
    )
    world(event)
    assert len(world.rule_keys) == rules_left
    assert world.log.kinds().count("summary") == rules_left


REMEMBERED = one_instance(A, APP)


@pytest.mark.parametrize(
    ("event", "now", "rules", "rules_left"),
    [
        (state("Deleted"), None, [ours(K1), ours(K2)], ["sg-app>sg-db tcp/2"]),
        (hint(kind="moved"), one_instance(A, CACHE), [ours(K1), ours(K2)], ["sg-app>sg-db tcp/2"]),
        (state("Pending"), one_instance(A, CACHE), [ours(K1), ours(K2)], ["sg-app>sg-db tcp/1", "sg-app>sg-db tcp/2"]),
    ],
)
def test_where_this_process_saw_an_instance_before_its_rules_are_looked_at(
    event: Hint, now: Instance | None, rules: list[Rule], rules_left: list[str]
) -> None:
    """A released one is in no group, and one that has moved in others. Of others' links nothing is taken."""
    neighbour = one_instance(C, APP, peer="sg-db:tcp/2")
    world = World(REMEMBERED, neighbour, rules=rules, groups=list(BARE.values()))
    world(state("Pending"))
    world.ecs.running = {i.party.id: i for i in (now, neighbour) if i}
    world(event)
    assert sorted(map(text, world.rule_keys)) == rules_left


def test_a_group_that_is_no_longer_shown_is_not_looked_at_for_an_instance_that_was_in_it() -> None:
    world = World(REMEMBERED, groups=list(BARE.values()))
    world(state("Pending"))
    world.ecs.running.clear()
    del world.ecs.group_by_id[APP.id]
    world(state("Deleted"))
    assert world.ecs.calls == ["instances i-a", "groups sg-app", HOLDERS, "rules sg-cache"]


@pytest.mark.parametrize("kind", ["moved", "look", "tags"])
@pytest.mark.parametrize(
    ("peer", "rules", "closed"),
    [
        ("sg-db:tcp/1", [ours(K1)], [K1]),
        ("sg-db:tcp/1", [ours(K1, REQ)], []),
        ("sg-db", [ours(HERE), ours(THERE)], [HERE, THERE]),
        ("sg-db", [ours(THERE)], [THERE]),
        ("sg-db:tcp/1", [ours(THERE)], []),
        ("sg-db:tcp/1", [ours(K1, TAG, REQ)], [K1]),
        ("sg-db:tcp/1", [ours(key(CACHE, APP, "tcp/1"))], []),
        ("sg-db:tcp/1", [ours(key(DB, OTHERS[0], "tcp/1"))], []),  # it is not shown
    ],
)
def test_the_rules_of_peers_lead_to_the_groups_that_an_instance_has_left(
    kind: Any, peer: str, rules: list[Rule], closed: list[RuleKey]
) -> None:
    """Only an event that may be of a move looks for them. A tag's rule is closed where nobody of the former group
    asks."""
    groups = [*GROUPS[1:], group(APP, "*")]
    world = World(one_instance(A, CACHE, peer=peer), rules=rules, groups=groups)
    world(hint(kind=kind, expires=NOW + 9 if kind == "look" else None), state("Pending", D))
    changed = [rule.key for rule in rules if rule not in world.ecs.existing]
    assert changed == (closed if kind != "tags" else [])


@pytest.mark.parametrize(
    ("mutual", "call_count", "closed"), [(True, 0, 9), (True, 60, 0), (False, 18, 10), (False, 60, 0)]
)
def test_of_many_groups_that_an_instance_may_have_left_half_the_calls_are_spent_on(
    mutual: bool, call_count: int, closed: int
) -> None:
    """None on those that only requests name. Halves of mutual links take half, too."""
    neighbours = sorted(OTHERS)
    rules = [ours(key(neighbour, DB)) if mutual else ours(key(DB, neighbour, "tcp/1")) for neighbour in neighbours[20:]]
    rules += [ours(key(DB, neighbour, "tcp/1"), REQ) for neighbour in neighbours[:20]]
    groups = [*BARE.values(), *(group(neighbour, "*") for neighbour in OTHERS)]
    world = World(one_instance(A, CACHE, peer="sg-db" if mutual else "sg-db:tcp/1"), rules=rules, groups=groups)
    world.delivery.cloud("").calls["before"] = call_count
    world(hint(kind="moved"))
    assert sum(rule not in world.ecs.existing for rule in rules) == closed
    assert closed or not {f"rules {neighbour.id}" for neighbour in neighbours} & set(world.ecs.calls)


@pytest.mark.parametrize("peer", ["sg-db", "sg-db:tcp/1"])
def test_a_move_reads_neither_other_accounts_nor_the_instances_of_other_links(peer: str) -> None:
    rules = [admits(group=DB), between(C, B, DB), ours(key(FOREIGN, DB))]
    world = World(
        one_instance(A, CACHE, peer=f"{peer} sg-x@{PEER}"), rules=rules, groups=[BARE[CACHE], group(DB, f"* *@{PEER}")]
    )
    world(hint(kind="moved"))
    assert world.peer.calls == []
    assert [call for call in world.ecs.calls if call.startswith("instances")] == ["instances i-a"]


# pairs with other accounts


def far(name: str = "sg-x") -> Party:
    return Party(PEER, name)


def admits(name: str = "sg-x", port: str = "all", *claims: Claim, group: Party = APP) -> Rule:
    return ours(key(group, far(name), port), *claims)


def wishes(*names: str) -> str:
    return " ".join(f"{name}@{PEER}:tcp/1" for name in names)


LOOK = hint(kind="look", time=None, expires=NOW + 99)
FOUR = ("sg-p", "sg-q", "sg-r", "sg-s")
EITHER = ours(RuleKey(APP, "10.0.0.7/32", "10.0.0.1/32", K1.port), ends=(far("i-x"), A))
TO_B = ours(RuleKey(APP, "10.0.0.7/32", "10.0.0.2/32", K1.port), ends=(far("i-x"), B))
MUTUAL = ours(RuleKey(APP, "10.0.0.7/32", "10.0.0.1/32", HERE.port), ends=(far("i-y"), A))


@pytest.mark.parametrize(
    ("peer", "rules", "posted"),
    [
        (wishes("sg-x"), [], ["sg-app>sg-x i-a"]),
        (f"sg-x@{PEER} {wishes('sg-x')}", [], ["sg-app>sg-x i-a"]),
        ("", [admits()], ["sg-app>sg-x "]),
        ("", [admits("sg-x", "tcp/1")], ["sg-x>sg-app "]),
        ("", [admits("sg-x", "all", REQ)], []),
        ("", [admits("sg-x", "all", REQ, TAG)], ["sg-app>sg-x "]),
        ("", [admits(group=DB)], []),
        ("", [ours(key(APP, Party("1000000000000003", "sg-x")))], []),
        (wishes("sg-y", "sg-z@1000000000000003:tcp/1 i-x"), [], ["i-a>i-x i-a", "sg-app>sg-y i-a"]),
        (f"sg-x@{PEER} {wishes('sg-y')}", [admits(), admits("sg-z")], ["sg-app>sg-z ", "sg-app>sg-y i-a", "sg-app>sg-x i-a"]),
        ("", [EITHER, TO_B, MUTUAL], ["i-a>i-y ", "i-x>i-a "]),
    ],
)  # fmt: skip
def test_a_pair_with_another_account_is_put_on_the_queue(peer: str, rules: list[Rule], posted: list[str]) -> None:
    """Once for all its links, in the direction of those who ask. First those that no tag names, whose rules may have to
    be closed; then what may be new; last what stands. Nothing is changed or decided here."""
    world = World(one_instance(A, APP, peer=peer), rules=rules)
    world()
    syncs = [
        (message.link.source.id, message.link.target.id)
        for message in world.queue.posted
        if not isinstance(message, Look)
    ]
    records = [record for record in world.log.records if record["record"] == "intent"]
    assert {record["detail"] for record in records} <= {FOREIGN_PAIR}
    texts = [
        f"{source}>{target} {r.get('instance', '').partition('@')[0]}"
        for (source, target), r in zip(syncs, records, strict=True)
    ]
    assert (texts, world.ecs.changes(), world.peer.calls) == (posted, [], [])


def test_one_sync_looks_at_all_groups_of_those_who_ask() -> None:
    """A rule of another group of the instance stands for the same pair."""
    world = World(one_instance(A, APP, DB, peer=f"sg-x@{PEER}"), rules=[admits(group=DB)])
    world()
    assert world.queue.posted == [sync_request(Link(APP, far()), REGION, NOW)]


@pytest.mark.parametrize(
    ("instances", "rules", "events", "posted"),
    [
        ([one_instance(A, APP, peer=wishes(*FOUR[:3]))], [], [hint()], [sync_request(Link(APP, far(party)), REGION, NOW) for party in FOUR[:3]]),
        ([one_instance(A, APP, peer=wishes(*FOUR))], [], [hint()], [look_request(A, REGION, NOW + 300)]),
        ([one_instance(A, APP, peer=wishes(*FOUR)), one_instance(B, DB)], [], [hint(time=None), hint(B, time=NOW + 50)], [look_request(A, REGION, NOW + 300)]),
        ([one_instance(A, APP, peer=wishes(*FOUR)), one_instance(B, APP)], [], [hint(time=NOW - 60), hint(B, time=NOW - 50)], [look_request(A, REGION, NOW + 250), look_request(B, REGION, NOW + 250)]),
        ([one_instance(A, APP, peer=wishes(*FOUR[:3])), one_instance(B, DB)], [], [LOOK, hint(B)], [sync_request(Link(APP, far(party)), REGION, NOW) for party in FOUR[:3]]),
        ([one_instance(A, APP)], [admits(party) for party in FOUR], [hint()], [look_request(A, REGION, NOW + 300)]),
        ([one_instance(A, APP, peer=f"i-none:tcp/1 {wishes(*FOUR)}")], [], [hint()], []),
        ([one_instance(A, APP, peer=wishes("i-p", "i-q", "i-r", "i-s"))], [], [hint()], [look_request(A, REGION, NOW + 300)]),
    ],
)  # fmt: skip
def test_of_many_pairs_with_other_accounts_a_look_finds_out_which_differ(
    instances: list[Instance], rules: list[Rule], events: list[Hint], posted: list[Message]
) -> None:
    """For five minutes from the last event. What waits for something is looked at anyway, and what has no part in it is
    not."""
    world = World(*instances, rules=rules)
    later = world(*events)
    assert world.queue.posted == posted
    assert [look.party for look in later] == ([] if posted else [A])


def test_peers_after_the_most_that_may_be_named_are_denied_and_not_put_on_the_queue() -> None:
    world = World(one_instance(A, APP, peer=wishes(*FOUR)), with_policy=policy(limits=Limits(max_peers=2)))
    world()
    assert (len(world.queue.posted), world.log.outcomes()) == (2, [("denied", "not-allowed")] * 2)


def test_while_paused_no_pair_is_put_on_the_queue() -> None:
    world = World(one_instance(A, APP, peer=wishes(*FOUR)), with_policy=policy(paused=Pause.ALL))
    world()
    assert (world.queue.posted, world.log.outcomes()) == ([], [("denied", "paused")] * 4)


def test_a_look_reads_the_other_accounts_and_posts_what_differs() -> None:
    """What stays as it is, is recorded where it is denied."""
    world = World(one_instance(A, APP, peer=wishes("sg-x", "sg-none")))
    assert world(LOOK) == []
    assert world.queue.posted == [sync_request(Link(APP, far()), REGION, NOW)]
    assert [(r["outcome"], r["reason"], r["to"]) for r in world.log.records if r["record"] == "outcome"] == [
        ("denied", "peer-not-found", "sg-none")
    ]


@pytest.mark.parametrize(("expires", "until"), [(NOW + 99, NOW + 99), (None, NOW + LOOK_AGAIN_SECONDS)])
def test_a_look_whose_peers_cannot_be_read_now_is_repeated_until_it_expires(
    expires: float | None, until: float
) -> None:
    world = World(one_instance(A, APP, peer=wishes("sg-x")))
    world.peer.errors["groups"] = [Transient("timeout")] * 4
    [later] = world(hint(kind="look", time=None, expires=expires))
    assert (later.party, later.expires_at, "timeout" in later.reason) == (A, until, True)
    assert world.queue.posted == []


# trouble


def test_home_that_refuses_reads_is_denied_once() -> None:
    world = World(one_instance(A, APP), rules=[ours(K1)])
    world.ecs.errors["instances"] = [NoAccess("Forbidden.RAM", "no")]
    assert (world(state("Pending", time=NOW - 300)), world.rule_keys) == ([], [K1])
    [record] = world.log.records
    assert (record["outcome"], record["reason"], record["action"]) == ("denied", "no-access", "link")
    assert record["detail"] == f"account {HOME}: Forbidden.RAM"


class Refusing(FakeEcs):
    """Refuses access from the second read of a group's members on, which is made before the last rule is taken."""

    def members(self, group: str) -> list[Instance]:
        if f"instance_page {group}" in self.calls:
            self.errors["members"] = [NoAccess("Forbidden.RAM", "no")]
        return super().members(group)


def test_home_that_begins_to_refuse_reads_loses_nothing() -> None:
    world = World(one_instance(A, APP), rules=[ours(K1)])
    world.ecs = world.delivery.cloud("").accounts[HOME] = Refusing(GROUPS, [one_instance(A, APP)], [ours(K1)])  # type: ignore[attr-defined]
    assert (world(), world.rule_keys) == ([], [K1])


def test_after_a_transient_error_of_a_change_all_of_the_delivery_is_looked_at_again() -> None:
    """For an hour, and why; the pairs with other accounts are posted all the same."""
    world = World(one_instance(A, APP, peer=f"sg-db:tcp/1 {wishes('sg-x')}"), one_instance(B, DB))
    world.ecs.errors["authorize"] = [Transient("503")] * 4
    assert world(hint(), hint(B)) == [Later(party, "503", NOW + LOOK_AGAIN_SECONDS) for party in (A, B)]
    assert (world.rule_keys, len(world.queue.posted)) == ([], 1)


@pytest.mark.parametrize(("call_count", "addresses"), [(0, "10.0.0.3 10.0.0.8"), (38, "10.0.0.8")])
def test_addresses_that_its_own_links_depend_on_are_asked_for_whatever_calls_are_left(
    call_count: int, addresses: str
) -> None:
    """Of those that others' rules depend on, as many as may be."""
    rules = [member(A, REQ), member(C, REQ)]
    world = World(one_instance(A, APP, ip=MOVED), one_instance(C, APP), groups=[BARE[APP], APART[1]], rules=rules)
    world.delivery.cloud("").calls["before"] = call_count
    world()
    assert (
        next(call for call in world.reads if call.startswith("addresses_taken")) == f"addresses_taken vpc-2 {addresses}"
    )
