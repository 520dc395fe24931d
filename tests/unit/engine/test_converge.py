"""The reconcile loop: reads until a plan misses nothing, applies, and answers refused links again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import TAG, Claim, Instance, Link, Rule, RuleKey
from link_peer.domain.policy import Limits, Policy
from link_peer.domain.request import LATE_SECONDS
from link_peer.domain.tags import parse_ports
from link_peer.engine.converge import PASSES, converge, plan_only, report_held
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Unseen
from link_peer.planning.removals import May

from tests.unit.engine.scope import FakeScope, once_covered
from tests.unit.fakes import FakeEcs, FakeLog, delivery
from tests.unit.views import APP, CACHE, DB, HOME, NOW, POLICY, A, B, instance, key, managed, ours, policy

K1 = key(DB, APP, "tcp/1")
AT_HOME = Unseen(HOME, HOME)
LINK, MUTUAL = Link(APP, DB, parse_ports("tcp/1")), Link(APP, DB)
GROUPS = [managed(APP, "*"), managed(DB, "*"), managed(CACHE, "*")]
UNSURE = instance(A, APP)
"""A member of sg-app. No instance of the account is shown with a tag, so that nothing is proven by missing ones."""
FULL = CloudError("AuthorizedGroupRule.LimitExceed", "full")


class Converging:
    """A FakeScope whose groups and rules were read, and no instances."""

    def __init__(
        self,
        *rules: Rule,
        desired: Sequence[Link] = (),
        instances: Sequence[Instance] = (),
        with_policy: Policy = POLICY,
        kind: type[FakeEcs] = FakeEcs,
        **options: Any,
    ) -> None:
        self.ecs = kind(GROUPS, instances, rules)
        self.log = FakeLog()
        world = delivery(self.ecs, log=self.log, policy=with_policy)
        self.scope = FakeScope(world, [DesiredLink(link, TAG) for link in desired], **options)
        self.scope.fetch.parties([APP, DB, CACHE])
        self.scope.fetch.rules([APP, DB, CACHE])
        self.guard = RemovalGuard(with_policy.limits.removals_per_run)
        self.ecs.calls.clear()

    def run(self) -> Any:
        return converge(self.scope, self.guard)


def test_a_desired_link_is_written_in_one_pass() -> None:
    """And a second run finds nothing to change."""
    found = Converging(desired=[LINK])
    assert found.run().changed == 1
    assert len(found.scope.plans) == 1
    assert [rule.key for rule in found.ecs.existing] == [K1]
    assert found.run().changed == 0


def test_what_a_plan_could_not_decide_is_read_first() -> None:
    """The members of sg-app could want the rule: none does, so it is removed."""
    found = Converging(ours(K1), instances=[UNSURE], may_lose=once_covered)
    assert found.run().removed == 1
    assert "members sg-app" in found.ecs.calls
    assert found.ecs.existing == []


def test_a_rule_is_kept_where_reading_more_does_not_help() -> None:
    """The loop ends although the scope never allows the claim to be taken."""
    found = Converging(ours(K1), instances=[UNSURE], may_lose=lambda *_: May.READ)
    assert found.run().removed == 0
    assert found.scope.plans[0].missing.unread == {LINK}


def test_an_account_is_probed_once_before_anything_there_is_removed() -> None:
    """It shows no instance, so the rule is kept."""
    found = Converging(ours(K1))
    assert found.run().removed == 0
    assert found.ecs.calls.count("shows_instances") == 1
    assert found.ecs.existing == [ours(K1)]


def test_what_is_missing_is_read_again_before_a_rule_is_removed() -> None:
    """The members of the asking group, right before the removal."""
    found = Converging(ours(K1), instances=[UNSURE])
    found.run()
    assert found.ecs.calls.index("members sg-app") < found.ecs.calls.index("revoke sg-db")


def test_nothing_is_removed_where_the_read_that_confirms_an_absence_fails() -> None:
    """One read that is short, and the next one in trouble."""
    found = Converging(ours(K1), instances=[UNSURE])
    found.ecs.errors["members"] = [Transient("timeout")]
    with pytest.raises(Transient, match="timeout"):
        found.run()
    assert (found.ecs.existing, found.log.records) == ([ours(K1)], [])


def test_removals_over_the_limit_are_not_confirmed() -> None:
    """They are held anyway."""
    strict = policy(limits=Limits(removals_per_run=0))
    found = Converging(ours(K1), instances=[UNSURE], with_policy=strict)
    report = found.run()
    assert (report.removed, report.held) == (0, {AT_HOME: 1})
    assert "members sg-app" not in found.ecs.calls


class FullDb(FakeEcs):
    """sg-db takes no more rules."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        self._called("authorize", group)
        raise FULL


def test_passes_end() -> None:
    """Each refuses a link that the one before it had not answered; what is held counts once."""
    strict = policy(limits=Limits(removals_per_run=0))
    found = Converging(ours(K1), desired=[MUTUAL], instances=[UNSURE], with_policy=strict, kind=FullDb)
    report = found.run()
    assert report.held == {AT_HOME: 1}
    assert len(found.scope.plans) <= PASSES
    assert found.log.outcomes() == [("failed", "quota")]


