"""Events about a group's tags: what the group no longer allows is closed, and what it newly allows is looked at
soon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import NoAccess, Transient
from link_peer.domain.model import Claim, Group, Instance, Link, Party, Rule
from link_peer.domain.policy import Limits, Pause, Policy
from link_peer.domain.request import Hint, Look, Message, look_request, sync_request
from link_peer.engine.scopes.group import GroupScope, reconcile_group
from link_peer.engine.scopes.handover import LOOK_AGAIN_SECONDS, Later
from link_peer.engine.write.removal_guard import RemovalGuard

from tests.unit.fakes import FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B, C
from tests.unit.snapshots import group, instance, key, ours, policy, theirs

K1, HERE, THERE = key(DB, APP, "tcp/1"), key(DB, APP), key(APP, DB)
FOREIGN = Party(PEER, "sg-x")
REQ = Claim("chg-1")


class Looking:
    """A look at sg-db, in a world of groups, instances and rules of home, and sg-x of the other account."""

    def __init__(
        self,
        db: Group | None,
        *rules: Rule,
        app: Group | None = None,
        instances: Sequence[Instance] = (),
        with_policy: Policy = POLICY,
    ) -> None:
        home = [app or group(APP, "*", managed_tag=True), group(CACHE, "*", managed_tag=True)]
        self.ecs = FakeEcs([*home, *([db] if db else [])], instances, rules)
        self.peer = FakeEcs([group(FOREIGN, f"*@{HOME}", managed_tag=True)], account=PEER)
        self.log, self.queue = FakeLog(), FakeQueue()
        self.delivery = delivery(self.ecs, self.peer, log=self.log, policy=with_policy, queue=self.queue)

    def __call__(self) -> list[Later]:
        hint = Hint("event-1", DB, "tags", NOW)
        return reconcile_group(self.delivery, hint, self.delivery.audit({}), RemovalGuard(50))


def accepting(accept: str = "*", **fields: Any) -> Group:
    return group(DB, accept, managed_tag=True, **fields)


# closing


@pytest.mark.parametrize("rules", [[ours(K1)], [ours(HERE), ours(THERE)], [ours(HERE, REQ)], [theirs(K1)]])
def test_what_the_group_still_allows_is_left_alone(rules: list[Rule]) -> None:
    """Nothing that is missing is treated as gone, no half is completed or removed, and nothing is recorded."""
    look = Looking(accepting(), *rules)
    look()
    assert (look.ecs.existing, look.ecs.changes(), look.log.outcomes()) == (rules, [], [])


def test_rules_between_other_groups_are_left_alone() -> None:
    """They are another delivery's business, also where they have lost their consent."""
    foreign_rule = ours(key(APP, CACHE, "tcp/1"))
    look = Looking(accepting(lock=True), foreign_rule, app=group(APP, "", managed_tag=True))
    look()
    assert look.ecs.existing == [foreign_rule]


def test_a_claim_that_ends_on_a_rule_that_is_repaired_is_recorded_too() -> None:
    """One change of the rule, and an outcome for each of the two."""
    look = Looking(accepting(), ours(K1, REQ, Claim("chg-9", int(NOW)), priority=1))
    look()
    assert look.log.outcomes() == [("applied", ""), ("removed", "expired")]
    assert (len(look.ecs.changes()), look.ecs.existing) == (1, [ours(K1, REQ)])


@pytest.mark.parametrize(
    ("rules", "peer_groups"), [([ours(HERE)], {APP}), ([ours(HERE), ours(THERE)], {APP}), ([ours(K1)], set())]
)
def test_the_other_group_of_a_mutual_link_that_ends_is_closed_with_it(
    rules: list[Rule], peer_groups: set[Party]
) -> None:
    """Whether or not its half stands: a command that could not finish tries it again, too."""
    look = Looking(accepting(lock=True), *rules)
    scope = GroupScope(look.delivery, Hint("event-1", DB, "look", NOW), look.delivery.audit({}))
    scope.read()
    assert scope.peer_groups == peer_groups


