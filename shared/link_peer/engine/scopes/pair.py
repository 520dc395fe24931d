"""The scope of a request: one link between two parties, in one account or two, on both sides or on neither.

Nothing is remembered between deliveries. Each decides anew from what both accounts show, so a duplicate, a crash or a
lost answer ends where a clean delivery ends.
"""

from __future__ import annotations

from link_peer.domain import denial as denials
from link_peer.domain.denial import UNLINKED, Denial
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer.domain.model import Claim, Marker, Party, Rule, RuleKey
from link_peer.domain.request import Request
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.apply import Report
from link_peer.engine.converge import Scope, converge, decisions_due
from link_peer.engine.reader import Reader
from link_peer.engine.records import decision_record
from link_peer.planning.actual import link_of
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Decision, Plan
from link_peer.planning.evaluate import evaluate, no_access, unknown_account
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery


def reconcile_pair(delivery: Delivery, request: Request, audit: AuditWriter, guard: RemovalGuard) -> None:
    """Carries out one request. Raises Transient when it must be redelivered, RedeliveryNeeded once that is recorded."""
    scope = PairScope(delivery, request, audit)
    if why := scope.read():
        scope.record("unchanged" if why.code is denials.ReasonCode.SAME_GROUP else why.outcome, why)
        return
    report = converge(scope, guard)
    if report.pending:
        raise RedeliveryNeeded(str(report.pending[0]))


def removals_due(delivery: Delivery, request: Request) -> frozenset[RuleKey]:
    """The rules that a request would remove only because nothing shown asks for them any more. Reads only; none where
    it cannot read, since the request itself reports why."""
    scope = PairScope(delivery, request, delivery.audit({}))
    try:
        decisions = [] if scope.read() else decisions_due(scope)
    except Transient:
        return frozenset()
    return frozenset(e.key for d in decisions if d.counts_toward_cap for e in d.edits if e.kind == "remove")


class PairScope(Scope):
    """The two parties of one request."""

    def __init__(self, delivery: Delivery, request: Request, audit: AuditWriter) -> None:
        reader = Reader(delivery.cloud(request.request_id), delivery.policy, threads=delivery.readers)
        super().__init__(delivery, reader, audit)
        self.request = request
        self.link = request.link
        self.ends = {self.link.source, self.link.target}
        self.withdrawn = UNLINKED if request.action == "unlink" else None
        self._answered = False

    @property
    def context(self) -> Context:
        """The records of a request carry its own action."""
        action = self.request.action
        return Context(self.policy, self.delivery.region, self.started, (action, action), is_request=action == "link")

    def read(self) -> Denial | None:
        """Reads both sides. Returns why nothing can be decided about the pair, if so."""
        if self.link.source == self.link.target:
            return denials.same_party()
        if denial := self._barred():
            return denial
        self._read_sides()
        return self._barred()

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """The request's own link, or for a sync what the tags of both sides' instances ask for."""
        if self.request.action == "link":
            return [DesiredLink(self.link, Claim(self.request.request_id, self.request.until))]
        return self._from_tags(snapshot) if self.request.action == "sync" else []

    def concerns(self, wanted: DesiredLink) -> bool:
        """A sync answers for its `from` side; the other side's wishes are another sync's."""
        return self.request.action == "link" or wanted.link.source == self.link.source

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> bool:
        """A link replaces its own request's claim; a sync takes tags' claims; an unlink takes requests' claims."""
        if rule.key is None:
            return False
        link = link_of(rule.key, marker)
        if {link.source, link.target} != self.ends:
            return False
        if self.request.action == "link":
            needs = {need.key for need in evaluate(snapshot, self.policy, self.link).needs}
            return claim.request == self.request.request_id and (not needs or rule.key in needs)
        if self.request.action == "sync":
            forward = link.mutual or link.source == self.link.source
            return claim.is_tag and forward and snapshot.covers(link)
        if self.link.ports:
            return not claim.is_tag and link.source == self.link.source and rule.key.port in self.link.ports
        return not claim.is_tag

    def select(self, plan: Plan) -> list[Decision]:
        """Records `unchanged` where the first plan decides nothing about the pair."""
        if not self._answered and all(decision.action == "repair" for decision in plan.decisions):
            self.record("unchanged", denials.nothing_to_do(*self._found(plan, self.reader.snapshot())))
        self._answered = True
        return plan.decisions

    def look_again(self, plan: Plan, report: Report) -> bool:
        """After an unlink removed something: a sweep may have completed the link meanwhile (planning.unlink_guard)."""
        if self.request.action != "unlink" or not report.changed:
            return False
        groups = {edit.key.group for decision in plan.decisions for edit in decision.edits}
        groups |= {party for party in self.ends if party.is_group}
        snapshot = self.reader.snapshot()
        for instance in map(snapshot.instances.get, self.ends):
            groups |= {Party(instance.party.account, group) for group in instance.groups} if instance else set()
        self.reader.reread_rules(groups & snapshot.rules.keys())
        return True

    def record(self, outcome: str, why: Denial) -> None:
        """Writes the one outcome of a request that is not planned, or finds nothing to do."""
        decision = Decision(self.link, self.request.action, outcome, why)
        self.audit.write([decision_record(decision, self.delivery.region, "outcome")])

    def _barred(self) -> Denial | None:
        return unknown_account(self.policy, self.link) or no_access(self.reader.snapshot(), self.link)

    def _read_sides(self) -> None:
        """Rules are read before the tags that want them, so that a rule whose tag came in between does not look
        unwanted."""
        reader, accounts = self.reader, sorted({party.account for party in self.ends})
        if not self.link.source.is_group and self.request.action != "link":
            # An instance may be gone or have changed its groups: its rules are wherever they were written.
            for account in accounts:
                reader.rules(reader.managed_groups([account], self.policy.deployment))
        reader.parties(self.ends)
        if not all(reader.readable(account) for account in accounts):
            return
        snapshot = reader.snapshot()
        groups = [party for party in self.ends if party in snapshot.groups]
        if self.link.source.is_group:
            reader.rules(groups)
            if self.request.action == "sync":
                reader.members(groups)
        elif self.request.action == "link":
            reader.rules(need.key.group for need in evaluate(snapshot, self.policy, self.link).needs)
        else:
            reader.groups_of_instances()
            snapshot = reader.snapshot()
            links = [wanted.link for wanted in self._from_tags(snapshot)]
            reader.rules(n.key.group for link in links for n in evaluate(snapshot, self.policy, link).needs)

    def _from_tags(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What the tags of both sides' instances say of this pair."""
        return [
            wanted
            for instance in snapshot.instances.values()
            for wanted in links_from_tags(snapshot, instance, self.started)
            if {wanted.link.source, wanted.link.target} == self.ends and not wanted.raw
        ]

    def _found(self, plan: Plan, snapshot: Snapshot) -> tuple[str, list[str], list[str]]:
        """What explains that there is nothing to do: the action, accounts that show nothing, the other side's wishes."""
        others = {str(w.instance) for w in self._from_tags(snapshot) if w.link.source != self.link.source}
        return self.request.action, sorted(plan.doubted_accounts), sorted(others)
