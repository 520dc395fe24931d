"""What a request leads to: one link between two parties, in one account or two, on both sides or on neither.

Nothing is remembered between deliveries. Each decides anew from what both accounts show, so a duplicate, a crash or a
lost answer ends where a clean delivery ends.
"""

from __future__ import annotations

from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Marker, Party, Reason, Rule, RuleKey
from link_peer.engine.apply import Applier
from link_peer.engine.reader import Reader
from link_peer.inbound.requests import Request
from link_peer.planning.decision import Refusal, link_of
from link_peer.planning.evaluate import Claim, Denial, judge, no_access, tag_claims, unknown_account
from link_peer.planning.plan import Context, Plan, make
from link_peer.runtime.audit import Record, Scribe, link_fields
from link_peer.runtime.delivery import Delivery

PASSES = 3
UNLINKED = Denial("", "taken back by an unlink request")


def reconcile(delivery: Delivery, request: Request, scribe: Scribe, counted: int = 0, *, hold: bool = False) -> int:
    """Carries out one request. Raises Transient to come again.

    `counted` are the removals for unseen things that earlier messages of the delivery did; they are returned with those of
    this one. `hold`: all messages together are due for more than may go, so none of those is done.
    """
    pair = _Pair(delivery, request, scribe, counted, hold)
    try:
        return pair.run()
    except Transient as trouble:
        scribe.attempt(trouble, {"action": request.action, **link_fields(request.link, delivery.region)})
        raise


def due(delivery: Delivery, request: Request) -> frozenset[RuleKey]:
    """The rules that a request would remove since nothing that is seen asks for them any more. Only reads; none where it
    can't: the request itself says why."""
    pair = _Pair(delivery, request, delivery.scribe({}), 0, hold=False)
    try:
        return pair.due()
    except Transient:
        return frozenset()


