"""Requests: which rules of a pair a request may touch, and when its id belongs to another link."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer.domain.model import TAG, Claim, Link, Rule
from link_peer.domain.policy import Limits
from link_peer.domain.request import Request
from link_peer.domain.tags import compact, parse_ports
from link_peer.engine.scopes.pair import reconcile_pair, removals_due
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.decision import Unseen

from tests.unit.fakes import FakeEcs, FakeLog, delivery
from tests.unit.views import APP, CACHE, DB, HOME, NOW, REGION, A, B, group, instance, key, ours, policy

P1, P2 = parse_ports("tcp/1"), parse_ports("tcp/2")
LATER, UNTIL = int(NOW) + 3600, int(NOW) + 7200
K1, K2, HERE, THERE = key(DB, APP, "tcp/1"), key(DB, APP, "tcp/2"), key(DB, APP), key(APP, DB)
REQ = Claim("chg-1")


class Asking:
    """One request about sg-app and sg-db."""

    def __init__(self, *rules: Rule, instances: Any = (), limit: int = 50) -> None:
        groups = [group(party, "*", managed_tag=True) for party in (APP, DB, CACHE)]
        self.ecs, self.log = FakeEcs(groups, instances, rules), FakeLog()
        limited = policy(limits=Limits(removals_per_run=limit))
        self.delivery = delivery(self.ecs, log=self.log, policy=limited)
        self.guard = RemovalGuard(limit)

    def __call__(self, action: Any, *ports: Any, turned: bool = False, **fields: Any) -> list[tuple[str, str]]:
        """The outcomes. `ports` are none for a mutual link."""
        source, target = (DB, APP) if turned else (APP, DB)
        request = Request("chg-1", action, REGION, Link(source, target, ports), NOW + 600, **fields)
        reconcile_pair(self.delivery, request, "", self.delivery.audit({}), self.guard)
        return self.log.outcomes()

    def claims(self) -> dict[Any, str]:
        """The claims on every rule."""
        return {rule.key: rule.description.partition(" by=")[2] for rule in self.ecs.existing}


# whose request id it is


@pytest.mark.parametrize(
    ("standing", "ports", "turned", "until", "in_use"),
    [
        # the same link, or a part of it that an earlier delivery has written
        ([(K1, REQ)], P1, False, None, False),
        ([(K1, REQ)], (*P1, *P2), False, None, False),
        ([(HERE, REQ)], (), False, None, False),
        ([(HERE, REQ), (THERE, REQ)], (), True, None, False),
        ([(K1, Claim("chg-1", UNTIL))], P1, False, UNTIL, False),
        # other ports, direction, or end
        ([(K1, REQ)], P2, False, None, True),
        ([(K1, REQ), (K2, REQ)], P1, False, None, True),
        ([(HERE, REQ)], P1, False, None, True),
        ([(K1, REQ)], (), False, None, True),
        ([(K1, REQ)], P1, True, None, True),
        ([(K1, REQ)], P1, False, UNTIL, True),
        ([(K1, Claim("chg-1", UNTIL))], P1, False, None, True),
        ([(K1, Claim("chg-1", UNTIL))], P1, False, LATER, True),
        # another request's, a tag's, or another pair's
        ([(K2, Claim("chg-2"))], P1, False, None, False),
        ([(K2, TAG)], P1, False, None, False),
        ([(key(CACHE, APP, "tcp/2"), REQ)], P1, False, None, False),
    ],
)
def test_a_request_id_that_another_link_of_the_pair_carries_is_denied(
    standing: list[tuple[Any, Claim]], ports: Any, turned: bool, until: int | None, in_use: bool
) -> None:
    """Nothing is changed then: no one ends, widens or takes over a link by guessing its id."""
    rules = [ours(k, claim) for k, claim in standing]
    asking = Asking(*rules)
    outcomes = asking("link", *ports, turned=turned, until=until)
    if in_use:
        assert outcomes == [("denied", "id-in-use")]
        assert (asking.ecs.existing, asking.ecs.changes()) == (rules, [])
    else:
        assert outcomes == [("applied", "")]


def test_the_id_of_another_link_of_two_instances_is_denied() -> None:
    """The rules are between two addresses; their markers name the instances."""
    shown = [instance(A, APP, ip="10.0.0.1"), instance(B, DB, ip="10.0.0.2")]
    asking = Asking(instances=shown)
    first = Request("chg-1", "link", REGION, Link(A, B, P1), NOW + 600)
    second = Request("chg-1", "link", REGION, Link(A, B, P2), NOW + 600)
    for request in (first, second):
        reconcile_pair(asking.delivery, request, "", asking.delivery.audit({}), asking.guard)
    assert asking.log.outcomes() == [("applied", ""), ("denied", "id-in-use")]


# what each action may take


def test_a_link_takes_no_claim_of_others() -> None:
    """Whatever they have lost: that is another delivery's business."""
    ended = Claim("chg-2", int(NOW))
    asking = Asking(ours(K2, TAG, ended))
    assert asking("link", *P1) == [("applied", "")]
    assert asking.claims() == {K2: f"tag,req:chg-2~{compact(NOW)}", K1: "req:chg-1"}


