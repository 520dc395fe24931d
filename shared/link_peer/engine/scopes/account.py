"""The scope of one account, in one phase of its sweep: it reads what the plan of `planning.sweep` misses, and says what
of that plan is carried out.

What a sweep reads is in `account_reads`, its steps are in `sweep`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Set

import msgspec

from link_peer.domain.grouped import grouped
from link_peer.domain.model import Claim, Link, Party, Ports, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.engine.scopes.account_reads import GOLDEN
from link_peer.engine.write.close import only_closes
from link_peer.engine.write.work import Until, Work
from link_peer.planning.actual import owned_links
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan
from link_peer.planning.removals import May
from link_peer.planning.sweep import Phase, SweepRemit
from link_peer.planning.verdict.single_link import permitted

CLOSING_REST = 0.5  # of the time that is left when wishes were read; what remains is for opening


Pair = tuple[Party, Party]


class AccountScope(Scope):
    """One account: its own groups and rules, and the wishes of its own instances. `late` are the pairs of which the
    last plan leaves everything as it is, since there was no time to judge them, each with whether a rule that it asks
    for is missing."""

    def __init__(
        self,
        work: Work,
        account: str,
        started: float,
        phase: Phase,
        *,
        until: Until | None = None,
        judges_until: float = math.inf,
        refused_keys: Set[RuleKey] = frozenset(),
        believe_empty: Set[str] = frozenset(),
    ) -> None:
        """Closing stops at `until`; by default when half of the time that is left has passed. After `judges_until`, no
        further links are judged. `refused_keys` are rules whose change was refused before; `believe_empty` are accounts
        that a person has confirmed to hold no instances."""
        super().__init__(work)
        self.account = account
        self.started = started
        self.phase = phase
        self.late: Mapping[Pair, bool] = {}
        self._until = until
        self._judges_until = judges_until
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

    @property
    def plan_key(self) -> Hashable:
        """Everything that a plan depends on besides the snapshot, while no pair is late. Whether links are opened only
        decides which decisions are carried out."""
        postponed, taken_claims = frozenset(self.fetch.postponed), frozenset(self.work.writes.taken_claims)
        phase = msgspec.structs.replace(self.phase, opens=True)
        return self.account, self.started, phase, bool(self.delivery.caller), postponed, taken_claims

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What tags ask for, and the claims of requests that keep their rules, as far as there is time to judge it."""
        memory, question = snapshot.memory(self.policy), ("desired", self.plan_key)
        if question in memory and self.delivery.clock.now() < self._judges_until:
            self.late = {}
            remembered: list[DesiredLink] = memory[question]
            return remembered
        wishes = self.remit.desired(snapshot, self.work.writes.taken_claims)
        standing = [link for link, *_ in owned_links(snapshot, self.policy, self.delivery.region)]
        wished = list(dict.fromkeys(wish.link for wish in wishes if not wish.same_group))
        first = int(self.started // 60 * GOLDEN % 1 * len(wished))  # so that no wish is always the last
        wished = wished[first:] + wished[:first]
        ports = grouped((pair_of(link), link.ports) for link in standing)
        unopened = [link for link in wished if not {*_ports_of_rules(link)} <= {*ports.get(pair_of(link), ())}]
        missing = [link for link in unopened if link.holder in snapshot.rules]
        pairs = {pair_of(link) for link in wished}
        unasked = [link for link in standing if pair_of(link) not in pairs]
        late = self._late(snapshot, list(dict.fromkeys([*missing, *unopened, *unasked, *wished])))
        unopened_pairs = {pair_of(link) for link in unopened}
        self.late = {pair: pair in unopened_pairs for pair in late}
        if not late:
            memory[question] = wishes
            return wishes
        return [wish for wish in wishes if pair_of(wish.link) not in late]

    def _late(self, snapshot: Snapshot, links: list[Link]) -> frozenset[Pair]:
        """Judges links, whose verdicts the snapshot remembers, until the time is over; but always the first, so that
        every delivery makes progress. Returns the pairs of the others."""
        for number, link in enumerate(links):
            if number and self.delivery.clock.now() >= self._judges_until:
                return frozenset(map(pair_of, links[number:])) - frozenset(map(pair_of, links[:number]))
            permitted(snapshot, self.policy, link, self.started)
        return frozenset()

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """As the sweep's remit says, except for late pairs, and for the rule of an address that a late wish of another
        group of its instance may ask for."""
        may = self.remit.may_lose(snapshot, rule, link)
        if not self.late or may is May.KEEP:
            return may
        if pair_of(link) in self.late:
            return May.KEEP
        return May.CLOSE if link.member else may

    def holds_unseen(self) -> bool:
        """Where some pairs are late: not all is known that the guard counts."""
        return bool(self.late)

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

    @property
    def remembered_by(self) -> Hashable | None:
        """The steps of a sweep plan the same again while nothing more is read."""
        return None if self.late or self.forbidden else self.plan_key

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


def _ports_of_rules(link: Link) -> list[Ports]:
    """The ports of the link of each of its rules."""
    return [(port,) for port in link.ports] or [()]


def pair_of(link: Link) -> Pair:
    """What is late together: all links of two parties, either way."""
    return min(link.source, link.target), max(link.source, link.target)