def test_held_removals_are_reported_once_per_delivery() -> None:
    """The record names the account that does not show something, and the limit."""
    strict = policy(limits=Limits(removals_per_run=0))
    found = Converging(ours(K1), instances=[UNSURE], with_policy=strict)
    for _ in range(2):
        report_held(found.scope, found.run(), found.guard)
    (record,) = [record for record in found.log.records if record["record"] == "summary"]
    assert (record["outcome"], record["reason"], record["from_account"]) == ("failed", "removals-held", HOME)
    assert f"1 rules would be removed only because account {HOME}" in record["detail"]
    assert "at most 0 may be removed" in record["detail"]


def test_questions_are_asked_once() -> None:
    """Whether the source's address is used in the target's VPC. Then the link is written."""
    far, near = instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), instance(B, DB, ip="10.0.0.2")
    found = Converging(desired=[Link(A, B, LINK.ports)], instances=[far, near])
    found.scope.fetch.parties([A, B])
    assert found.run().changed == 1
    assert [call for call in found.ecs.calls if call.startswith("address_taken")] == ["address_taken vpc-1 10.0.0.1"]


def test_a_question_that_cannot_be_answered_ends() -> None:
    """The account refuses the call: it is asked once, and the link is denied for that."""
    far, near = instance(A, APP, ip="10.0.0.1", vpc="vpc-2"), instance(B, DB, ip="10.0.0.2")
    found = Converging(desired=[Link(A, B, LINK.ports)], instances=[far, near])
    found.scope.fetch.parties([A, B])
    found.ecs.errors["address_taken"] = [NoAccess("Forbidden.RAM", "no")]
    assert found.run().changed == 0
    assert found.log.outcomes() == [("denied", "no-access")]


def test_closing_comes_before_opening() -> None:
    """A rule is removed before the first one is written."""
    ended = ours(K1, Claim("chg-1", int(NOW)))
    found = Converging(ended, desired=[Link(APP, CACHE, LINK.ports)])
    found.run()
    assert [call for call in found.ecs.changes() if not call.startswith("tag ")] == [
        "revoke sg-db",
        "authorize sg-cache",
    ]


def test_a_request_that_has_expired_opens_nothing() -> None:
    """Shortly after its `expires_at`, which the scope gives."""
    found = Converging(desired=[LINK], expires_at=NOW - LATE_SECONDS - 1)
    assert found.run().changed == 0
    assert found.log.outcomes() == [("denied", "expired")]


class FullApp(FakeEcs):
    """sg-app takes no more rules."""

    def authorize(self, group: str, rules: Sequence[tuple[RuleKey, str]]) -> str:
        if group == "sg-app":
            self._called("authorize", group)
            raise FULL
        return super().authorize(group, rules)


def test_a_refused_link_is_answered_again_and_rolled_back() -> None:
    """The first side of the mutual link was written, the second is refused: the first is removed, and one outcome says
    why."""
    found = Converging(desired=[MUTUAL], kind=FullApp)
    report = found.run()
    assert set(report.refused) == {MUTUAL}
    assert len(found.scope.plans) == 2
    assert [call for call in found.ecs.changes() if "tag" not in call] == [
        "authorize sg-db",
        "authorize sg-app",
        "revoke sg-db",
    ]
    assert found.ecs.existing == []
    assert found.log.outcomes() == [("failed", "quota")]


def test_after_a_refusal_the_other_links_are_not_answered_again() -> None:
    """Each link has one outcome."""
    found = Converging(desired=[MUTUAL, Link(APP, CACHE, parse_ports("tcp/1"))], kind=FullApp)
    found.run()
    assert sorted(found.log.outcomes()) == [("applied", ""), ("failed", "quota")]


def test_trouble_with_one_change_is_reported_and_the_rest_is_done() -> None:
    """The report says that the delivery must be redelivered."""
    found = Converging(desired=[LINK, Link(APP, CACHE, parse_ports("tcp/1"))])
    found.ecs.errors["authorize"] = [Transient("503")] * 4
    report = found.run()
    assert (report.changed, len(report.pending)) == (1, 1)
    assert sorted(set(found.log.kinds())) == ["attempt", "intent", "outcome"]


def test_a_read_that_fails_ends_the_run() -> None:
    """Nothing can be decided; nothing is changed."""
    found = Converging(ours(K1), instances=[UNSURE], may_lose=once_covered)
    found.ecs.errors["members"] = [Transient("timeout")]
    with pytest.raises(Transient, match="timeout"):
        found.run()
    assert found.ecs.changes() == []


def test_a_plan_alone_is_not_carried_out() -> None:
    """It is read for in the same way, and nothing is recorded."""
    found = Converging(ours(K1), instances=[UNSURE], may_lose=once_covered)
    (removal,) = plan_only(found.scope, found.guard).decisions
    assert (removal.outcome, removal.removals, removal.unseen) == ("removed", 1, {AT_HOME})
    assert (found.ecs.changes(), found.log.records) == ([], [])


def test_the_wishes_of_a_scope_are_those_of_its_instances_tags() -> None:
    """At most as many peers of an instance as the policy allows."""
    few = policy(limits=Limits(max_peers=1))
    asking = instance(A, APP, link_peer="sg-db:tcp/1 sg-cache")
    found = Converging(instances=[asking, instance(B, DB)], with_policy=few)
    found.scope.fetch.parties([A, B])
    snapshot = found.scope.store.snapshot()
    wishes = found.scope.wishes(snapshot, snapshot.instances.values())
    assert [(w.link.target, w.denial is None) for w in wishes] == [(DB, True), (CACHE, False)]
