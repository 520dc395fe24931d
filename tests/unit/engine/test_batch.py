"""What the messages of a batch touch, and their removal guard: together they remove no more than one after the
other."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Link, Party, RuleKey
from link_peer.domain.request import Look, Message, Request
from link_peer.engine import batch
from link_peer.engine.batch import Batch, guard_of
from link_peer.planning.decision import Unseen

from tests.unit.fakes import FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, B
from tests.unit.snapshots import group, instance, key

FAR = Party(PEER, "i-far")
FAR_GROUP = Party(PEER, "sg-far")


def request(source: Party, target: Party, action: Any = "sync") -> Request:
    return Request("chg-1", action, REGION, Link(source, target), NOW + 600)


def accounts() -> tuple[FakeEcs, FakeEcs]:
    home = FakeEcs([group(APP), group(DB), group(CACHE)], [instance(A, APP, CACHE), instance(B, DB)])
    return home, FakeEcs([group(FAR_GROUP)], [instance(FAR, FAR_GROUP)], account=PEER)


def touched(
    message: Message, *ecs: FakeEcs, other_messages: tuple[Message | None, ...] = (request(APP, DB),), lanes: int = 4
) -> Set[Party] | None:
    return Batch(delivery(*(ecs or accounts()), lanes=lanes), [message, *other_messages]).touches(message)


@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
@pytest.mark.parametrize(
    ("source", "target", "parties"),
    [
        (APP, FAR_GROUP, {APP, FAR_GROUP}),
        (A, FAR, {A, FAR, APP, CACHE, FAR_GROUP}),  # a rule of an instance link may be on any of its groups
        (A, Party(PEER, "i-gone"), None),  # its rules are on groups that it was in
        (A, Party("1000000000000009", "i-x"), None),  # of an account that the policy does not list
    ],
    ids=["groups", "instances", "not shown", "not listed"],
)
def test_a_request_touches_its_parties_and_the_groups_of_its_instances(
    action: Any, source: Party, target: Party, parties: set[Party] | None
) -> None:
    """It may touch anything where these are not known. Groups are not read for that."""
    home, far = accounts()
    assert touched(request(source, target, action), home, far) == parties
    assert not source.is_group or (home.calls, far.calls) == ([], [])


def test_what_a_look_touches_is_not_known() -> None:
    """The peers that the tags of its party name."""
    assert touched(Look("look-sg-app", REGION, APP, NOW + 300)) is None


@pytest.mark.parametrize(
    "error", [Transient("timeout"), NoAccess("NoPermission", "no"), CloudError("Odd", "odd"), ZeroDivisionError("bug")]
)
def test_instances_that_cannot_be_read_may_touch_anything(error: Exception) -> None:
    """The request itself finds out why. Other requests are not affected."""
    home, far = accounts()
    far.errors["instances"] = [error]
    batch = Batch(delivery(home, far, lanes=4), [request(A, FAR), request(APP, DB)])
    assert batch.touches(request(A, FAR)) is None
    assert batch.touches(request(APP, DB)) == {APP, DB}


@pytest.mark.parametrize(
    ("messages", "lanes", "shared"),
    [
        ([request(APP, DB), None], 4, False),
        ([request(A, DB), request(APP, CACHE)], 1, False),
        ([request(A, B), None, request(APP, CACHE)], 2, True),
    ],
)
def test_messages_share_what_they_read_where_some_may_run_side_by_side(
    messages: list[Message | None], lanes: int, shared: bool
) -> None:
    """Under the name of the first. Otherwise nothing is read in advance."""
    names: list[str] = []
    home, far = accounts()
    batch_delivery = delivery(home, far, lanes=lanes)
    cloud = batch_delivery.cloud("")
    connections = msgspec.structs.replace(
        batch_delivery.connections, open_cloud=lambda name, _retry: names.append(name) or cloud
    )
    batch_delivery = msgspec.structs.replace(batch_delivery, connections=connections)
    first = msgspec.structs.replace(messages[0], request_id="first")
    batch = Batch(batch_delivery, [first, *messages[1:]])
    assert (batch.delivery is batch_delivery, names) == (not shared, ["first"] if shared else [])
    assert home.calls == (["instances i-a i-b"] if shared else [])


LOOK = Look("look-sg-app", REGION, APP, NOW + 300)
SYNCS = (request(CACHE, DB), request(APP, DB))


@pytest.mark.parametrize(
    ("messages", "count", "is_held"),
    [
        (SYNCS, 26, True),
        (SYNCS, 25, False),
        (SYNCS[:1], 60, False),  # it is counted when it is carried out
        ((SYNCS[0], LOOK, None, request(APP, DB, "unlink")), 60, False),
    ],
)
def test_what_syncs_are_due_to_remove_together_is_held_and_said_in_advance(
    monkeypatch: pytest.MonkeyPatch, messages: tuple[Message | None, ...], count: int, is_held: bool
) -> None:
    """More than fifty rules, each counted once. Only syncs are asked, and one summary names who sent them."""
    unseen, log = Unseen(HOME, HOME), FakeLog()

    def due(_delivery: object, request: Request) -> dict[Unseen, frozenset[RuleKey]]:
        assert request.action == "sync"
        return {unseen: frozenset(key(DB, request.link.source, f"tcp/{n}") for n in range(1, count + 1))}

    monkeypatch.setattr(batch, "removals_due", due)
    guard = guard_of(
        [*messages, *messages[:1]] if len(messages) == 2 else messages, delivery(*accounts(), log=log), "x"
    )
    assert bool(guard.excess({unseen: 1})) == is_held
    assert [(record["record"], record["action"], record["actor"]) for record in log.records] == [
        ("summary", "sync", "x")
    ] * is_held
    assert guard.reported == ({unseen} if is_held else set())


def test_a_bug_of_one_message_costs_the_guard_of_a_batch_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen, keys = Unseen(HOME, HOME), frozenset(key(DB, APP, f"tcp/{n}") for n in range(1, 60))

    def due(_delivery: object, request: Request) -> dict[Unseen, frozenset[RuleKey]]:
        if request.link.source == CACHE:
            raise ZeroDivisionError("bug")
        return {unseen: keys}

    monkeypatch.setattr(batch, "removals_due", due)
    guard = guard_of([request(CACHE, DB), request(APP, DB)], delivery(*accounts()))
    assert guard.excess({unseen: 1}) == {unseen}
