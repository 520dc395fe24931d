"""What a delivery does beside its own work: groups that it has read, and that no longer allow what stands on them, are
closed.

    read what is needed to close what the groups of the wanted links forbid ─▶ converge: one plan closes it, with all else,
      made again where its own reads showed what forbids further rules ─▶ look at what was read back ─▶ close again

A lock or withdrawn consent takes the rules of ours on a group, whatever claims they carry, and with half of a mutual
link the other half. Nothing is read to find such a group: what a delivery reads anyway is judged, by the policy as it
is now.
"""  # noqa: W505

from __future__ import annotations

from collections.abc import Callable, Set

import msgspec

from link_peer.domain.denials import JOINED_NOTHING
from link_peer.domain.errors import Transient
from link_peer.domain.model import Claim, Link, Marker, Party, Rule, RuleKey
from link_peer.domain.policy import Pause
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope, converge
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import Report, Work
from link_peer.planning.actual import OwnedLink, link_of, owned_links, owned_rules
from link_peer.planning.claims import ended_meanwhile
from link_peer.planning.decision import Context, Decision, DesiredLink, Plan, Verdict
from link_peer.planning.removals import May
from link_peer.planning.verdict.acceptance import closed_by_group
from link_peer.planning.verdict.answers import wish_denial
from link_peer.planning.verdict.single_link import may_stand
from link_peer.planning.writing import other_ends
from link_peer.runtime.delivery import Delivery


def converge_and_look(scope: Scope, guard: RemovalGuard) -> Report:
    """Brings the rules in scope to what is desired, and closes, in the same plan, rules that the groups of its links,
    or groups that it changes, no longer allow; again where a lock or a withdrawal was read meanwhile. Raises as
    `converge` does."""
    scope.renew_policy()
    forbidding = Forbidding(scope, groups_wanted)
    forbidding.extended()
    report = converge(scope, guard, forbidding.extended)
    report = Report(pending=forbidding.troubles) + report
    if forbidding.troubles:
        return report  # all of it is done again
    return report + look(scope, guard, groups_wanted(scope) | report.written, report.refused_keys & forbidding.keys)


class Forbidding:
    """What stands against the word of some groups of a scope, and of those that its plan changes, as far as it is read:
    it is closed in the plan that opens."""

    def __init__(self, scope: Scope, groups: Callable[[Scope], Set[Party]], stuck: Set[RuleKey] = frozenset()) -> None:
        """`stuck` are rules whose removal was refused before."""
        self._scope = scope
        self._groups_now = groups
        self._stuck = stuck
        self._judged: tuple[Snapshot, frozenset[Party]] | None = None
        self.keys: frozenset[RuleKey] = frozenset()
        self.troubles: tuple[Transient, ...] = ()

    def extended(self, plan: Plan | None = None) -> bool:
        """Reads what closing needs, and forbids the rules in the scope. Returns whether it forbade further rules: a
        plan reads further groups, so one that was made before must be made again."""
        scope, keys = self._scope, self.keys
        changed = _changed_groups(plan) if plan else frozenset()
        if self._judged and self._judged[0] is scope.store.snapshot() and changed <= self._judged[1]:
            return False
        groups = changed.union(self._groups_now(scope), self._judged[1] if self._judged else ())
        if closing := _closing(scope, groups, self._stuck):
            self.troubles += closing.read_tolerantly()
            self.keys |= closing.keys
            scope.forbidden = self.keys
        self._judged = scope.store.snapshot(), groups
        return self.keys != keys


def _changed_groups(plan: Plan) -> frozenset[Party]:
    """The groups whose rules a plan changes, and both ends of what it removes."""
    removed = (decision.link for decision in plan.decisions if decision.outcome == "removed")
    ends = (end for link in removed for end in (link.source, link.target) if end.is_group)
    return frozenset((*ends, *(edit.key.group for decision in plan.decisions for edit in decision.edits)))


