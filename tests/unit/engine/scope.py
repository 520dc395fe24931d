"""A small Scope for the parts that need one: everything of it is a constructor argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from link_peer.domain.model import Claim, Marker, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import link_of
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Decision, Plan
from link_peer.planning.removals import May
from link_peer.runtime.delivery import Delivery

MayLose = Callable[[Snapshot, Rule, Marker, Claim], May]


def once_covered(snapshot: Snapshot, rule: Rule, marker: Marker, _claim: Claim) -> May:
    """Every claim may be taken once all that could want its link was read."""
    assert rule.key is not None
    return May.TAKE if snapshot.covers(link_of(rule.key, marker)) else May.READ


class FakeScope(Scope):
    """Desires fixed links, answers for all of them, and counts its passes in `plans`."""

    def __init__(
        self,
        delivery: Delivery,
        desired: Sequence[DesiredLink] = (),
        *,
        may_lose: MayLose = lambda *_: May.TAKE,
        expires_at: float | None = None,
    ) -> None:
        super().__init__(open_work(delivery, "test", delivery.audit({}), expires_at=expires_at))
        self.plans: list[Plan] = []
        self._desired = list(desired)
        self._may_lose = may_lose

    @property
    def context(self) -> Context:
        return Context(self.policy, self.delivery.region, self.started)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        return self._desired

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> May:
        return self._may_lose(snapshot, rule, marker, claim)

    def select(self, plan: Plan) -> Sequence[Decision]:
        self.plans.append(plan)
        return plan.decisions
