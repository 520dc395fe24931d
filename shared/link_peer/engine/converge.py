"""The reconcile loop, written once: read → plan → apply until nothing is left.

An event, a request and the timer differ only by their Scope: what they read first, which links are desired there, and
which claims they may take.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence

from link_peer.domain.denial import Denial
from link_peer.domain.model import Claim, Link, Marker, Rule
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.apply import Applier, Report
from link_peer.engine.reader import Reader
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Decision, Plan, Refusal
from link_peer.planning.plan import make_plan
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery

PASSES = 3
"""A pass that was refused a link is followed by one that rolls it back."""


class Scope(ABC):
    """What one trigger reconciles. `started` is when the delivery began to read (epoch seconds)."""

    withdrawn: Denial | None = None
    """Why claims are taken whatever the verdict: an unlink."""

    def __init__(self, delivery: Delivery, reader: Reader, audit: AuditWriter) -> None:
        self.delivery = delivery
        self.policy = delivery.policy
        self.reader = reader
        self.audit = audit
        self.started = delivery.clock.now()

    @property
    @abstractmethod
    def context(self) -> Context:
        """Under which policy, when, and with which actions in the records this scope plans."""

    @abstractmethod
    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """The links that tags and requests ask for, as far as this scope looks."""

    @abstractmethod
    def concerns(self, wanted: DesiredLink) -> bool:
        """Whether this delivery answers for a desired link; the others only keep rules from being removed."""

    @abstractmethod
    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> bool | None:
        """Whether this delivery may take a claim from a rule of ours. None: once all that could want the link is read."""

    def select(self, plan: Plan) -> list[Decision]:
        """The decisions of a plan that are carried out and recorded now."""
        return plan.decisions

    def look_again(self, plan: Plan, report: Report) -> bool:
        """Whether another pass is needed although no link was refused. Reads what that pass needs."""
        return False


def converge(scope: Scope, guard: RemovalGuard) -> Report:
    """Brings the rules in scope to what is desired. `Report.pending` is trouble for which it must be redelivered.
    Raises Transient where nothing could be read, or the audit log could not be written."""
    applier = Applier(scope.reader, scope.delivery, scope.audit, guard, scope.started)
    planner = Planner(scope)
    total = Report()
    for _ in range(PASSES):
        plan = planner.plan(total.refused)
        report = applier.apply(scope.select(plan))
        total.add(report)
        if not scope.look_again(plan, report) and not report.refused:
            break
    applier.finish()
    return total


class Planner:
    """Plans for one scope, and reads what a plan says is missing until it misses nothing."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._probed: set[str] = set()
        self._confirmed: set[object] = set()

    def plan(self, refused: dict[Link, Refusal]) -> Plan:
        """The plan for what can be read now. After a refusal, only the refused links are answered again."""
        scope = self._scope
        while True:
            snapshot = scope.reader.snapshot()
            plan = make_plan(
                snapshot,
                scope.context,
                scope.desired(snapshot),
                in_focus=lambda wanted: (not refused or wanted.link in refused) and scope.concerns(wanted),
                may_lose=functools.partial(scope.may_lose, snapshot),
                refused=refused,
                withdrawn=scope.withdrawn,
            )
            if not self._read_more(plan, snapshot):
                return plan

    def _read_more(self, plan: Plan, snapshot: Snapshot) -> bool:
        """Reads what the plan misses; False when it misses nothing that was not read already."""
        reader = self._scope.reader
        if plan.unread:
            ends = {party for link in plan.unread for party in (link.source, link.target)}
            reader.parties(ends)
            reader.members(party for party in ends if party.is_group)
            if reader.snapshot() != snapshot:
                return True
        if unprobed := plan.doubted_accounts - snapshot.whole_accounts - self._probed:
            self._probed |= unprobed
            reader.probe_liveness(unprobed)
            return True
        unconfirmed = plan.unconfirmed - self._confirmed
        within_limit = plan.removals_toward_cap <= self._scope.policy.limits.removals_per_run  # more are held anyway
        if unconfirmed and within_limit:
            self._confirmed |= unconfirmed
            reader.confirm_absent(unconfirmed)
            return True
        return False


def decisions_due(scope: Scope) -> Sequence[Decision]:
    """What the scope would decide now, without carrying it out."""
    return Planner(scope).plan({}).decisions
