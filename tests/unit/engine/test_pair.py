"""Requests: what a request leaves to others, and the removals that it is due to make.

What each action opens and closes is in tests/functional/cross_account."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from link_peer.domain.errors import Transient
from link_peer.domain.model import TAG, Claim, Link, Rule
from link_peer.domain.policy import Limits
from link_peer.domain.request import Request
from link_peer.domain.tags import compact, parse_ports
from link_peer.engine.scopes.pair import reconcile_pair, removals_due
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.decision import Unseen

from tests.unit.fakes import FakeEcs, FakeLog, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, REGION, A, B
from tests.unit.views import group, instance, key, ours, policy

P1 = parse_ports("tcp/1")
K1, K2 = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2")
SYNC = Request("tag-1", "sync", REGION, Link(APP, DB), NOW + 600)


class Asking:
    """One request about sg-app and sg-db."""

    def __init__(self, *rules: Rule, instances: Any = (), limit: int = 50) -> None:
        groups = [group(party, "*", managed_tag=True) for party in (APP, DB, CACHE)]
        self.ecs, self.log = FakeEcs(groups, instances, rules), FakeLog()
        limited = policy(limits=Limits(removals_per_run=limit))
        self.delivery = delivery(self.ecs, log=self.log, policy=limited)
        self.guard = RemovalGuard(limit)

    def __call__(self, action: Any, *ports: Any) -> list[tuple[str, str]]:
        """The outcomes. `ports` are none for a mutual link."""
        request = Request("chg-1", action, REGION, Link(APP, DB, ports), NOW + 600)
        reconcile_pair(self.delivery, request, "", self.delivery.audit({}), self.guard)
        return self.log.outcomes()

    def claims(self) -> dict[Any, str]:
        """The claims on every rule."""
        return {rule.key: rule.description.partition(" by=")[2] for rule in self.ecs.existing}


# what each action may take


def test_the_id_of_another_link_of_two_instances_is_denied() -> None:
    """The rules are between two addresses; their markers name the instances."""
    shown = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    asking = Asking(instances=shown)
    first = Request("chg-1", "link", REGION, Link(A, B, P1), NOW + 600)
    second = Request("chg-1", "link", REGION, Link(A, B, parse_ports("tcp/2")), NOW + 600)
    for request in (first, second):
        reconcile_pair(asking.delivery, request, "", asking.delivery.audit({}), asking.guard)
    assert asking.log.outcomes() == [("applied", ""), ("denied", "id-in-use")]


def test_a_link_takes_no_claim_of_others() -> None:
    """Whatever they have lost: that is another delivery's business."""
    ended = Claim("chg-2", int(NOW))
    asking = Asking(ours(K2, TAG, ended))
    assert asking("link", *P1) == [("applied", "")]
    assert asking.claims() == {K2: f"tag,req:chg-2~{compact(NOW)}", K1: "req:chg-1"}


# counting in advance


@pytest.mark.parametrize("limit", [50, 1])
def test_the_removals_that_a_request_is_due_to_make_are_counted_without_a_change(limit: int) -> None:
    """By what is not shown, those that would be held too; none of a request that cannot be read."""
    asking = Asking(ours(K1), ours(K2), instances=[instance(A, APP)], limit=limit)
    due = removals_due(asking.delivery, SYNC)
    assert {unseen: len(keys) for unseen, keys in due.items()} == {Unseen(HOME, HOME): 2}
    assert (asking.ecs.changes(), asking.log.records) == ([], [])
    asking.ecs.errors["groups"] = [Transient("timeout")]
    assert removals_due(asking.delivery, SYNC) == {}


def test_a_request_that_is_denied_is_due_to_remove_nothing() -> None:
    """Its own delivery says why: here both sides are the same."""
    asking = Asking(ours(K1), instances=[instance(A, APP)])
    assert removals_due(asking.delivery, msgspec.structs.replace(SYNC, link=Link(APP, APP))) == {}
    assert asking.log.records == []
