"""The scope of one account, in one phase of its sweep: which of its links are answered, and which claims its rules may lose.

What a sweep reads is in `account_reads`, its steps are in `sweep`.
"""

from __future__ import annotations

from collections.abc import Set

import msgspec

from link_peer.domain.model import Claim, Link, Party, Rule, RuleKey
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope
from link_peer.engine.write.close import only_closes
from link_peer.engine.write.work import Until, Work
from link_peer.planning.claims import wanted_by_all
from link_peer.planning.decision import Context, Decision, DesiredLink, Missing, Plan
from link_peer.planning.removals import May

CLOSING_REST = 0.5  # of the time that is left when wishes were read; what remains is for opening


class Phase(msgspec.Struct, frozen=True):
    """What is decided now. `crosses`: links with other accounts are, too. `opens`: else only removals are carried out. `closes`: wishes
    are not read yet, so that nothing is opened, and closing stops at `until`; else it stops when half of the time that is left has passed. `judges`: whether anybody asks for a rule is judged, but for links of the `later` ends
    of rules on groups of an account, which are not read in this run. `refused` are rules whose change was refused before;
    `believe_empty` are accounts that a person has confirmed to hold no instances."""

    crosses: bool = False
    closes: bool = True
    opens: bool = True
    judges: bool = False
    until: Until | None = None
    later: frozenset[tuple[str, Party]] = frozenset()
    refused: frozenset[RuleKey] = frozenset()
    believe_empty: frozenset[str] = frozenset()


class AccountScope(Scope):
    """One account: its own groups and rules, and the wishes of its own instances."""

    def __init__(self, work: Work, account: str, started: float, phase: Phase) -> None:
        super().__init__(work)
        self.account = account
        self.started = started
        self.phase = phase

    @property
    def context(self) -> Context:
        """Everything that a sweep does is recorded as `repair`."""
        actions = ("repair", "repair")
        hidden = bool(self.delivery.caller)
        return Context(
            self.policy, self.delivery.region, self.started, actions, completes_tags_only=True, hidden_asks=hidden
        )

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What tags ask for, and the claims of requests that keep their rules; answered are the links of the account whose ends
        could be read. While closing: nothing is read yet."""
        if self.phase.closes:
            return []
        wishes = wanted_by_all(snapshot, self.policy, self.delivery.region, self.started, self.work.writes.taken_claims)
        unread = {*snapshot.refused_accounts, *snapshot.failed_accounts}
        return [
            wish
            if self._answers(wish.link) and unread.isdisjoint(end.account for end in wish.link.parties)
            else msgspec.structs.replace(wish, in_scope=False)
            for wish in wishes
        ]

    def _answers(self, link: Link) -> bool:
        """Whether a link is one of the account: while no other account is entered, one within it."""
        accounts = {link.source.account, link.target.account}
        return self.account in accounts and (self.phase.crosses or len(accounts) == 1)

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Every claim of the account's rules and of the other halves of its mutual links, so that both go together, where all that
        could ask for it is read: what is not is read for it. Of other rules of its links, and while a listing is under way, those
        with an explicit cause; of links between other accounts none, since their other halves are not read. What the other end's
        account did not show decides nothing: see `permitted.no_access`."""
        if self.account not in (link.source.account, link.target.account):
            return May.KEEP
        is_own = self._answers(link) and (link.mutual or rule.group.account == self.account)
        if not is_own or self.phase.closes or not self.phase.judges or self._is_later(rule.group, link):
            return May.CLOSE
        return May.TAKE if snapshot.covers(link) else May.READ

    def _is_later(self, group: Party, link: Link) -> bool:
        """Whether this run does not read all that tells whether anybody asks for a link's rule on a group."""
        ends = {*link.parties} - {group}
        return bool(ends & self.fetch.postponed or {(group.account, end) for end in ends} & self.phase.later)

    def doubtful(self, plan: Plan) -> Set[str]:
        """Those that do not show something which is due for that alone; a person may have said that one is empty."""
        return {unseen.account for unseen in plan.due} - self.phase.believe_empty

    def closing_until(self) -> Until:
        """As long as the phase says; else half of the time that is left is kept for opening."""
        if self.phase.until:
            return self.phase.until
        now = self.delivery.clock.now()
        end = now + (self.delivery.retry.deadline - now) * CLOSING_REST
        return Until(end, end)

    def affordable(self, missing: Missing) -> Missing:
        """While no other account is entered, what can be read in this one."""
        if self.phase.crosses:
            return missing
        account = {self.account}
        return Missing(
            frozenset(link for link in missing.unread if {end.account for end in link.parties} == account),
            frozenset(question for question in missing.questions if question.account in account),
            missing.doubted_accounts & account,
            missing.unconfirmed,
        )

    def select(self, plan: Plan) -> list[Decision]:
        """Changes. Wishes that stay denied are counted in the summary, not recorded at every run."""
        snapshot = self.store.snapshot()
        return [
            decision
            for decision in plan.decisions
            if decision.edits or decision.missing_managed_tag or decision.outcome == "removed"
            if not self._refused_before(decision)
            if self.phase.opens or only_closes(decision)
            # before all that may ask for a link is read, whether its group keeps the rule is not known
            if not decision.missing_managed_tag or self._decides(decision.link)
            # a rule cannot be called missing on a group whose rules were not read this time
            if all(edit.key.group in snapshot.rules for edit in decision.edits if edit.kind == "add")
        ]

    def _decides(self, link: Link) -> bool:
        """Whether it is decided now if a link stays; what is between other accounts is as their own sweeps find it."""
        is_own = self.account in (link.source.account, link.target.account)
        return not self.phase.closes and (self._answers(link) or not is_own)

    def _refused_before(self, decision: Decision) -> bool:
        """Whether a change that the decision needs was refused for good in this run, and recorded then."""
        keys = {edit.key for edit in decision.edits}
        if decision.outcome == "removed":
            keys |= {rule.key for rule in decision.rules if rule.key}
        return bool(keys & self.phase.refused)