def look(scope: Scope, guard: RemovalGuard, groups: Set[Party], stuck: Set[RuleKey] = frozenset()) -> Report:
    """Closes the rules on these groups that their tags, as last read, or the policy forbid. `stuck` are rules whose
    removal was refused before. `Report.pending` has what met a transient error."""
    scope.renew_policy()
    closing = _closing(scope, groups, stuck)
    if closing is None:
        return Report()
    if scope.delivery.out_of_time():
        return Report(pending=(Transient("the function's time is nearly over"),))
    troubles = closing.read_tolerantly()
    report = converge(closing, guard)
    further_stuck = {*stuck, *report.refused_keys, *(key for key, _ in closing.joined)}
    return report + Report(pending=troubles) + look(scope, guard, report.written - groups, further_stuck)


def _closing(scope: Scope, groups: Set[Party], stuck: Set[RuleKey] = frozenset()) -> ClosingScope | None:
    """The scope of what is to be closed on these groups, by the policy of the delivery; None if there is nothing."""
    if scope.policy.paused is Pause.ALL:
        return None
    snapshot = scope.store.snapshot()
    joined = _joined(scope, snapshot)
    forbidden = _forbidden(snapshot, groups, scope.delivery, stuck) | {
        key.group for key, _ in joined if key not in stuck
    }
    fetch = scope.fetch.tolerant()
    work = msgspec.structs.replace(scope.work, fetch=fetch, expires_at=None, closes=False)
    return ClosingScope(work, forbidden, joined) if forbidden else None


