"""The reconcile loop, written once: read → plan → apply until nothing is left.

An event, a request and the timer differ only by their Scope: what they read first, which links are desired there, and
which claims they may take.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping

import msgspec

from link_peer.domain.denial import Denial, Waits
from link_peer.domain.model import Claim, Instance, Link, Marker, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.read.store import Store
from link_peer.engine.write.apply import Applier, Report, Work, held_records
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Decision, Plan, Question, Refusal
from link_peer.planning.evaluate import Verdict, evaluate
from link_peer.planning.plan import make_plan
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.planning.removals import May
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery

PASSES = 3
"""A pass that was refused a link is followed by one that rolls it back."""


class Scope(ABC):
    """What one trigger reconciles. `started` is when the delivery began to read (epoch seconds)."""

    withdrawn: Denial | None = None
    """Why claims are taken whatever the verdict: an unlink."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.started = work.delivery.clock.now()

    @property
    def delivery(self) -> Delivery:
        """The delivery that this is part of."""
        return self.work.delivery

    @property
    def policy(self) -> Policy:
        """The policy of the delivery."""
        return self.work.delivery.policy

    @property
    def audit(self) -> AuditWriter:
        """Where this is recorded."""
        return self.work.audit

    @property
    def fetch(self) -> Fetch:
        """What reads."""
        return self.work.fetch

    @property
    def store(self) -> Store:
        """What was read so far."""
        return self.work.fetch.store

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
    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> May:
        """How far this delivery may take a claim from a rule of ours."""

    @abstractmethod
    def select(self, plan: Plan) -> list[Decision]:
        """The decisions of a plan that are carried out and recorded now."""

    def wishes(self, snapshot: Snapshot, instances: Iterable[Instance]) -> list[DesiredLink]:
        """The links that the tags of these instances ask for."""
        policy = self.policy
        return [wanted for i in instances if i.tags for wanted in links_from_tags(snapshot, i, self.started, policy)]

    def evaluate(self, snapshot: Snapshot, link: Link) -> Verdict:
        """Whether a link may exist, by the policy and the time of this delivery."""
        return evaluate(snapshot, self.policy, link, self.started)


def converge(scope: Scope, guard: RemovalGuard) -> Report:
    """Brings the rules in scope to what is desired. `Report.pending` is trouble for which the work must be done again.
    Raises Transient where nothing could be read, or the audit log could not be written."""
    applier = Applier(scope.work, guard)
    planner = Planner(scope, guard)
    total = Report()
    focus: set[Link] | None = None
    for _ in range(PASSES):
        plan = planner.plan(total.refused, focus)
        report = msgspec.structs.replace(applier.apply(scope.select(plan)), held=dict(plan.held))
        total += report
        freed = _waiting_for_an_address(plan) if report.removed else set()
        if not report.refused and not freed:
            break
        focus = total.refused.keys() | freed
    return total + applier.finish()


def _waiting_for_an_address(plan: Plan) -> set[Link]:
    """The links that were denied because another instance held their rule, which may have been removed by now."""
    return {d.link for d in plan.decisions if d.why.waits is Waits.FOR_A_RULE and d.outcome == "denied"}


def report_held(scope: Scope, report: Report, guard: RemovalGuard) -> None:
    """Records the removals that the guard holds back, once per delivery."""
    fresh = {unseen: count for unseen, count in report.held.items() if unseen not in guard.reported}
    scope.audit.write(held_records(fresh, guard.limit))
    guard.reported |= fresh.keys()


class Planner:
    """Plans for one scope, and reads what a plan says is missing until it misses nothing."""

    def __init__(self, scope: Scope, guard: RemovalGuard) -> None:
        self._scope = scope
        self._guard = guard
        self._probed: set[str] = set()
        self._confirmed: set[Party] = set()
        self._asked: set[Question] = set()

    def plan(self, refused: Mapping[Link, Refusal], focus: set[Link] | None = None) -> Plan:
        """The plan for what can be read now. After the first pass, only the links in `focus` are answered again."""
        scope = self._scope
        while True:
            snapshot = scope.store.snapshot()
            plan = make_plan(
                snapshot,
                scope.context,
                scope.desired(snapshot),
                in_focus=lambda wanted: (focus is None or wanted.link in focus) and scope.concerns(wanted),
                may_lose=functools.partial(scope.may_lose, snapshot),
                guard=self._guard,
                refused=refused,
                withdrawn=scope.withdrawn,
            )
            if not self._read_more(plan, snapshot):
                return plan

    def _read_more(self, plan: Plan, snapshot: Snapshot) -> bool:
        """Reads what the plan misses; False when it misses nothing that was not read already."""
        fetch = self._scope.fetch
        if plan.unread:
            fetch.parties({party for link in plan.unread for party in (link.source, link.target)})
            askers = {link.source for link in plan.unread} | {link.target for link in plan.unread if link.mutual}
            fetch.members(party for party in askers if party.is_group)
            if self._scope.store.snapshot() != snapshot:
                return True
        if questions := plan.questions - self._asked:
            self._asked |= questions
            fetch.questions(questions)
            return True
        if unprobed := plan.doubted_accounts - snapshot.whole_accounts - self._probed:
            self._probed |= unprobed
            fetch.probe_liveness(unprobed)
            return True
        if unconfirmed := plan.unconfirmed - self._confirmed:
            self._confirmed |= unconfirmed
            fetch.confirm_absent(unconfirmed)
            return True
        return False


def plan_only(scope: Scope, guard: RemovalGuard) -> Plan:
    """What the scope would decide now, without carrying it out."""
    return Planner(scope, guard).plan({})
