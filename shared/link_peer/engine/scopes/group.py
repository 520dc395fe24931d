"""The scope of events about a group's tags: what the group no longer allows is closed at once, and what it newly allows is
looked at soon.

A lock or withdrawn consent takes the rules of ours on the group, and with half of a mutual link the other half. A managed
tag that was removed from a group with rules of ours is set again.
"""

from __future__ import annotations

from link_peer.domain import denials
from link_peer.domain.errors import Transient
from link_peer.domain.model import Claim, Group, Link, Marker, Party, Rule
from link_peer.domain.policy import Pause
from link_peer.domain.request import Hint
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import accepts
from link_peer.engine.converge import Scope, converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.store import groups_of
from link_peer.engine.records import denied_record
from link_peer.engine.scopes.differing import affordable, differences, peers_at_home
from link_peer.engine.scopes.handover import AT_ONCE, LOOK_AGAIN_SECONDS, Later, post_looks, post_syncs
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.actual import OwnedRule, link_of, owned_rules
from link_peer.planning.claims import DesiredLink
from link_peer.planning.decision import Context, Decision, Missing, Plan, Verdict
from link_peer.planning.permitted import permitted
from link_peer.planning.removals import May
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.delivery import Delivery


def reconcile_group(delivery: Delivery, hint: Hint, audit: AuditWriter, guard: RemovalGuard) -> list[Later]:
    """Looks at one group of home. Returns what must be looked at again, recorded as attempts. Raises Transient where
    nothing could be decided."""
    scope = GroupScope(delivery, hint, audit)
    scope.read()
    if error := scope.store.refusal(hint.party.account):
        audit.write([denied_record(denials.no_access(hint.party.account, error.code), "look")])
        return []
    report = converge(scope, guard)
    scope.announce_consent()
    troubles = [str(trouble) for trouble in report.pending]
    if unread := scope.unread():
        troubles.append(unread)
        audit.attempt(unread, {"action": "look", "from_account": hint.party.account, "from": hint.party.id})
    return [Later(hint.party, troubles[0], scope.started + LOOK_AGAIN_SECONDS)] if troubles else []


