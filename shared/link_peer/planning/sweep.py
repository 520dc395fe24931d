"""What a sweep decides of its accounts: which of their links it answers, which claims their rules may lose, and so
which rules go. Pure.

The scope of an account (`engine.scopes.account`) carries this plan out, phase by phase. A view makes the same plan of
all accounts over what was read, and carries nothing out.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from link_peer.domain.model import Claim, Link, Party, Rule
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.claims import wanted_by_all
from link_peer.planning.decision import Context, DesiredLink, Plan
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import Hold, May, hold_above


class Phase(msgspec.Struct, frozen=True):
    """What a step of a sweep decides."""

    crosses: bool = False  # links with other accounts, too
    closes: bool = True  # nothing opens, and what closes does so whatever tags ask for: they were not read yet
    opens: bool = True  # if not, only removals are carried out
    judges: bool = False  # whether anybody still asks for a rule
    # (account, end of a link): rules that a later delivery reads, so that their links are not judged now
    later: frozenset[tuple[str, Party]] = frozenset()
    by_id: bool = False  # as in Context


WHOLE = Phase(crosses=True, closes=False, judges=True)
"""The last phase: all is read."""


class SweepRemit(msgspec.Struct, frozen=True):
    """What a sweep decides: for which accounts, under which policy, where, when, and in which phase."""

    accounts: Set[str]
    policy: Policy
    region: str
    now: float  # epoch seconds
    phase: Phase = WHOLE
    hidden_asks: bool = False  # as in Context
    postponed: Set[Party] = frozenset()  # instances that this run does not read

    @property
    def context(self) -> Context:
        """Everything that a sweep does is recorded as `repair`."""
        place, actions = (self.policy, self.region, self.now), ("repair", "repair")
        by_id = self.phase.by_id
        return Context(*place, actions, completes_tags_only=True, hidden_asks=self.hidden_asks, by_id=by_id)

    def desired(self, snapshot: Snapshot, claimed: Iterable[tuple[Link, Claim]] = ()) -> list[DesiredLink]:
        """What tags ask for, and the claims of requests that keep their rules. Links of the accounts are answered where
        their ends could be read. In a closing phase, none: tags were not read yet. `claimed` is as in
        `planning.claims.followed`."""
        if self.phase.closes:
            return []
        unread = {*snapshot.refused_accounts, *snapshot.failed_accounts}
        return [
            wish
            if self.answers(wish.link) and unread.isdisjoint(end.account for end in wish.link.parties)
            else msgspec.structs.replace(wish, in_scope=False)
            for wish in wanted_by_all(snapshot, self.policy, self.region, self.now, claimed)
        ]

    def answers(self, link: Link) -> bool:
        """Whether a link is one of the accounts: while no other account is entered, one within them."""
        ends = {link.source.account, link.target.account}
        return not self.accounts.isdisjoint(ends) and (self.phase.crosses or ends <= self.accounts)

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link) -> May:
        """Every claim of the accounts' rules and of the other halves of their mutual links, so that both go together,
        where all that could ask for it is read: what is not is read for it. Of other rules of their links, and while a
        listing is under way, those with an explicit cause; of links between other accounts none, since their other
        halves are not read. What the other end's account did not show decides nothing: see `permitted.no_access`."""
        if self.accounts.isdisjoint((link.source.account, link.target.account)):
            return May.KEEP
        is_own = self.answers(link) and (link.mutual or rule.group.account in self.accounts)
        if not is_own or self.phase.closes or not self.phase.judges or self._is_later(rule.group, link):
            return May.CLOSE
        return May.TAKE if snapshot.covers(link) else May.READ

    def decides(self, link: Link) -> bool:
        """Whether it is decided now if a link stays; what is between other accounts is as their own sweeps find it."""
        is_own = not self.accounts.isdisjoint((link.source.account, link.target.account))
        return not self.phase.closes and (self.answers(link) or not is_own)

    def _is_later(self, group: Party, link: Link) -> bool:
        """Whether this run does not read all that tells whether anybody asks for a link's rule on a group."""
        ends = {*link.parties} - {group}
        return bool(ends & self.postponed or {(group.account, end) for end in ends} & self.phase.later)


def next_sweep(snapshot: Snapshot, policy: Policy, region: str, now: float, hold: Hold | None = None) -> Plan:
    """What the sweeps of all accounts would do at `now` (epoch seconds), as far as what was read tells; without the
    removals beyond the policy's limit, or those that another `hold` holds back. `missing` is what they would read to
    know more."""
    if policy.paused is Pause.ALL:
        return Plan(())
    no_rules = {
        group.party: ()
        for group in snapshot.groups.values()
        if not group.rule_count and group.party not in snapshot.rules
    }
    if no_rules:  # what has none need not be read
        snapshot = msgspec.structs.replace(snapshot, rules={**no_rules, **snapshot.rules})
    # a person's keys may be refused where those of the functions are not: that is no sign that nobody asks
    remit = SweepRemit(policy.accounts.keys(), policy, region, now, hidden_asks=True)
    return make_plan(
        snapshot,
        remit.context,
        remit.desired(snapshot),
        may_lose=lambda rule, link, _claim: remit.may_lose(snapshot, rule, link),
        hold=hold or hold_above(policy.limits.removals_per_run),
    )