# the managed tag


@pytest.mark.parametrize(("db", "rule"), [(group(DB, "*"), theirs(K1)), (accepting(), ours(HERE, REQ))])
def test_a_group_without_rules_of_ours_gets_no_tag(db: Group, rule: Rule) -> None:
    """Nor one with other people's, nor that of the other side of a half which is kept."""
    look = Looking(db, rule, app=group(APP, "*"))
    look()
    assert (look.ecs.changes(), look.log.outcomes()) == ([], [])


# new consent


def sync(source: Party, target: Party) -> Message:
    return sync_request(Link(source, target), REGION, NOW)


def look_at(party: Party) -> Message:
    return look_request(party, REGION, NOW + 3600)


ASKING = (
    instance(A, APP, ip="10.0.0.1", link_peer="sg-db:tcp/1 i-b:tcp/2"),
    instance(B, DB, ip="10.0.0.2", link_peer="sg-app"),
    instance(C, CACHE, ip="10.0.0.3", link_peer="sg-db:tcp/1 i-b:tcp/2"),
)
CALLS = {"groups", "instances", "members", "rules"}


@pytest.mark.parametrize(
    ("accept", "posted"),
    [
        (f"sg-app:tcp/1 sg-x@{PEER}:tcp/1 sg-y@1000000000000003", [sync(APP, DB), sync(FOREIGN, DB)]),
        ("sg-app:tcp/1 sg-app", [sync(APP, DB), sync(DB, APP)]),
        (f"i-a i-x@{PEER} i-c:tcp/1", [look_at(A)]),
        (f"* *@{PEER} sg-db sg-DB", []),
        ("sg-app:tcp/1 sg-app:tcp/2 i-a i-a:tcp/1", [sync(APP, DB), look_at(A)]),
        ("sg-app:tcp/1 i-a sg-cache:tcp/1 i-c", [sync(APP, DB), sync(CACHE, DB), look_at(A)]),
        ("sg-app:tcp/9 sg-cache:tcp/9 i-a:tcp/9", []),
        (" ".join(f"sg-{n}@{PEER}:tcp/1" for n in range(4)), [look_at(DB)]),
        (" ".join(f"sg-{n}@{PEER}:tcp/1" for n in range(3)), [sync(Party(PEER, f"sg-{n}"), DB) for n in range(3)]),
    ],
    ids=[
        "groups of known accounts",
        "both ways on all ports",
        "an instance of home",
        "others",
        "once",
        "at most 3",
        "nothing that is asked for",
        "many of other accounts",
        "three of other accounts",
    ],
)
def test_what_the_group_newly_allows_is_synced_or_looked_at(accept: str, posted: list[Message]) -> None:
    """Each with an intent. The rest is left to the sweep: `*`, the group itself, what cannot be parsed, and an instance
    of another account."""
    look = Looking(accepting(accept), instances=ASKING, with_policy=policy(limits=Limits(max_peers=3)))
    look()
    assert look.queue.posted == posted
    intents = [
        ("look", message.party.id) if isinstance(message, Look) else ("sync", message.link.source.id)
        for message in posted
    ]
    records = [record for record in look.log.records if record["record"] == "intent"]
    assert [(r["action"], r["from"]) for r in records if r["from"]] == intents
    actions = [(r["action"], r["detail"].partition(" ")[0]) for r in records if not r["from"]]
    assert actions == ([("look", "1")] if len(posted) == 3 and sync(CACHE, DB) in posted else [])
    assert {call.split()[0] for call in look.ecs.calls} <= CALLS
    assert not any(call.startswith("instances") for call in look.peer.calls)


