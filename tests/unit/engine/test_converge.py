"""The reconcile loop: reads until a plan misses nothing, applies, and answers refused links again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from link_peer.domain import denials
from link_peer.domain.errors import CloudError
from link_peer.domain.model import TAG, Instance, Link, Rule, RuleKey
from link_peer.domain.policy import Limits, Policy
from link_peer.domain.tags import parse_ports
from link_peer.engine.converge import Planner, converge
from link_peer.engine.write.apply import Applier
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Report
from link_peer.planning.decision import Decision, DesiredLink, Plan, Refusal, Unseen
from link_peer.planning.removals import May

from tests.unit.fakes import FakeEcs, FakeLog, FakeScope, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, POLICY, A
from tests.unit.views import instance, key, managed, ours, policy

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


def test_a_rule_is_kept_where_reading_more_does_not_help() -> None:
    """The loop ends although the scope never allows the claim to be taken."""
    found = Converging(ours(K1), instances=[UNSURE], may_lose=lambda *_: May.READ)
    assert found.run().removed == 0
    assert found.scope.plans[0].missing.unread == {LINK}


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
    assert len(found.scope.plans) == 2
    assert found.log.outcomes() == [("failed", "quota")]


WAITING = Link(APP, CACHE, LINK.ports)
PLAN = Plan(
    (
        Decision(WAITING, "link", "denied", denials.address_of_another(A, APP)),
        Decision(MUTUAL, "link", "denied", denials.no_private_ip(A)),
    )
)
REFUSED = Report(refused={LINK: Refusal(denials.NOTHING)})


@pytest.mark.parametrize(
    ("report", "again"),
    [
        (Report(), None),
        (Report(changed=1), None),
        (REFUSED, {LINK}),
        (Report(removed=1), {WAITING}),
        (REFUSED + Report(removed=1), {LINK, WAITING}),
    ],
)
def test_links_that_were_refused_or_waited_for_a_rule_that_was_removed_are_answered_again(
    monkeypatch: pytest.MonkeyPatch, report: Report, again: set[Link] | None
) -> None:
    """Those alone, in three passes at most. `report` is that of every pass."""
    asked: list[Any] = []

    def plan(_planner: object, _refused: object, focus: object) -> Plan:
        asked.append(focus)
        return PLAN

    monkeypatch.setattr(Planner, "plan", plan)
    monkeypatch.setattr(Applier, "apply", lambda *_: report)
    found = Converging().run()
    assert asked == ([None, again, again] if again else [None])
    assert found.removed == len(asked) * report.removed
