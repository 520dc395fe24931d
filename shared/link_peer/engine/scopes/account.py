"""The scope of one account, in one phase of its sweep: it reads what the plan of `planning.sweep` misses, and says what of that
plan is carried out.

What a sweep reads is in `account_reads`, its steps are in `sweep`.
"""

from __future__ import annotations

from collections.abc import Set

from link_peer.domain.model import Claim, Link, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.engine.write.close import only_closes
from link_peer.engine.write.work import Until, Work
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan
from link_peer.planning.removals import May
from link_peer.planning.sweep import Phase, SweepRemit

CLOSING_REST = 0.5  # of the time that is left when wishes were read; what remains is for opening


class AccountScope(Scope):
    """One account: its own groups and rules, and the wishes of its own instances."""

    def __init__(
        self,
        work: Work,
        account: str,
        started: float,
        phase: Phase,
        *,
        until: Until | None = None,
        refused_keys: Set[RuleKey] = frozenset(),
        believe_empty: Set[str] = frozenset(),
    ) -> None:
        """Closing stops at `until`; by default when half of the time that is left has passed. `refused_keys` are rules whose change
        was refused before; `believe_empty` are accounts that a person has confirmed to hold no instances."""
        super().__init__(work)
        self.account = account
        self.started = started
        self.phase = phase
        self._until = until
        self._refused_keys = refused_keys
        self._believe_empty = believe_empty

    @property
    def remit(self) -> SweepRemit:
        """What is decided now."""
        accounts, region = frozenset({self.account}), self.delivery.region
        hidden_asks, postponed = bool(self.delivery.caller), self.fetch.postponed
        return SweepRemit(accounts, self.policy, region, self.started, self.phase, hidden_asks, postponed)

    @property
    def context(self) -> Context:
        """That of every sweep."""
        return self.remit.context

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What tags ask for, and the claims of requests that keep their rules."""
        return self.remit.desired(snapshot, self.work.writes.taken_claims)

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """As the sweep's remit says, whatever the claim."""
        return self.remit.may_lose(snapshot, rule, link)

    def doubtful(self, plan: Plan) -> Set[str]:
        """Those that do not show something which is due for that alone; a person may have said that one is empty."""
        return {unseen.account for unseen in plan.due} - self._believe_empty

    def closing_until(self) -> Until:
        """As long as the phase says; else half of the time that is left is kept for opening."""
        if self._until:
            return self._until
        now = self.delivery.clock.now()
        end = now + (self.delivery.retry.deadline - now) * CLOSING_REST
        return Until(end, end)

    def select(self, plan: Plan) -> list[Decision]:
        """Changes. Wishes that stay denied are counted in the summary, not recorded at every run."""
        snapshot = self.store.snapshot()
        selected = [
            decision
            for decision in plan.decisions
            if decision.edits or decision.missing_managed_tag or decision.outcome == "removed"
            if not self._refused_before(decision)
            if self.phase.opens or (only_closes(decision) and not decision.denial.moved)
            # before all that may ask for a link is read, whether its group keeps the rule is not known
            if not decision.missing_managed_tag or self.remit.decides(decision.link)
            # a rule cannot be called missing on a group whose rules were not read this time
            if all(edit.key.group in snapshot.rules for edit in decision.edits if edit.kind == "add")
        ]
        edited_keys = {edit.key for decision in selected for edit in decision.edits}
        # what the change of another decision removes is recorded with that one
        return [d for d in selected if d.edits or d.missing_managed_tag or {r.key for r in d.rules} <= edited_keys]

    def _refused_before(self, decision: Decision) -> bool:
        """Whether a change that the decision needs was refused for good in this run, and recorded then."""
        keys = {edit.key for edit in decision.edits}
        if decision.outcome == "removed":
            keys |= {rule.key for rule in decision.rules if rule.key}
        return bool(keys & self._refused_keys)