def test_what_a_group_newly_lets_its_own_instance_reach_is_looked_at() -> None:
    """Of the members of an advanced group, the one whose tag asks for the instance."""
    db = accepting(advanced=True)
    db = msgspec.structs.replace(db, tags={**db.tags, "link-egress": "i-a:tcp/1"})
    members = [instance(B, DB, ip="10.0.0.2"), instance(C, DB, ip="10.0.0.3", link_peer="i-a:tcp/1")]
    look = Looking(db, instances=[instance(A, APP, ip="10.0.0.1"), *members])
    look()
    assert look.queue.posted == [look_at(C)]


@pytest.mark.parametrize("calls", [38, 60])
def test_the_pairs_of_which_no_rule_stands_are_looked_at_first(calls: int) -> None:
    """So many calls were made before: the others are left to the sweep."""
    look = Looking(
        accepting("sg-app:tcp/1+tcp/2 sg-cache:tcp/1"),
        ours(K1),
        instances=[instance(A, APP, link_peer="sg-db:tcp/1+tcp/2"), instance(C, CACHE, link_peer="sg-db:tcp/1")],
    )
    look.delivery.cloud("").calls["before"] = calls
    look()
    assert look.queue.posted == ([sync(CACHE, DB)] if calls < 44 else [])


def test_while_paused_many_pairs_are_neither_looked_at_nor_posted() -> None:
    """Each is on record."""
    accept = " ".join(f"sg-{n}@{PEER}:tcp/1" for n in range(4))
    look = Looking(accepting(accept), with_policy=policy(paused=Pause.ALL))
    look()
    assert (look.queue.posted, look.log.outcomes()) == ([], [("denied", "paused")] * 4)


def test_closing_comes_before_the_posts() -> None:
    """A queue that is down does not keep a rule open."""
    wishing = instance(A, APP, link_peer="sg-db:tcp/2")
    look = Looking(accepting("sg-app:tcp/2"), ours(K1), instances=[wishing])
    look.queue.errors = [Transient("queue down")] * 4
    with pytest.raises(Transient, match="queue down"):
        look()
    assert look.ecs.existing == []


# what goes wrong


def test_a_group_that_does_not_exist_is_nothing_to_do() -> None:
    look = Looking(None)
    assert (look(), look.log.records, look.queue.posted) == ([], [], [])


def test_trouble_with_a_change_is_looked_at_again() -> None:
    """For up to an hour; the applier has recorded the attempt."""
    look = Looking(accepting(lock=True), ours(K1))
    look.ecs.errors["revoke"] = [Transient("503")] * 4
    assert look() == [Later(DB, "503", NOW + LOOK_AGAIN_SECONDS)]
    assert "attempt" in look.log.kinds()


@pytest.mark.parametrize("read", ["groups", "rules"])
def test_trouble_with_a_read_is_raised(read: str) -> None:
    look = Looking(accepting(lock=True), ours(K1))
    look.ecs.errors[read] = [Transient("timeout")]
    with pytest.raises(Transient):
        look()
    assert look.ecs.changes() == []


def test_trouble_with_another_account_keeps_nothing_open_and_is_looked_at_again() -> None:
    """The group's own tags are noted for what its event says."""
    look = Looking(accepting(lock=True), ours(key(DB, FOREIGN)))
    look.peer.errors["groups"] = [Transient("timeout")] * 4
    assert look() == [Later(DB, "timeout", NOW + LOOK_AGAIN_SECONDS)]
    assert look.ecs.existing == []
    [attempt] = [record for record in look.log.records if record["record"] == "attempt"]
    assert (attempt["action"], attempt["from_account"], attempt["from"]) == ("look", HOME, DB.id)
    assert look.delivery.output.tags == {DB: accepting(lock=True).tags}


def test_refused_access_is_one_denied_look() -> None:
    """Nothing is changed."""
    look = Looking(accepting(lock=True), ours(K1))
    look.ecs.errors["groups"] = [NoAccess("Forbidden.RAM", "no")]
    assert look() == []
    assert look.log.outcomes() == [("denied", "no-access")]
    assert (look.log.records[0]["action"], look.ecs.changes()) == ("look", [])
    assert look.log.records[0]["detail"] == f"account {HOME}: Forbidden.RAM"
