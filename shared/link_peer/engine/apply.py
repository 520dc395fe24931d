"""From plan to rules: intent, change, read back, outcome.

intents durable ─▶ per link: managed tag ─▶ rules of the target's group ─▶ rules of the source's group
                ─▶ outcomes
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from link_peer.domain.denial import EXPIRED_MEANWHILE, PAUSED, Denial, LinkDenied, removals_held
from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Party, Rule, RuleKey
from link_peer.domain.tags import managed_tag
from link_peer.engine.reader import Reader
from link_peer.engine.records import decision_record, why_fields
from link_peer.engine.settle import Requests, Settler
from link_peer.planning import unlink_guard
from link_peer.planning.decision import Decision, Edit, Refusal
from link_peer.planning.evaluate import evaluate
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

CONSENT_SECONDS = 30  # consent that was read longer ago is read again before a rule is written

OUTCOMES_PER_WRITE = 200  # written as they come, so that a run which dies has recorded most of them


class Report(msgspec.Struct):
    """What came of a plan. `refused` links must be rolled back; `pending` is trouble of the moment for which the delivery
    must be redelivered, recorded as attempts already."""

    changed: int = 0
    removed: int = 0
    held: int = 0
    refused: dict[Link, Refusal] = {}
    pending: list[Transient] = []

    def add(self, other: Report) -> None:
        """Adds a later pass. What is held is planned again in every pass, so it counts once."""
        self.changed += other.changed
        self.removed += other.removed
        self.held = max(self.held, other.held)
        self.refused |= other.refused
        self.pending += other.pending


class _Partial(msgspec.Struct, frozen=True):
    """A decision that was refused half-way: its outcome is recorded once what it wrote is rolled back."""

    decision: Decision
    requests: Requests


class Applier:
    """Carries out the decisions of one delivery."""

    def __init__(
        self, reader: Reader, delivery: Delivery, audit: AuditWriter, guard: RemovalGuard, since: float
    ) -> None:
        """`since` is when reading began (epoch seconds)."""
        self._reader = reader
        self._delivery = delivery
        self._policy = delivery.policy
        self._region = delivery.region
        self._audit = audit
        self._guard = guard
        self._since = since
        self._settler = Settler(reader, delivery.policy, delivery.region, delivery.retry)
        self._tag = managed_tag(delivery.policy.deployment)
        self._partial: dict[Link, _Partial] = {}
        self._failed_keys: set[RuleKey] = set()  # rules whose change was refused, or met trouble, in this pass
        self._consent_read: dict[Party, float] = {}

    def apply(self, decisions: Sequence[Decision]) -> Report:
        """Intents, changes, outcomes. Raises Transient if the audit log cannot be written; other trouble is reported."""
        report = Report()
        decisions = self._admitted(decisions, report)
        if self._policy.paused:
            decisions = [paused(decision) for decision in decisions]
        changing = [d for d in decisions if d.edits or d.missing_managed_tag]
        self._audit.write([decision_record(d, self._region, "intent") for d in changing])
        decisions = sorted(decisions, key=_order)
        snapshot = self._reader.snapshot()  # before anything is changed
        seen = [unlink_guard.seen_elsewhere(snapshot, self._policy, self._region, d) for d in decisions]
        earlier, self._partial = self._partial, {}
        self._failed_keys = set()
        outcomes: list[Record] = []
        for decision, where in zip(decisions, seen, strict=True):
            partial = earlier.pop(decision.link, None)
            outcomes += self._carry_out(decision, report, where, list(partial.requests) if partial else [])
            if len(outcomes) >= OUTCOMES_PER_WRITE:
                self._audit.write(outcomes)
                outcomes = []
        outcomes += [self._outcome(partial.decision, partial.requests) for partial in earlier.values()]
        self._audit.write(outcomes)
        return report

    def finish(self) -> None:
        """Records the links that were refused in the last pass, too."""
        partial, self._partial = self._partial, {}
        self._audit.write([self._outcome(one.decision, one.requests) for one in partial.values()])

    def _admitted(self, decisions: Sequence[Decision], report: Report) -> list[Decision]:
        admitted = self._guard.admit(decisions)
        report.held = admitted.held
        if admitted.held and not self._guard.reported:
            self._audit.write([held_record(admitted.due, self._policy.limits.removals_per_run)])
            self._guard.reported = True
        return admitted.decisions

    def _carry_out(
        self, decision: Decision, report: Report, seen: unlink_guard.Seen, requests: Requests
    ) -> list[Record]:
        rules: dict[RuleKey, Rule] = {rule.key: rule for rule in decision.rules if rule.key}
        if decision.outcome == "removed" and not decision.edits and rules.keys() & self._failed_keys:
            return []  # the shared edit failed, so do not report this removal
        try:
            self._write(decision, requests, rules)
            decision = self._unless_unlinked(decision, seen, requests, rules)
        except LinkDenied as refused:
            self._failed_keys |= {edit.key for edit in decision.edits}
            answer = decision.refused(refused.denial)
            if decision.outcome == "applied":
                self._roll_back_later(decision, answer, report, requests)
                return []
            return [self._outcome(answer, requests, rules.values())]
        except Transient as trouble:
            report.pending.append(trouble)
            self._failed_keys |= {edit.key for edit in decision.edits}
            attempt = msgspec.structs.replace(decision, why=msgspec.structs.replace(decision.why, detail=str(trouble)))
            return [decision_record(attempt, self._region, "attempt", rules=rules.values(), api_requests=requests)]
        report.changed += len(decision.edits)
        report.removed += decision.removals
        self._guard.made(decision)
        return [self._outcome(decision, requests, rules.values())]

    def _write(self, decision: Decision, requests: Requests, rules: dict[RuleKey, Rule]) -> None:
        def before_write(batch: Sequence[Edit]) -> None:
            self._in_time(batch)
            if any(edit.gain for edit in batch):
                self._still_consented(decision)

        for group, edits in _by_group(decision):
            self._in_time(edits)
            if group in decision.missing_managed_tag:
                self._settler.tag(group, self._tag, requests)
            settled = self._settler.settle(group, edits, before_write, requests)
            rules.update(settled)
            known = {edit.rule.id for edit in edits if edit.rule}
            if any(rule.id not in known for rule in settled.values()):
                # a sweep that found the group empty a moment ago may have removed the tag since
                self._settler.read_tags(group)
                self._settler.tag(group, self._tag, requests)

    def _roll_back_later(self, decision: Decision, answer: Decision, report: Report, requests: Requests) -> None:
        """The outcome is recorded once the next pass has rolled back what was written."""
        written = frozenset((edit.key, claim) for edit in decision.edits for claim in edit.gain)
        if earlier := report.refused.get(decision.link):
            written |= earlier.partial
        report.refused[decision.link] = Refusal(answer.why, written)
        self._partial[decision.link] = _Partial(answer, requests)

    def _in_time(self, edits: Sequence[Edit]) -> None:
        now = self._delivery.clock.now()
        if now >= self._delivery.retry.deadline:
            raise Transient("the function's time is nearly over")
        if any(claim.until is not None and claim.until <= now for edit in edits for claim in edit.gain):
            raise LinkDenied(EXPIRED_MEANWHILE)

    def _still_consented(self, decision: Decision) -> None:
        """Raises LinkDenied where consent was read a while ago and has been withdrawn since."""
        if decision.outcome != "applied" or decision.verdict is None:
            return
        now = self._delivery.clock.now()
        groups = {need.key.group for need in decision.verdict.needs}
        old = [group for group in sorted(groups) if now - self._consent_read.get(group, self._since) > CONSENT_SECONDS]
        for group in old:
            self._settler.read_tags(group)
            self._consent_read[group] = now
        denial = evaluate(self._reader.snapshot(), self._policy, decision.link).denial if old else None
        if denial:
            raise LinkDenied(denial)

    def _unless_unlinked(
        self, decision: Decision, seen: unlink_guard.Seen, requests: Requests, rules: dict[RuleKey, Rule]
    ) -> Decision:
        """A request's claim that disappeared where it was read, while it was written here, is removed here too."""
        for group in sorted(unlink_guard.groups(seen)):
            self._settler.read(group)
        lost = unlink_guard.vanished(self._reader.snapshot(), self._policy, self._region, seen) if seen else frozenset()
        back = tuple(
            Edit(edit.key, lose=lost & edit.gain, ends=edit.ends, rule=rules[edit.key])
            for edit in decision.edits
            if lost & edit.gain and edit.key in rules
        )
        if not back:
            return decision
        undone = msgspec.structs.replace(decision, edits=back, missing_managed_tag=())
        self._audit.write([decision_record(undone, self._region, "intent")])
        for group, edits in _by_group(undone):
            settled = self._settler.settle(group, edits, self._in_time, requests)
            for edit in edits:
                rules.pop(edit.key)
            rules.update(settled)
        why = Denial(decision.why.code, "an unlink removed it meanwhile, so what was written is removed too")
        return msgspec.structs.replace(decision, outcome="unchanged", why=why)

    def _outcome(self, decision: Decision, requests: Requests, rules: Iterable[Rule] = ()) -> Record:
        return decision_record(decision, self._region, "outcome", rules=rules, api_requests=requests)


def held_record(due: int, limit: int) -> Record:
    """The summary of so many removals that are held back."""
    return {"record": "summary", "outcome": "failed", **why_fields(removals_held(due, limit))}


def _by_group(decision: Decision) -> list[tuple[Party, list[Edit]]]:
    """The target's side first: it is the one that may refuse. Groups that only lack their tag come last."""
    groups: dict[Party, list[Edit]] = {}
    for edit in decision.edits:
        groups.setdefault(edit.key.group, []).append(edit)
    for group in decision.missing_managed_tag:
        groups.setdefault(group, [])
    return list(groups.items())


def _order(decision: Decision) -> int:
    """Additions before removals, unless a quota makes an addition wait for what is removed."""
    if decision.outcome == "removed" and not decision.edits:
        return 3  # another decision's change makes it
    if decision.removes_first:
        return 2
    return 1 if decision.outcome == "removed" else 0


def paused(decision: Decision) -> Decision:
    """The decision while the policy pauses link-peer: nothing is changed."""
    if decision.edits:
        decision = msgspec.structs.replace(decision.refused(PAUSED), edits=())
    return msgspec.structs.replace(decision, missing_managed_tag=())
