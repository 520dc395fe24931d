"""The reconcile loop, written once: read → plan → apply until nothing is left.

An event, a request and the timer differ only by their Scope: what they read first, which links are desired there, and
which claims they may take.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set

import msgspec

from link_peer.domain.denials import Waits
from link_peer.domain.model import Claim, Instance, Link, Party, Rule, RuleKey
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.read.fetch import Fetch, MissingReader
from link_peer.engine.read.store import Store
from link_peer.engine.write.apply import Applier, held_records
from link_peer.engine.write.removal_guard import HoldingGuard, RemovalGuard
from link_peer.engine.write.work import UNLIMITED, PlanTotals, Report, Until, Work
from link_peer.planning.claims import links_from_tags
from link_peer.planning.decision import Context, Decision, DesiredLink, Missing, Plan, Refusal
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May
from link_peer.planning.verdict.single_link import permitted
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery

PASSES = 3
"""A pass that was refused a link is followed by one that rolls it back."""


class Scope(ABC):
    """What one trigger reconciles. `started` is when the delivery began to read (epoch seconds)."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.started = work.delivery.clock.now()
        self.forbidden: frozenset[RuleKey] = frozenset()
        """Rules that stand against the word of a group that was read: they are closed whoever asks, whatever else is
        done."""

    @property
    def delivery(self) -> Delivery:
        """The delivery that this is part of."""
        return self.work.delivery

    @property
    def policy(self) -> Policy:
        """The policy of the delivery, as it was last read."""
        return self.work.delivery.policy

    def renew_policy(self) -> None:
        """Judges by the current policy file from here on, unless everything is paused: what the file forbids by now is
        closed before anything is opened."""
        if self.policy.paused is not Pause.ALL:
            delivery = msgspec.structs.replace(self.delivery, policy=self.delivery.current_policy())
            self.work = msgspec.structs.replace(self.work, delivery=delivery)

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
        """Under which policy, when, and with which actions in its records this scope plans; of an unlink, why it
        removes claims."""

    @abstractmethod
    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """The links that tags and requests ask for, as far as this scope looks. It answers for those with
        `in_scope`."""

    @abstractmethod
    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """How far this delivery may take a claim from a rule of ours, which is the link's."""

    def select(self, plan: Plan) -> Sequence[Decision]:
        """The decisions of a plan that are carried out and recorded now: all of them, unless a scope leaves some
        out."""
        return plan.decisions

    def affordable(self, missing: Missing) -> Missing:
        """What is read of all that a plan misses. What is left out stays undecided."""
        return missing

    def doubtful(self, _plan: Plan) -> Set[str]:
        """The accounts that must show an instance in one more read before the plan may remove what they do not show.
        Only a sweep has any: an event or a request looks at few parties, each by its id."""
        return frozenset()

    def holds_unseen(self) -> bool:
        """Whether removals whose only cause is that something is not shown wait for another delivery."""
        return False

    @property
    def remembered_by(self) -> Hashable | None:
        """The key under which a snapshot remembers a first plan that holds nothing back: everything else that it
        depends on. None: each plan is made anew."""
        return None

    def closing_until(self) -> Until:
        """How long it closes: without a limit, but in a sweep."""
        return UNLIMITED

    def wishes(self, snapshot: Snapshot, instances: Iterable[Instance]) -> list[DesiredLink]:
        """The links that the tags of these instances ask for."""
        policy, now = self.policy, self.started
        return [desired for i in instances if i.tags for desired in links_from_tags(snapshot, i, now, policy)]

    def needed_groups(self, snapshot: Snapshot, links: Iterable[Link]) -> set[Party]:
        """The groups that hold the rules of these links, or would; of links between instances, any of their groups."""
        groups: set[Party] = set()
        for link in links:
            groups |= {need.key.group for need in permitted(snapshot, self.policy, link, self.started).needs}
            if not link.source.is_group:
                holders = [link.target, *([link.source] if link.mutual else [])]
                groups |= {group for holder in holders for group in snapshot.groups_with(holder)}
        return groups