class _Pair:
    def __init__(self, delivery: Delivery, request: Request, scribe: Scribe, counted: int, hold: bool) -> None:
        self.delivery = delivery
        self.request = request
        self.link = request.link
        self.policy = delivery.policy
        self.region = delivery.region
        self.now = delivery.clock.now()
        self.scribe = scribe
        self.reader = Reader(delivery.cloud(request.request_id), self.policy)
        self.view = self.reader.view
        self.ends = {self.link.source, self.link.target}
        self.applier = Applier(
            self.reader, self.policy, self.region, scribe, delivery.clock, delivery.retry, self.now, counted, hold=hold
        )

    def run(self) -> int:
        if self.link.source == self.link.target:
            self.scribe.write([self._record("unchanged", Denial("same-group", "both sides are one"))])
            return self.applier.counted
        if denial := self._read():
            self.scribe.write([self._record("denied", denial)])
            return self.applier.counted
        refused: dict[Link, Refusal] = {}
        for number in range(PASSES):
            plan = self._plan(refused)
            report = self.applier.apply(plan.decisions)
            if report.pending:
                raise report.pending[0]
            if number == 0 and all(decision.action == "repair" for decision in plan.decisions):
                self.scribe.write([self._record("unchanged", Denial("", self._nothing(plan)))])
            refused |= report.failed
            if self.request.action == "unlink" and report.changed:
                self._look_again(plan)
            elif not report.failed:
                break
        self.applier.finish()
        return self.applier.counted

    def due(self) -> frozenset[RuleKey]:
        if self._read():
            return frozenset()
        decisions = self._plan({}).decisions
        return frozenset(e.key for d in decisions if d.counted for e in d.edits if e.kind == "remove")

    def _read(self) -> Denial | None:
        """Looks at the pair; or why nothing may be said of it."""
        if denial := self._barred():
            return denial
        self._look()
        return self._barred()

    def _barred(self) -> Denial | None:
        """An account that the policy does not list, or that cannot be entered: nothing may be said of the pair."""
        return unknown_account(self.policy, self.link) or no_access(self.view, self.link)

    def _look(self) -> None:
        """What stands is read before who wants it, so that a rule which a tag just got is not taken for unwanted."""
        if not self.link.source.is_group and self.request.action != "link":
            # an instance may be gone or have changed its groups: its rules stand wherever they were written
            for account in sorted({party.account for party in self.ends}):
                self.reader.rules(self.reader.managed(account, self.policy.deployment))
        self.reader.parties(self.ends)
        accounts = sorted({party.account for party in self.ends})
        if not all(self.view.readable(account) for account in accounts):
            return
        if self.link.source.is_group:
            self.reader.rules(party for party in self.ends if party in self.view.groups)
            if self.request.action == "sync":
                # after the rules: else a rule whose tag came in between would seem to be wanted by nobody
                self.reader.members(party for party in self.ends if party in self.view.groups)
        elif self.request.action == "link":
            needs = judge(self.view, self.policy, self.link).needs
            self.reader.rules(need.key.group for need in needs)
        else:
            self.reader.groups_of_all()
            claims = self._tag_claims()
            self.reader.rules(n.key.group for c in claims for n in judge(self.view, self.policy, c.link).needs)

    def _look_again(self, plan: Plan) -> None:
        """The rules of both sides, after a removal: a sweep may have completed the link meanwhile (see shared.witness)."""
        groups = {edit.key.group for decision in plan.decisions for edit in decision.edits}
        groups |= {party for party in self.ends if party.is_group}
        for instance in map(self.view.instances.get, self.ends):
            groups |= {Party(instance.party.account, group) for group in instance.groups} if instance else set()
        for group in sorted(groups & self.view.rules.keys()):
            self.reader.again(group)

    def _plan(self, refused: dict[Link, Refusal]) -> Plan:
        action = self.request.action
        context = Context(self.policy, self.region, self.now, (action, action), request=action == "link")
        asked_life: set[str] = set()
        looked: frozenset[Party] = frozenset()
        while True:
            plan = make(
                self.view,
                context,
                self._claims(),
                focus=lambda claim: action == "link" or claim.link.source == self.link.source,
                may_lose=self._may_lose,
                refused=refused,
                taken_back=UNLINKED if action == "unlink" else None,
            )
            doubts = plan.doubts - asked_life
            if plan.unread:
                self.reader.parties(party for link in plan.unread for party in (link.source, link.target))
            elif doubts:
                asked_life |= doubts
                self.reader.life(doubts)
            elif unseen := plan.unseen - looked:
                looked |= unseen
                self.reader.look_twice(unseen)
            else:
                return plan

    def _claims(self) -> list[Claim]:
        if self.request.action == "link":
            return [Claim(self.link, Reason(self.request.request_id, self.request.until))]
        return self._tag_claims() if self.request.action == "sync" else []

    def _tag_claims(self) -> list[Claim]:
        """What the tags of both sides' instances say of this pair."""
        return [
            claim
            for instance in list(self.view.instances.values())
            for claim in tag_claims(self.view, instance, self.now)
            if {claim.link.source, claim.link.target} == self.ends and not claim.raw
        ]

    def _may_lose(self, rule: Rule, marker: Marker, reason: Reason) -> bool:
        assert rule.key is not None  # noqa: S101
        link = link_of(rule.key, marker)
        if {link.source, link.target} != self.ends:
            return False
        if self.request.action == "link":
            needs = {need.key for need in judge(self.view, self.policy, self.link).needs}
            return reason.request == self.request.request_id and (not needs or rule.key in needs)
        if self.request.action == "sync":
            forward = link.mutual or link.source == self.link.source
            return reason.is_tag and forward and self.view.wholly_seen(link)
        if self.link.ports:
            return not reason.is_tag and link.source == self.link.source and rule.key.port in self.link.ports
        return not reason.is_tag

    def _nothing(self, plan: Plan) -> str:
        if self.request.action == "unlink":
            return "no rule between the two stands for a request"
        if plan.doubts:
            unseen = ", ".join(sorted(plan.doubts))
            return f"no tag that is seen asks for this pair, but {unseen} shows no instances, so nothing there is believed to be gone"
        others = sorted({str(c.instance) for c in self._tag_claims() if c.link.source != self.link.source})
        if others:
            return f"no tag of this side asks for the pair; the other side's does ({', '.join(others)})"
        return "no tag asks for this pair, and no rule stands for a tag"

    def _record(self, outcome: str, denial: Denial) -> Record:
        return {
            "record": "outcome",
            "action": self.request.action,
            "outcome": outcome,
            "reason": denial.reason,
            "detail": denial.detail,
            "advice": denial.advice,
            "reachability": "unknown",
            **link_fields(self.link, self.region),
        }
