"""Which rules the next sweep removes, and why: from the same plan, under the same guard. Pure.

A short sweep removes what is locked, has ended or has lost its consent or permission; what nobody asks for any more, only a full
one. Where tools took the managed tag off a group, the sweep that reads it comes within a day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from link_peer.domain import marker as markers
from link_peer.domain.model import Claim, Link, Party, Rule
from link_peer.domain.policy import Pause, Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.claims import wanted_by_all
from link_peer.planning.decision import NOTHING_MISSING, Context, DesiredLink, Missing, Plan, all_missing
from link_peer.planning.plan import make_plan
from link_peer.planning.removals import May, MayLose, hold_above
from link_peer.planning.rota import runs_between

_FULL = "; gone at the account's next full sweep"


class RemovalForecast(msgspec.Struct, frozen=True):
    """`causes` says of each rule that goes (by its group and id) what closes it; `missing` is what would have to be
    read to know of more. In `doubted` accounts nothing is removed because it is not asked for, since they show no
    instances. Where removals are `counted`, whether they are too many is known once all rules were read."""

    causes: Mapping[tuple[Party, str], str] = {}
    missing: Missing = NOTHING_MISSING
    counted: bool = False

    @property
    def doubted(self) -> frozenset[str]:
        """The accounts that show no instances: nothing goes because nobody there asks for it."""
        return self.missing.doubted_accounts


def closing(snapshot: Snapshot, policy: Policy, region: str, now: float) -> RemovalForecast:
    """What a sweep at `now` (epoch seconds) removes, as far as what was read tells: first what needs no look at wishes."""
    if policy.paused is Pause.ALL:
        return RemovalForecast()
    no_rules: Mapping[Party, tuple[Rule, ...]] = {
        group.party: () for group in snapshot.groups.values() if not group.may_have_rules
    }
    snapshot = msgspec.structs.replace(snapshot, rules={**no_rules, **snapshot.rules})  # what has none need not be read
    # a person's keys may be refused where those of the functions are not: that is no sign that nobody asks
    context = Context(policy, region, now, ("repair", "repair"), completes_tags_only=True, hidden_asks=True)
    first = _plan(snapshot, context, [], lambda _rule, _link, _claim: May.CLOSE)
    rule_after = _after(snapshot, context, first)

    def may_lose(rule: Rule, link: Link, _claim: Claim) -> May:
        return May.TAKE if rule.group.account in rule_after.whole_accounts or rule_after.covers(link) else May.CLOSE

    second = _plan(rule_after, context, wanted_by_all(rule_after, policy, region, now), may_lose)
    full = _FULL if runs_between(len(policy.accounts)) > 1 else ""
    reasons = {
        (edit.rule.group, edit.rule.id): decision.denial.detail + when
        for plan, when in ((first, ""), (second, full))
        for decision in plan.decisions
        for edit in decision.edits
        if edit.rule and edit.kind == "remove"
    }
    return RemovalForecast(reasons, all_missing([first.missing, second.missing]), bool(second.due))


def sweep_of(reason: str) -> str:
    """Which sweep removes what is closing for this reason."""
    return "next full sweep" if reason.endswith(_FULL) else "next sweep"


def _plan(snapshot: Snapshot, context: Context, links: Sequence[DesiredLink], may_lose: MayLose) -> Plan:
    """The plan without the removals that are too many."""
    hold = hold_above(context.policy.limits.removals_per_run)
    return make_plan(snapshot, context, links, may_lose=may_lose, hold=hold)


def _after(snapshot: Snapshot, context: Context, plan: Plan) -> Snapshot:
    """What the rules are once a plan that opens nothing is carried out."""
    edits = {
        (edit.rule.group, edit.rule.id): edit for decision in plan.decisions for edit in decision.edits if edit.rule
    }
    if not edits:
        return snapshot

    def left(rule: Rule) -> Rule | None:
        edit = edits.get((rule.group, rule.id))
        if edit is None:
            return rule
        marker = markers.render(edit.marker(context.policy, context.region))
        return msgspec.structs.replace(rule, description=marker) if edit.claims else None

    rules = {group: tuple(filter(None, map(left, group_rules))) for group, group_rules in snapshot.rules.items()}
    return msgspec.structs.replace(snapshot, rules=rules)