def converge(scope: Scope, guard: RemovalGuard, is_extended: Callable[[Plan], bool] = lambda _: False) -> Report:
    """Brings the rules in scope to what is desired. Before anything is written, the first plan is made again while
    `is_extended` says that its reads showed further rules to forbid. `Report.pending` has transient errors for which
    the work must be done again. Raises Transient where nothing could be read, or the audit log could not be written."""
    scope.renew_policy()
    applier = Applier(scope.work, guard)
    planner = Planner(scope, guard)
    total = Report()
    focus: set[Link] | None = None
    for _ in range(PASSES):
        plan = planner.plan(total.refused, focus)
        while focus is None and is_extended(plan):
            plan = planner.plan(total.refused, focus)
        decisions = scope.select(plan)
        report = applier.apply(decisions, scope.closing_until())
        report = msgspec.structs.replace(
            report, held_removals=dict(plan.held_removals), planned=_planned(plan, decisions)
        )
        total += report
        scope.forbidden = frozenset()  # what was refused is not tried twice
        freed = _waiting_for_an_address(plan) if report.removed else set()
        if not report.refused and not freed:
            break
        focus = total.refused.keys() | freed
    return total + applier.finish()


def _planned(plan: Plan, decisions: Sequence[Decision]) -> PlanTotals:
    """What a plan came to, with the decisions that are carried out."""
    wishes = (decision for decision in plan.decisions if decision.outcome in ("denied", "failed") and decision.instance)
    denied = {(wish.link, wish.raw): wish for wish in wishes if not (wish.edits or wish.missing_managed_tag)}
    due = frozenset(key.group for keys in plan.due.values() for key in keys)
    return PlanTotals(tuple(decisions), denied, due, plan.missing.doubted_accounts)


def _waiting_for_an_address(plan: Plan) -> set[Link]:
    """The links that were denied, in whole or in part, because another instance held their rule or its room, which may
    be free by now."""
    return {d.link for d in plan.decisions if d.denial.waits is Waits.FOR_A_RULE}


def report_held(scope: Scope, report: Report, guard: RemovalGuard) -> None:
    """Records the removals that the guard holds back, once per delivery."""
    fresh = {unseen: count for unseen, count in report.held_removals.items() if unseen not in guard.reported}
    scope.audit.write(held_records(fresh, guard.limit))
    guard.reported |= fresh.keys()


class Planner:
    """Plans for one scope, and reads what a plan says is missing until it misses nothing."""

    def __init__(self, scope: Scope, guard: RemovalGuard) -> None:
        self._scope = scope
        self._guard = guard
        self._missing = MissingReader(scope.fetch)

    def plan(self, refused: Mapping[Link, Refusal], focus: Set[Link] | None = None) -> Plan:
        """The plan for what can be read now. After the first pass, only the links in `focus` are answered again."""
        while True:
            snapshot = self._scope.store.snapshot()
            plan = self._planned(snapshot, refused, focus)
            if self._missing.read(self._scope.affordable(plan.missing), snapshot):
                continue
            if not self._missing.emptied(self._scope.doubtful(plan)):
                return plan

    def _planned(self, snapshot: Snapshot, refused: Mapping[Link, Refusal], focus: Set[Link] | None) -> Plan:
        """The plan without the removals that the guard holds back: it is asked about those that are due."""
        scope = self._scope
        links, may_lose = scope.desired(snapshot), functools.partial(_may_lose, scope, snapshot)
        memory = snapshot.memory(scope.policy)
        question = None if refused or focus is not None else scope.remembered_by
        if question is not None and ("plan", question) in memory:
            remembered: Plan = memory["plan", question]
            return remembered
        hold = (HoldingGuard(self._guard.limit) if scope.holds_unseen() else self._guard).excess
        plan = make_plan(snapshot, scope.context, links, may_lose=may_lose, focus=focus, hold=hold, refused=refused)
        if question is not None and not plan.due:
            memory["plan", question] = plan
        return plan


def _may_lose(scope: Scope, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
    may = scope.may_lose(snapshot, rule, link, claim)
    return May.BESIDE if may is May.KEEP and rule.key in scope.forbidden else may


def plan_only(scope: Scope, guard: RemovalGuard) -> Plan:
    """What the scope would decide now, without carrying it out."""
    return Planner(scope, guard).plan({})
