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
from tests.unit.views import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, B, group, instance, key

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
def test_a_request_touches_its_groups(action: Any) -> None:
    assert touched(request(APP, FAR_GROUP, action)) == {APP, FAR_GROUP}


def test_groups_are_not_read_for_that() -> None:
    home, far = accounts()
    touched(request(APP, FAR_GROUP), home, far)
    assert (home.calls, far.calls) == ([], [])


@pytest.mark.parametrize("action", ["link", "unlink", "sync"])
def test_a_request_touches_its_instances_and_every_group_that_they_are_in(action: Any) -> None:
    """A rule of an instance link may be on any of them."""
    assert touched(request(A, FAR, action)) == {A, FAR, APP, CACHE, FAR_GROUP}


def test_what_a_look_touches_is_not_known() -> None:
    """The peers that the tags of its party name."""
    assert touched(Look("look-sg-app", REGION, APP, NOW + 300)) is None


def test_an_instance_that_is_not_shown_may_touch_anything() -> None:
    """Its rules are on groups that it was in."""
    assert touched(request(A, Party(PEER, "i-gone"))) is None


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


def test_an_account_that_the_policy_does_not_list_is_not_entered() -> None:
    """Nor is one that refuses access."""
    stranger = Party("1000000000000009", "i-x")
    assert touched(request(A, stranger)) is None
    assert touched(request(A, FAR), accounts()[0]) is None


@pytest.mark.parametrize(("lanes", "others"), [(1, (request(B, FAR),)), (4, ()), (4, (None, None))])
def test_nothing_is_read_where_nothing_runs_side_by_side(lanes: int, others: tuple[Message | None, ...]) -> None:
    """With one lane, or one message."""
    home, far = accounts()
    delivered = delivery(home, far, lanes=lanes)
    assert Batch(delivered, [request(A, FAR), *others]).delivery is delivered
    assert (home.calls, far.calls) == ([], [])


def test_a_bug_of_one_message_costs_the_guard_of_a_batch_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    unseen, keys = Unseen(HOME, HOME), frozenset(key(DB, APP, f"tcp/{n}") for n in range(1, 60))

    def due(_delivery: object, one: Request) -> dict[Unseen, frozenset[RuleKey]]:
        if one.link.source == CACHE:
            raise ZeroDivisionError("bug")
        return {unseen: keys}

    monkeypatch.setattr(batch, "removals_due", due)
    guard = guard_of([request(CACHE, DB), request(APP, DB)], delivery(*accounts()))
    assert guard.held({unseen: 1}) == {unseen}


def test_no_message_is_no_batch() -> None:
    delivered = delivery(FakeEcs(account=HOME), lanes=4)
    assert Batch(delivered, [None, None]).delivery is delivered
