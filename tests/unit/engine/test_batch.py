"""What the messages of a batch touch, and their removal guard: together they remove no more than one after the other."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Link, Party, RuleKey
from link_peer.domain.request import Look, Message, Request
from link_peer.engine import batch
from link_peer.engine.batch import Batch, guard_of
from link_peer.planning.decision import Unseen

from tests.unit.fakes import FakeEcs, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, B
from tests.unit.views import group, instance, key

FAR = Party(PEER, "i-far")
FAR_GROUP = Party(PEER, "sg-far")


def request(source: Party, target: Party, action: Any = "sync") -> Request:
    return Request("chg-1", action, REGION, Link(source, target), NOW + 600)


def accounts() -> tuple[FakeEcs, FakeEcs]:
    home = FakeEcs([group(APP), group(DB), group(CACHE)], [instance(A, APP, CACHE), instance(B, DB)])
    return home, FakeEcs([group(FAR_GROUP)], [instance(FAR, FAR_GROUP)], account=PEER)


def touched(
    message: Message, *ecs: FakeEcs, others: tuple[Message | None, ...] = (request(APP, DB),), lanes: int = 4
) -> Set[Party] | None:
    return Batch(delivery(*(ecs or accounts()), lanes=lanes), [message, *others]).touches(message)


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
    both = Batch(delivery(home, far, lanes=4), [request(A, FAR), request(APP, DB)])
    assert both.touches(request(A, FAR)) is None
    assert both.touches(request(APP, DB)) == {APP, DB}


def test_a_bug_of_one_message_costs_the_guard_of_a_batch_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen, keys = Unseen(HOME, HOME), frozenset(key(DB, APP, f"tcp/{n}") for n in range(1, 60))

    def due(_delivery: object, one: Request) -> dict[Unseen, frozenset[RuleKey]]:
        if one.link.source == CACHE:
            raise ZeroDivisionError("bug")
        return {unseen: keys}

    monkeypatch.setattr(batch, "removals_due", due)
    guard = guard_of([request(CACHE, DB), request(APP, DB)], delivery(*accounts()))
    assert guard.held({unseen: 1}) == {unseen}