class GroupScope(Scope):
    """One security group. What it no longer allows is closed although the other account has transient errors, which
    that account's owner can cause, by calls that use up its rate limit."""

    def __init__(self, delivery: Delivery, hint: Hint, audit: AuditWriter) -> None:
        super().__init__(open_work(delivery, hint.event_id, audit, TOLERANT))
        self.party = hint.party
        self.looks = hint.kind == "look"
        self.others: frozenset[Party] = frozenset()
        """The groups that hold the other halves of this group's mutual links."""

    @property
    def context(self) -> Context:
        """Rules that are kept are recorded as `repair`, removals as `unlink`."""
        return Context(self.policy, self.delivery.region, self.started, ("repair", "unlink"))

    def read(self) -> None:
        """The group, its rules, the parties of their links, and the rules of the other side of mutual ones that end. Raises
        Transient if the group itself cannot be read now."""
        fetch = self.fetch
        fetch.parties([self.party])
        self._require_read()
        if not self.store.readable(self.party.account) or self.store.groups.get(self.party) is None:
            return
        fetch.rules([self.party])
        self._require_read()
        links = [link for link, _ in self._standing(self.store.snapshot())]
        fetch.parties({party for link in links for party in (link.source, link.target)})
        snapshot = self.store.snapshot()
        halves = self.needed_groups(snapshot, self._ending(snapshot))
        self.others = frozenset(halves - {self.party})
        fetch.rules(group for group in halves if group in snapshot.groups)

    def _ending(self, snapshot: Snapshot) -> list[Link]:
        """The mutual links of the group that may no longer exist as they are: their other halves close with them."""
        context = self.context
        return [
            link
            for link, (_, marker) in self._standing(snapshot)
            if link.mutual
            if any(map(context.expired, marker.claims)) or _denied(permitted(snapshot, self.policy, link, self.started))
        ]

    def affordable(self, missing: Missing) -> Missing:
        """What is missed, as far as calls are left for it."""
        return affordable(self.fetch, missing)

    def unread(self) -> str:
        """Why an account could not be read for the moment; empty if all could."""
        return "; ".join(self.store.snapshot().failed_accounts.values())

    def _require_read(self) -> None:
        if trouble := self.store.snapshot().failed_accounts.get(self.party.account):
            raise Transient(trouble)

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What the claims on the group's rules ask for, all answered. They keep rules, and open none."""
        return [
            DesiredLink(link, claim, opens=False)
            for link, (_, marker) in self._standing(snapshot)
            for claim in marker.claims
        ]

    def may_lose(self, snapshot: Snapshot, rule: Rule, marker: Marker, claim: Claim) -> May:
        """Links of this group lose what it, its peer or the policy no longer allows; nothing else is decided here."""
        link = link_of(rule.key, marker) if rule.key else None
        links = {one for one, _ in self._standing(snapshot)}
        turned = Link(link.target, link.source, link.ports) if link else None
        return May.CLOSE if link in links or turned in links else May.KEEP

    def select(self, plan: Plan) -> list[Decision]:
        """Changes only: a group's links that are as they should be are not recorded again."""
        return [d for d in plan.decisions if d.outcome == "removed" or d.edits or d.missing_managed_tag]

    def announce_consent(self) -> None:
        """New consent opens soon: of each group that the group's tags accept, a sync is posted, and of each instance of home a
        look, where a link of theirs with this group is missing. What other entries allow, the sweep finds.

        An event does not read other accounts, so that every pair with one may differ: of many, a look finds out which do."""
        group = self.store.groups.get(self.party)
        if group is None:
            return
        pairs = self._accepted(group)
        abroad = (
            {}
            if self.looks
            else {pair: None for pair in pairs if {pair.source.account, pair.target.account} != {self.party.account}}
        )
        found = differences(self, {pair: asker for pair, asker in pairs.items() if pair not in abroad})
        if len(abroad) > AT_ONCE and self.policy.paused is not Pause.ALL:
            post_looks(
                self,
                [self.party],
                self.started + LOOK_AGAIN_SECONDS,
                f"{len(abroad)} pairs with other accounts may have new consent: which of them is looked at",
            )
            abroad = {}
        syncs = {pair: pairs[pair] for pair in found.pairs if pair.source.is_group}
        post_syncs(self, {**syncs, **abroad}, f"{self.party} may have new consent: the pair is looked at", found.left)
        instances = dict.fromkeys(pair.source for pair in found.pairs if not pair.source.is_group)
        expires = self.started + LOOK_AGAIN_SECONDS
        post_looks(self, list(instances), expires, f"{self.party} may have new consent: the instance is looked at")

    def _accepted(self, group: Group) -> dict[Link, Party | None]:
        """The pairs that the group's tags may allow, those first of which no rule stands.

        A mutual link needs the consent of both groups, and may be wished by this group's own instances: an entry without
        ports is a pair the other way, too. An entry for an instance is one pair with each of its peers in this group."""
        entries = [entry for entry in accepts(group.tags, self.party.account, self.policy.keys) if entry.who.id != "*"]
        known = [(Party(entry.who.account, entry.who.id), entry.ports) for entry in entries]
        known = [
            (party, ports) for party, ports in known if party.account in self.policy.accounts and party != self.party
        ]
        instances = {party for party, _ in known if not party.is_group and party.account == self.policy.home}
        pairs: dict[Link, Party | None] = {}
        for party, ports in known:
            if party.is_group:
                pairs[Link(party, self.party)] = None
                pairs |= {} if ports else {Link(self.party, party): None}
        self.fetch.instances(instances)
        shown = [self.store.instances[party] for party in sorted(instances) if party in self.store.instances]
        named = {one.party: [peer for peer in peers_at_home([one], self.policy) if not peer.is_group] for one in shown}
        self.fetch.instances({peer for peers in named.values() for peer in peers})
        here = {one.party for one in self.store.instances.values() if self.party in groups_of([one])}
        pairs |= {Link(asker, peer): asker for asker, peers in named.items() for peer in peers if peer in here}
        standing = {Link(link.source, link.target) for link, _ in self._standing(self.store.snapshot())}
        return {pair: pairs[pair] for pair in sorted(pairs, key=lambda pair: (pair in standing, pair))}

    def _standing(self, snapshot: Snapshot) -> list[tuple[Link, OwnedRule]]:
        """The links of the rules of ours on this group."""
        owned = owned_rules(snapshot, self.policy, self.delivery.region)
        return [
            (link_of(rule.key, marker), (rule, marker))
            for rule, marker in owned
            if rule.key is not None and rule.group == self.party
        ]


def _denied(verdict: Verdict) -> bool:
    return verdict.denial is not None and not verdict.open_questions
