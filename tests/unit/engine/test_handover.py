"""Messages that auto_link posts: each is on record first, and none is posted when the function's time is over."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import Limits, Policy
from link_peer.domain.request import look_request, sync_request
from link_peer.engine.scopes.handover import post_looks, post_syncs

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, FakeScope, delivery
from tests.unit.small_world import APP, CACHE, DB, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import policy

LEDGER = Party(PEER, "sg-ledger")
PAIRS: dict[Link, Party | None] = {Link(DB, LEDGER): None, Link(APP, LEDGER): A}
"""In an order that is not that of links."""


class Handing:
    """A scope whose queue and log keep everything."""

    def __init__(self, with_policy: Policy = POLICY) -> None:
        self.log, self.queue, self.clock = FakeLog(), FakeQueue(), FakeClock()
        self.delivery = delivery(FakeEcs(), log=self.log, queue=self.queue, clock=self.clock, policy=with_policy)
        self.scope = FakeScope(self.delivery)

    def record_rows(self, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(record.get(name, "") for name in names) for record in self.log.records]


def test_each_pair_is_posted_once_with_its_record_before_it() -> None:
    """In the order in which they are given. The record names the request, the pair, and the instance whose tag names
    it."""
    handing = Handing()
    post_syncs(handing.scope, PAIRS, "why")
    requests = [sync_request(pair, REGION, NOW) for pair in PAIRS]
    assert handing.queue.posted == requests
    assert handing.record_rows("record", "action", "request_id", "from", "to", "instance", "detail") == [
        ("intent", "sync", requests[0].request_id, DB.id, LEDGER.id, "", "why"),
        ("intent", "sync", requests[1].request_id, APP.id, LEDGER.id, str(A), "why"),
    ]


def test_pairs_that_time_is_not_left_for_are_posted_by_a_later_look() -> None:
    """Those before stay posted: a second sync of a pair changes nothing."""
    handing = Handing()
    post = handing.queue.post

    def slow(*message: Any, **where: Any) -> None:
        post(*message, **where)
        handing.clock.time = handing.delivery.retry.deadline

    handing.queue.post = slow  # type: ignore[method-assign]
    with pytest.raises(Transient, match="not everything is on the queue yet"):
        post_syncs(handing.scope, PAIRS, "why")
    assert len(handing.queue.posted) == 1
    assert handing.log.kinds() == ["intent", "intent"]


def test_a_delivery_posts_so_many_messages_and_none_twice() -> None:
    """Looks and syncs together. A record says how many are left to the sweep, also of pairs that were not read."""
    handing = Handing(policy(limits=Limits(max_peers=3)))
    post_syncs(handing.scope, PAIRS, "why")
    post_looks(handing.scope, [A, B, APP], NOW + 60, "why")
    post_syncs(handing.scope, PAIRS | dict.fromkeys([Link(CACHE, LEDGER), Link(LEDGER, APP)]), "again", omitted=5)
    post_looks(handing.scope, [A], NOW + 90, "again")
    assert handing.queue.posted == [
        *(sync_request(pair, REGION, NOW) for pair in PAIRS),
        look_request(A, REGION, NOW + 60),
    ]
    actions = [
        (record["action"], record["detail"].partition(" left")[0])
        for record in handing.log.records
        if "left" in record["detail"]
    ]
    assert actions == [("look", "2 more are"), ("sync", "7 more are")]
