"""The scope of events: the links of these instances become what their tags say now.

An event says which instance to look at; everything else is read. Rules between home groups are settled here; a peer in
another account is handed to the queue, where cross_account looks at the pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from link_peer.domain import denial as denials
from link_peer.domain.denial import PAUSED, ReasonCode
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer.domain.hint import Hint
from link_peer.domain.model import Claim, Instance, Link, Marker, Party, Rule
from link_peer.domain.request import Request, sync_request
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.converge import Scope, converge
from link_peer.engine.reader import Reader
from link_peer.engine.records import denied_record, link_fields, why_fields
from link_peer.planning.actual import link_of, owned_rules
from link_peer.planning.claims import DesiredLink, links_from_tags
from link_peer.planning.decision import Context, Decision, Plan
from link_peer.planning.evaluate import evaluate
from link_peer.planning.removal_guard import RemovalGuard
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Record

YOUNG_SECONDS = 300  # the cloud may not show an instance, or its address, for that long
SCAN_ALWAYS = 100  # managed groups: up to so many are read for every event, more only when something may have gone

_NO_PAIR = frozenset(
    {ReasonCode.ADVANCED_GROUP, ReasonCode.MANAGED_GROUP, ReasonCode.CLASSIC_NETWORK, ReasonCode.PEER_NOT_FOUND}
)
"""Refusals for which there is no pair to look at, since no group represents the instance."""


def reconcile_instances(delivery: Delivery, hints: Sequence[Hint], audit: AuditWriter, guard: RemovalGuard) -> None:
    """Settles the instances that the hints name. Raises Transient when the delivery must be redelivered, RedeliveryNeeded
    once that is recorded."""
    scope = InstanceScope(delivery, hints, audit)
    scope.read()
    if error := scope.reader.refusal(delivery.policy.home):
        audit.write([denied_record(denials.no_access(delivery.policy.home, error.code), "link")])
        return
    scope.hand_over_foreign_pairs()
    report = converge(scope, guard)
    for trouble, party in scope.waiting:
        audit.attempt(trouble, {"action": "link", "instance": str(party or "")})
    if troubles := [*(trouble for trouble, _ in scope.waiting), *report.pending]:
        raise RedeliveryNeeded(str(troubles[0]))


class InstanceScope(Scope):
    """The instances of one delivery's events. `waiting` are parties that the cloud may show later."""

    def __init__(self, delivery: Delivery, hints: Sequence[Hint], audit: AuditWriter) -> None:
        reader = Reader(delivery.cloud(hints[0].event_id), delivery.policy, threads=delivery.readers)
        super().__init__(delivery, reader, audit)
        self.home = delivery.policy.home
        self.hints = one_per_instance(hints, self.home)
        self.shrinks = any(hint.shrinks for hint in hints)
        self.waiting: list[tuple[Transient, Party | None]] = []
        self.gone: set[Party] = set()
        self.shown: list[Instance] = []

    @property
    def context(self) -> Context:
        """Links are recorded as `link`, removals as `unlink`."""
        return Context(self.policy, self.delivery.region, self.started)

    def read(self) -> None:
        """The instances, their groups, their peers at home, and the rules that may be concerned."""
        reader = self.reader
        reader.parties(self.hints)
        if not reader.readable(self.home):
            return
        snapshot = reader.snapshot()
        for party, hint in self.hints.items():
            self._classify(party, hint, snapshot)
        peers = {w.link.target for w in self._wishes(snapshot) if w.link.target.id}
        reader.parties(peer for peer in peers if peer.account == self.home)
        managed = reader.managed_groups([self.home], self.policy.deployment)
        if not (self.shrinks or self.gone or len(managed) <= SCAN_ALWAYS):
            own = self._own_groups()
            managed = [group for group in managed if group in own]
        snapshot = reader.snapshot()
        links = {wanted.link for wanted in self._wishes(snapshot)}
        needed = {n.key.group for link in links for n in evaluate(snapshot, self.policy, link).needs}
        reader.rules({*managed, *(needed & snapshot.groups.keys())})

    def hand_over_foreign_pairs(self) -> None:
        """Posts a sync for every pair with another account that tags name, or that rules on the instances' own groups
        stand for."""
        pairs = self._foreign_pairs(self.reader.snapshot())
        requests = {sync_request(pair, self.delivery.region, self.started): pairs[pair] for pair in sorted(pairs)}
        self.audit.write([self._sync_record(request, instance) for request, instance in requests.items()])
        for request in requests if not self.policy.paused else ():
            self.delivery.post(request)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """Every instance that was read counts, so that a rule which a neighbour wants is kept."""
        return [
            wanted
            for instance in snapshot.instances.values()
            for wanted in links_from_tags(snapshot, instance, self.started)
            if not self._foreign(wanted.link) or _has_no_pair(wanted)
        ]

    def concerns(self, wanted: DesiredLink) -> bool:
        """The wishes of the instances that events name."""
        return wanted.instance in {instance.party for instance in self.shown}

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> bool | None:
        """Tag links at home that these instances may have asked for, as long as home can be read."""
        if rule.key is None:
            return False
        link = link_of(rule.key, marker)
        at_home = {link.source.account, link.target.account} == {self.home} and snapshot.readable(self.home)
        if not claim.is_tag or not at_home:
            return False
        asking = {link.source, link.target} if link.mutual else {link.source}
        if link.source.is_group:
            concerned = bool(self.gone or asking & self._own_groups())
        else:
            concerned = bool({link.source, link.target} & self.hints.keys())
        return (snapshot.covers(link) or None) if concerned else False

    def select(self, plan: Plan) -> list[Decision]:
        """A peer, or an address, that the cloud may show later: not denied yet, nothing removed, but asked again."""
        later = [decision for decision in plan.decisions if self._may_still_come(decision)]
        pairs = [{decision.link.source, decision.link.target} for decision in later]
        for decision in later:
            text = f"{decision.link.source} to {decision.link.target}: {decision.why.detail}, yet"
            self.waiting.append((Transient(text), decision.instance))
        return [d for d in plan.decisions if {d.link.source, d.link.target} not in pairs]

    def _classify(self, party: Party, hint: Hint, snapshot: Snapshot) -> None:
        instance = snapshot.instances.get(party)
        if instance is not None:
            self.shown.append(instance)
        elif hint.state == "Deleted":
            self.gone.add(party)
        elif self._young(hint):
            self.waiting.append((Transient(f"{party} is not shown yet"), party))
        else:
            self.gone.add(party)
            fields = {"from_account": party.account, "from": party.id, "instance": str(party)}
            self.audit.write([denied_record(denials.instance_never_shown(), "link", **fields)])

    def _young(self, hint: Hint) -> bool:
        """Within five minutes of now. Clocks may differ, but an event dated tomorrow is not awaited until then."""
        return hint.time is not None and abs(self.started - hint.time) < YOUNG_SECONDS

    def _wishes(self, snapshot: Snapshot) -> list[DesiredLink]:
        return [wanted for instance in self.shown for wanted in links_from_tags(snapshot, instance, self.started)]

    def _own_groups(self) -> set[Party]:
        return {Party(self.home, group) for instance in self.shown for group in instance.groups}

    def _foreign(self, link: Link) -> bool:
        """A link with another account of the policy: cross_account decides about it."""
        accounts = {link.source.account, link.target.account}
        return accounts != {self.home} and accounts <= self.policy.accounts.keys()

    def _foreign_pairs(self, snapshot: Snapshot) -> dict[Link, Party | None]:
        """Pairs to look at, mutual and in the asker's direction, each with the instance whose tag names it."""
        pairs: dict[Link, Party | None] = {}
        for wanted in self._wishes(snapshot):
            if self._foreign(wanted.link) and not _has_no_pair(wanted):
                pairs.setdefault(Link(wanted.link.source, wanted.link.target), wanted.instance)
        own = self._own_groups()
        for rule, marker in owned_rules(snapshot, self.policy, self.delivery.region):
            if rule.key is None or rule.group not in own or not any(claim.is_tag for claim in marker.claims):
                continue
            link = link_of(rule.key, marker)
            if self._foreign(link):
                ends = (link.source, link.target)
                if link.mutual and link.source.account != self.home:
                    ends = (link.target, link.source)
                pairs.setdefault(Link(*ends), None)
        return pairs

    def _sync_record(self, request: Request, instance: Party | None) -> Record:
        if self.policy.paused:
            fields = {"record": "outcome", "outcome": PAUSED.outcome, **why_fields(PAUSED)}
        else:
            fields = {"record": "intent", "detail": "the peer is in another account: the pair is put on the queue"}
        return {
            **fields,
            "action": "sync",
            "request_id": request.request_id,
            **link_fields(request.link, self.delivery.region),
            "instance": str(instance or ""),
        }

    def _may_still_come(self, decision: Decision) -> bool:
        if decision.outcome != "denied" or decision.why.code not in (
            ReasonCode.INSTANCE_GONE,
            ReasonCode.NO_PRIVATE_IP,
        ):
            return False
        hint = self.hints.get(decision.instance) if decision.instance else None
        return hint is not None and self._young(hint)


def one_per_instance(hints: Iterable[Hint], home: str) -> dict[Party, Hint]:
    """One hint per instance: a deletion wins, then the latest."""
    found: dict[Party, Hint] = {}
    for hint in sorted(hints, key=lambda hint: (hint.state == "Deleted", hint.time or 0.0)):
        found[Party(home, hint.instance)] = hint
    return found


def _has_no_pair(wanted: DesiredLink) -> bool:
    return wanted.denial is not None and wanted.denial.code in _NO_PAIR