def test_a_link_that_lost_its_consent_goes_with_its_own_request() -> None:
    """It is denied, and its own claim is taken; another request's stays for its own delivery."""
    asking = Asking(ours(K1, REQ, Claim("chg-2")))
    asking.ecs.known["sg-db"] = group(DB, managed_tag=True)
    asking("link", *P1)
    assert asking.claims() == {K1: "req:chg-2"}


@pytest.mark.parametrize(
    ("ports", "turned", "left"),
    [
        ((), False, {K1: "tag", HERE: "tag"}),
        ((), True, {K1: "tag", HERE: "tag"}),
        (P1, False, {K1: "tag", K2: "req:chg-2", HERE: "tag,req:chg-1", THERE: "req:chg-1"}),
        (P1, True, {K1: "tag,req:chg-1", K2: "req:chg-2", HERE: "tag,req:chg-1", THERE: "req:chg-1"}),
    ],
)
def test_an_unlink_takes_every_requests_claim_and_no_tags(ports: Any, turned: bool, left: dict[Any, str]) -> None:
    """Without ports everything between the two, both ways; with ports those, in one direction."""
    asking = Asking(ours(K1, TAG, REQ), ours(K2, Claim("chg-2")), ours(HERE, TAG, REQ), ours(THERE, REQ))
    asking("unlink", *ports, turned=turned)
    assert asking.claims() == left


def test_a_sync_takes_tags_claims_of_its_own_direction() -> None:
    """The members of sg-app are shown and ask for nothing; requests stay."""
    back = key(APP, DB, "tcp/1")
    shown = [instance(A, APP, link_peer="sg-cache"), instance(B, DB, link_peer="sg-cache")]
    asking = Asking(ours(K1), ours(K2, TAG, REQ), ours(back), instances=shown)
    asking("sync")
    assert asking.claims() == {K2: "req:chg-1", back: "tag"}


def test_a_sync_opens_nothing_for_a_request() -> None:
    """It reads the wish from tags alone."""
    asking = Asking(ours(HERE, REQ), instances=[instance(A, APP, link_peer="sg-cache")])
    assert asking("sync") == [("unchanged", "")]
    assert asking.claims() == {HERE: "req:chg-1"}


# counting in advance


def test_the_removals_that_a_request_is_due_to_make_are_counted_without_a_change() -> None:
    """By what is not shown; none of a request that cannot be read."""
    asking = Asking(ours(K1), ours(K2), instances=[instance(A, APP)])
    sync = Request("tag-1", "sync", REGION, Link(APP, DB), NOW + 600)
    due = removals_due(asking.delivery, sync)
    assert {unseen: len(keys) for unseen, keys in due.items()} == {Unseen(HOME, HOME): 2}
    assert (asking.ecs.changes(), asking.log.records) == ([], [])
    asking.ecs.errors["groups"] = [Transient("timeout")]
    assert removals_due(asking.delivery, sync) == {}


def test_removals_that_would_be_held_are_counted_too() -> None:
    """Beyond the limit of one request."""
    asking = Asking(ours(K1), ours(K2), instances=[instance(A, APP)], limit=1)
    sync = Request("tag-1", "sync", REGION, Link(APP, DB), NOW + 600)
    due = removals_due(asking.delivery, sync)
    assert {unseen: len(keys) for unseen, keys in due.items()} == {Unseen(HOME, HOME): 2}


def test_a_request_that_is_denied_is_due_to_remove_nothing() -> None:
    """Its own delivery says why: here both sides are the same."""
    asking = Asking(ours(K1), instances=[instance(A, APP)])
    sync = Request("tag-1", "sync", REGION, Link(APP, APP), NOW + 600)
    assert removals_due(asking.delivery, sync) == {}
    assert asking.log.records == []


def test_trouble_with_a_change_must_be_redelivered() -> None:
    """The applier has recorded the attempt."""
    asking = Asking()
    asking.ecs.errors["authorize"] = [Transient("503")] * 4
    with pytest.raises(RedeliveryNeeded, match="503"):
        asking("link", *P1)
    assert asking.log.kinds() == ["intent", "attempt"]


def test_a_link_that_expires_on_its_way_is_denied() -> None:
    """Once for the request, and nothing is opened."""
    asking = Asking()
    late = Request("chg-1", "link", REGION, Link(APP, DB, P1), NOW - 301)
    reconcile_pair(asking.delivery, late, "", asking.delivery.audit({}), asking.guard)
    assert (asking.log.outcomes(), asking.ecs.existing) == ([("denied", "expired")], [])


def test_both_sides_the_same_is_unchanged() -> None:
    asking = Asking()
    same = Request("chg-1", "link", REGION, Link(APP, APP), NOW + 600)
    reconcile_pair(asking.delivery, same, "", asking.delivery.audit({}), asking.guard)
    assert (asking.log.outcomes(), asking.ecs.calls) == ([("unchanged", "same-group")], [])
