"""What an event leads to: the links of these instances become what their tags say now.

The event says which instance to look at; everything else is read. Rules between home groups are settled here; a peer in
another account is handed to the queue, where cross_account looks at the pair.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from link_peer.domain.errors import Transient
from link_peer.domain.model import Instance, Link, Marker, Party, Reason, Rule
from link_peer.engine.apply import PAUSED, Applier
from link_peer.engine.reader import READERS, Reader
from link_peer.inbound.events import Hint
from link_peer.inbound.requests import encode, sync_request
from link_peer.planning.decision import Decision, Refusal, link_of, owned_rules
from link_peer.planning.evaluate import Claim, judge, tag_claims
from link_peer.planning.plan import Context, make
from link_peer.runtime.audit import Record, Scribe, link_fields
from link_peer.runtime.delivery import Delivery

YOUNG_SECONDS = 300  # the cloud may not show an instance, or its address, for that long
SCAN_ALWAYS = 100  # managed groups: up to so many are read for every event, more only when something may have gone
SIDE_BY_SIDE = 20  # groups: more of them are read by several threads
PASSES = 3


def reconcile(delivery: Delivery, hints: Sequence[Hint]) -> Scribe:
    """Settles the instances that the hints name. Raises Transient when the delivery must come again."""
    return _Instances(delivery, hints).run()


class _Instances:
    def __init__(self, delivery: Delivery, hints: Sequence[Hint]) -> None:
        self.delivery = delivery
        self.policy = delivery.policy
        self.home = delivery.policy.home
        self.now = delivery.clock.now()
        self.hints = _merged(hints, self.home)
        self.shrinks = any(hint.shrinks for hint in hints)
        events = {str(party): hint.event_id for party, hint in self.hints.items()}
        self.scribe = delivery.scribe({"event_id": hints[0].event_id}, events)
        self.reader = Reader(delivery.cloud(hints[0].event_id), self.policy)
        self.view = self.reader.view
        self.waiting: list[tuple[Transient, Party | None]] = []
        self.gone: set[Party] = set()
        self.shown: list[Instance] = []
        self.asked_life: set[str] = set()

    def run(self) -> Scribe:
        try:
            return self._run()
        except Transient as trouble:
            self.scribe.attempt(trouble, {"action": "link"})
            raise

    def _run(self) -> Scribe:
        self._look()
        if not self.view.readable(self.home):
            error = self.view.blocked[self.home]
            self.scribe.write(
                [
                    {
                        "record": "outcome",
                        "action": "link",
                        "outcome": "denied",
                        "reason": "no-access",
                        "detail": f"the home account may not be read: {error.code}",
                        "advice": "check the function role's ECS permissions",
                    }
                ]
            )
            return self.scribe
        claims = self._claims()
        self._sync(claims)
        self._settle()
        if self.waiting:
            for trouble, party in self.waiting:
                self.scribe.attempt(trouble, {"action": "link", "instance": str(party or "")})
            raise self.waiting[0][0]
        return self.scribe

    # reading

    def _look(self) -> None:
        """The instances, their groups, their peers at home, and the rules that may be concerned."""
        self.reader.parties(self.hints)
        if not self.view.readable(self.home):
            return
        for party, hint in self.hints.items():
            instance = self.view.instances.get(party)
            if instance is not None:
                self.shown.append(instance)
            elif hint.state == "Deleted" or not self._young(hint):
                self.gone.add(party)
                if hint.state != "Deleted":
                    self._not_shown(party)
            else:
                self.waiting.append((Transient(f"{party} is not shown yet"), party))
        peers = {c.link.target for i in self.shown for c in tag_claims(self.view, i, self.now) if c.link.target.id}
        self.reader.parties(peer for peer in peers if peer.account == self.home)
        managed = self.reader.managed(self.home, self.policy.deployment)
        own = {Party(self.home, group) for instance in self.shown for group in instance.groups}
        if not (self.shrinks or self.gone or len(managed) <= SCAN_ALWAYS):
            managed = [group for group in managed if group in own]
        needed = {
            need.key.group
            for claim in self._claims()
            for need in judge(self.view, self.policy, claim.link).needs
            if need.key.group in self.view.groups
        }
        groups = {*managed, *needed}
        self.reader.rules(groups, READERS if len(groups) > SIDE_BY_SIDE else 1)

    def _not_shown(self, party: Party) -> None:
        self.scribe.write(
            [
                {
                    "record": "outcome",
                    "action": "link",
                    "outcome": "denied",
                    "reason": "instance-gone",
                    "from_account": party.account,
                    "from": party.id,
                    "instance": str(party),
                    "detail": "the cloud does not show the instance, and its event is not of the last five minutes",
                    "advice": "check that it exists in this region, and that the function's role may see it",
                }
            ]
        )

    def _young(self, hint: Hint) -> bool:
        """Near now, that is: a clock may be ahead, but no event of tomorrow comes again until then."""
        return hint.time is not None and abs(self.now - hint.time) < YOUNG_SECONDS

    def _claims(self) -> list[Claim]:
        return [claim for instance in self.shown for claim in tag_claims(self.view, instance, self.now)]

    # peers in other accounts

    def _foreign(self, link: Link) -> bool:
        """Another account's, and one that the policy knows: whatever is to be said of the link, cross_account says it."""
        accounts = {link.source.account, link.target.account}
        return accounts != {self.home} and accounts <= self.policy.accounts.keys()

    def _sync(self, claims: Sequence[Claim]) -> None:
        """A sync for every pair that the tags name, and for every rule with reason `tag` on the instances' own groups."""
        pairs: dict[Link, Party | None] = {}
        for claim in claims:
            if self._foreign(claim.link) and not (claim.denial and claim.denial.reason in _NO_PAIR):
                pairs.setdefault(Link(claim.link.source, claim.link.target), claim.instance)
        own = {Party(self.home, group) for instance in self.shown for group in instance.groups}
        for rule, marker in owned_rules(self.view, self.policy, self.delivery.region):
            if rule.key is None or rule.group not in own or not any(reason.is_tag for reason in marker.reasons):
                continue
            link = link_of(rule.key, marker)
            if self._foreign(link):
                ends = (link.source, link.target)
                if link.mutual and link.source.account != self.home:
                    ends = (link.target, link.source)
                pairs.setdefault(Link(*ends), None)
        requests = [sync_request(pair, self.delivery.region, self.now) for pair in sorted(pairs)]
        told: Record = {"record": "intent", "detail": "the peer is in another account: the pair is handed to the queue"}
        if self.policy.paused:
            told = {"record": "outcome", "outcome": "denied", "reason": PAUSED.reason, "advice": PAUSED.advice}
            told["detail"] = PAUSED.detail
        self.scribe.write(
            [
                {
                    **told,
                    "action": "sync",
                    "request_id": request.request_id,
                    **link_fields(request.link, self.delivery.region),
                    "instance": str(pairs[request.link] or ""),
                }
                for request in requests
            ]
        )
        for request in requests if not self.policy.paused else ():
            self.delivery.retry(functools.partial(self.delivery.queue.post, encode(request)))

    # rules at home

    def _settle(self) -> None:
        applier = Applier(
            self.reader,
            self.policy,
            self.delivery.region,
            self.scribe,
            self.delivery.clock,
            self.delivery.retry,
            self.now,
        )
        refused: dict[Link, Refusal] = {}
        retry: set[Link] | None = None
        for _ in range(PASSES):
            decisions = self._plan(refused, retry)
            coming = [{d.link.source, d.link.target} for d in decisions if self._may_still_come(d)]
            report = applier.apply([d for d in decisions if {d.link.source, d.link.target} not in coming])
            self.waiting += [(trouble, None) for trouble in report.pending]
            if not report.failed:
                break
            refused |= report.failed
            retry = set(report.failed)
        applier.finish()

    def _plan(self, refused: dict[Link, Refusal], retry: set[Link] | None) -> list[Decision]:
        context = Context(self.policy, self.delivery.region, self.now)
        focus = {instance.party for instance in self.shown}
        looked: frozenset[Party] = frozenset()
        while True:
            # every instance that was read counts, so that a rule which a neighbour wants stays
            claims = [
                claim
                for instance in self.view.instances.values()
                for claim in tag_claims(self.view, instance, self.now)
                if not self._foreign(claim.link) or (claim.denial and claim.denial.reason in _NO_PAIR)
            ]
            plan = make(
                self.view,
                context,
                claims,
                focus=lambda claim: claim.instance in focus and (retry is None or claim.link in retry),
                may_lose=self._may_lose,
                refused=refused,
            )
            if plan.unread:
                ends = {party for link in plan.unread for party in (link.source, link.target)}
                self.reader.parties(ends)
                self.reader.members(party for party in ends if party.is_group)
            elif doubts := plan.doubts - self.asked_life:
                self.asked_life |= doubts
                self.reader.life(doubts)
            elif unseen := plan.unseen - looked:
                looked |= unseen
                self.reader.look_twice(unseen)
            else:
                return plan.decisions

    def _may_lose(self, rule: Rule, marker: Marker, reason: Reason) -> bool | None:
        """Tag links at home which these instances may have asked for, as long as home may be read."""
        assert rule.key is not None  # noqa: S101
        link = link_of(rule.key, marker)
        at_home = {link.source.account, link.target.account} == {self.home} and self.view.readable(self.home)
        if not reason.is_tag or not at_home:
            return False
        asking = {link.source, link.target} if link.mutual else {link.source}
        if link.source.is_group:
            own = {Party(self.home, group) for instance in self.shown for group in instance.groups}
            concerned = bool(self.gone or asking & own)
        else:
            concerned = bool({link.source, link.target} & self.hints.keys())
        return (self.view.wholly_seen(link) or None) if concerned else False

    def _may_still_come(self, decision: Decision) -> bool:
        """A peer, or an address, that the cloud may show later: not denied yet, nothing removed, but asked again."""
        if decision.outcome != "denied" or decision.reason not in ("instance-gone", "no-private-ip"):
            return False
        hint = self.hints.get(decision.instance) if decision.instance else None
        if hint is None or not self._young(hint):
            return False
        trouble = Transient(f"{decision.link.source} to {decision.link.target}: {decision.detail}, yet")
        self.waiting.append((trouble, decision.instance))
        return True


def _merged(hints: Sequence[Hint], home: str) -> dict[Party, Hint]:
    """One hint an instance: that it was deleted counts most, then the latest."""
    found: dict[Party, Hint] = {}
    for hint in sorted(hints, key=lambda hint: (hint.state == "Deleted", hint.time or 0.0)):
        found[Party(home, hint.instance)] = hint
    return found


_NO_PAIR = frozenset({"advanced-group", "managed-group", "classic-network", "peer-not-found"})
"""Refusals for which there is no pair to look at, since no group stands for the instance."""
