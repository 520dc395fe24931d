"""The reconcile loop: reads until a plan misses nothing, applies, and answers refused links again."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer.domain import denials
from link_peer.domain.model import Link
from link_peer.domain.tags import parse_ports
from link_peer.engine.converge import Planner, converge, plan_only
from link_peer.engine.write.apply import Applier
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Report
from link_peer.planning.decision import Decision, Plan, Refusal
from link_peer.planning.removals import May

from tests.unit.fakes import FakeEcs, FakeScope, delivery
from tests.unit.small_world import APP, CACHE, DB, A
from tests.unit.snapshots import instance, key, managed, ours

K1 = key(DB, APP, "tcp/1")
LINK, MUTUAL = Link(APP, DB, parse_ports("tcp/1")), Link(APP, DB)
GUARD = RemovalGuard(50)


def reading() -> FakeScope:
    """Never allows the claim of its one rule to be taken, and asks for nothing. No instance of the account is shown
    with a tag."""
    groups = [managed(APP, "*"), managed(DB, "*")]
    world = delivery(FakeEcs(groups, [instance(A, APP)], [ours(K1)]))
    scope = FakeScope(world, may_lose=lambda *_: May.READ)
    scope.fetch.parties([APP, DB])
    scope.fetch.rules([APP, DB])
    return scope


def test_a_rule_is_kept_where_reading_more_does_not_help() -> None:
    """The loop ends all the same."""
    assert plan_only(reading(), GUARD).missing.unread == {LINK}
    assert converge(reading(), GUARD).removed == 0


WAITING = Link(APP, CACHE, LINK.ports)
PLAN = Plan(
    (
        Decision(WAITING, "link", "denied", denials.address_of_another(A, APP)),
        Decision(MUTUAL, "link", "denied", denials.no_private_ip(A)),
    )
)
REFUSED = Report(refused={LINK: Refusal(denials.NO_DENIAL)})


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
    focuses: list[Any] = []

    def plan(_planner: object, _refused: object, focus: object) -> Plan:
        focuses.append(focus)
        return PLAN

    monkeypatch.setattr(Planner, "plan", plan)
    monkeypatch.setattr(Applier, "apply", lambda *_: report)
    outcome = converge(reading(), GUARD)
    assert focuses == ([None, again, again] if again else [None])
    assert outcome.removed == len(focuses) * report.removed


def test_the_first_plan_is_made_again_before_anything_is_written_where_its_reads_forbid_further_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later plan is not: what was refused is not tried twice."""
    steps: list[str] = []
    answers = iter([True, True, False])

    def plan(_planner: object, _refused: object, _focus: object) -> Plan:
        steps.append("plan")
        return PLAN

    def apply(*_: object) -> Report:
        steps.append("apply")
        return REFUSED if steps.count("apply") == 1 else Report()

    monkeypatch.setattr(Planner, "plan", plan)
    monkeypatch.setattr(Applier, "apply", apply)
    converge(reading(), GUARD, lambda _: next(answers))
    assert steps == ["plan", "plan", "plan", "apply", "plan", "apply"]