class ClosingScope(Scope):
    """Security groups. What they no longer allow is closed although another account has transient errors, which that
    account's owner can cause, by calls that use up its rate limit."""

    def __init__(self, work: Work, groups: Set[Party], joined: frozenset[tuple[RuleKey, Claim]] = frozenset()) -> None:
        """`joined` are claims of links by address that ended while an instance joined them."""
        super().__init__(work)
        self.groups = groups
        self.joined = joined
        self.peer_groups: frozenset[Party] = frozenset()
        """The groups that hold the other halves of these groups' mutual links, and the other ends of those with two."""
        self._ending: list[Link] = []

    @property
    def context(self) -> Context:
        """All of it is recorded as `repair`."""
        return Context(self.policy, self.delivery.region, self.started, ("repair", "repair"))

    def read(self) -> None:
        """The rules of the groups, the parties of their links, and the rules of the other side of mutual ones that
        end."""
        fetch = self.fetch
        fetch.rules(self.groups)
        links = [link for link, *_ in self.standing(self.store.snapshot())]
        fetch.parties({party for link in links for party in link.parties})
        snapshot = self.store.snapshot()
        self._ending = self._ending_links(snapshot)
        ends = {end for link in self._ending for end in other_ends(snapshot, link)}
        halves = self.needed_groups(snapshot, self._ending) | ends
        self.peer_groups = frozenset(halves - self.groups)
        fetch.rules(halves & snapshot.groups.keys())
        fetch.parties({party for link, *_ in self._other_ends() for party in link.parties})

    def read_tolerantly(self) -> tuple[Transient, ...]:
        """The same; the transient errors of accounts that had none before are recorded."""
        before = self.store.snapshot().failed_accounts
        self.read()
        failed = self.store.snapshot().failed_accounts
        new = {account: problem for account, problem in failed.items() if account not in before}
        self.audit.attempts([(problem, {"action": "repair", "from_account": a}) for a, problem in new.items()])
        return tuple(map(Transient, new.values()))

    @property
    def keys(self) -> frozenset[RuleKey]:
        """The rules of ours on these groups, and the other halves or ends of their links."""
        snapshot = self.store.snapshot()
        owned = ((rule.key, marker) for _, rule, marker in self.standing(snapshot) if rule.key)
        ends = (rule.key for _, rule, _ in self._other_ends() if rule.key)
        return frozenset((*(side for key, marker in owned for side, _ in _sides(key, marker)), *ends))

    def _other_ends(self) -> list[OwnedLink]:
        """The rules of ours of the links that end here, at either end."""
        owned = owned_links(self.store.snapshot(), self.policy, self.delivery.region) if self._ending else []
        return [standing_rule for standing_rule in owned if self._is_other_end(standing_rule[0])]

    def _is_other_end(self, link: Link) -> bool:
        """Whether a rule's link is one of those that end here, or is at the other end of one."""
        return any(
            link.target == ending.target and (link.source == ending.source or not link.target.is_group)
            for ending in self._ending
            if link.ports
        )

    def _ending_links(self, snapshot: Snapshot) -> list[Link]:
        """The links of the groups with two ends that may no longer exist as they are: the other ends close with
        them."""
        context, now = self.context, self.started

        def ends(link: Link, key: RuleKey) -> bool:
            if link.mutual:
                return _denied(may_stand(snapshot, self.policy, link, now))
            return bool(other_ends(snapshot, link) and closed_by_group(snapshot, self.policy, key, link, now))

        return [
            link
            for link, rule, marker in self.standing(snapshot)
            if rule.key and (any(map(context.expired, marker.claims)) or ends(link, rule.key))
        ]

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """Claims that joined a link by address which ended meanwhile: denied, so that they go."""
        return [
            DesiredLink(link, claim, denial=JOINED_NOTHING, opens=False)
            for link, rule, marker in self.standing(snapshot)
            for claim in marker.claims
            if (rule.key, claim) in self.joined
        ]

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Links of these groups lose what they, their peers or the policy no longer allow; nothing else is decided
        here."""
        links = {link for link, *_ in self.standing(snapshot)}
        turned = Link(link.target, link.source, link.ports)
        return May.CLOSE if link in links or turned in links or self._is_other_end(link) else May.KEEP

    def select(self, plan: Plan) -> list[Decision]:
        """Changes only: links that are as they should be are not recorded again."""
        return [d for d in plan.decisions if d.outcome == "removed" or d.edits or d.missing_managed_tag]

    def standing(self, snapshot: Snapshot) -> list[OwnedLink]:
        """The rules of ours on these groups."""
        owned = owned_links(snapshot, self.policy, self.delivery.region)
        return [standing_rule for standing_rule in owned if standing_rule[1].group in self.groups]


def groups_wanted(scope: Scope) -> set[Party]:
    """The groups that hold the rules of the links that are asked for, or would."""
    snapshot = scope.store.snapshot()
    wishes = (desired for desired in scope.desired(snapshot) if not desired.same_group)
    links = {desired.link for desired in wishes if not wish_denial(snapshot, scope.policy, desired)}
    return scope.needed_groups(snapshot, links)


def _forbidden(snapshot: Snapshot, groups: Set[Party], delivery: Delivery, stuck: Set[RuleKey]) -> frozenset[Party]:
    """The groups with a rule of ours that they no longer allow, or with half of a mutual link that the other side no
    longer allows."""
    rules = {group: snapshot.rules[group] for group in groups if group in snapshot.rules}
    owned = owned_rules(msgspec.structs.replace(snapshot, rules=rules), delivery.policy, delivery.region)
    now = delivery.clock.now()
    return frozenset(
        rule.group
        for rule, marker in owned
        if rule.key
        if rule.key not in stuck
        if any(closed_by_group(snapshot, delivery.policy, *side, now) for side in _sides(rule.key, marker))
    )


def _sides(key: RuleKey, marker: Marker) -> list[tuple[RuleKey, Link]]:
    """A rule with its link, and of a mutual link between groups the other half."""
    link = link_of(key, marker)
    sides = [(key, link)]
    if link.mutual and link.source.is_group:
        sides.append((RuleKey(link.source, str(link.target), "", key.port), Link(link.target, link.source)))
    return sides


def _joined(scope: Scope, snapshot: Snapshot) -> frozenset[tuple[RuleKey, Claim]]:
    """The claims of links by address that an instance joined here without the request itself, and that have ended
    meanwhile."""
    if scope.context.is_request:
        return frozenset()
    writes = scope.work.writes
    return ended_meanwhile(snapshot, scope.policy, scope.delivery.region, writes.put, writes.taken_claims)


def _denied(verdict: Verdict) -> bool:
    return verdict.denial is not None and not verdict.open_questions
