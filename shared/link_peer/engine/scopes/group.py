"""The scope of events about a group's tags: what the group no longer allows is closed at once, and what it newly allows
is looked at soon.

A lock or withdrawn consent takes the rules of ours on the group, and with half of a mutual link the other half. A
managed tag that was removed from a group with rules of ours is set again.
"""

from __future__ import annotations

from link_peer.domain import denials
from link_peer.domain.errors import Transient
from link_peer.domain.model import Group, Link, Party
from link_peer.domain.policy import Pause
from link_peer.domain.request import Hint
from link_peer.domain.tags import accepts, egress_accepts
from link_peer.engine.converge import converge
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.store import groups_of
from link_peer.engine.records import denied_record
from link_peer.engine.scopes.calls import affordable
from link_peer.engine.scopes.closing import ClosingScope, look
from link_peer.engine.scopes.differing import differences, peers_at_home
from link_peer.engine.scopes.handover import AT_ONCE, LOOK_AGAIN_SECONDS, Later, post_looks, post_syncs
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.engine.write.work import open_work
from link_peer.planning.decision import Context, Missing
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
    report += look(scope, guard, report.written, report.refused_keys)
    scope.announce_consent()
    troubles = [str(trouble) for trouble in report.pending]
    if unread := scope.unread():
        troubles.append(unread)
        audit.attempt(unread, {"action": "look", "from_account": hint.party.account, "from": hint.party.id})
    return [Later(hint.party, troubles[0], scope.started + LOOK_AGAIN_SECONDS)] if troubles else []


class GroupScope(ClosingScope):
    """The one group that an event names."""

    def __init__(self, delivery: Delivery, hint: Hint, audit: AuditWriter) -> None:
        super().__init__(open_work(delivery, hint.event_id, audit, TOLERANT), frozenset({hint.party}))
        self.party = hint.party
        self.looks = hint.kind == "look"

    @property
    def context(self) -> Context:
        """Rules that are kept are recorded as `repair`, removals as `unlink`."""
        return Context(self.policy, self.delivery.region, self.started, ("repair", "unlink"))

    def read(self) -> None:
        """The group, and what ClosingScope reads of its links. Raises Transient if the group itself cannot be read
        now."""
        self.fetch.parties([self.party])
        self._require_read()
        group = self.store.groups.get(self.party)
        if group is None:
            return
        self.delivery.output.tags[self.party] = group.tags
        self.fetch.rules([self.party])
        self._require_read()
        super().read()

    def affordable(self, missing: Missing) -> Missing:
        """What is missed, as far as calls are left for it."""
        return affordable(self.fetch, missing)

    def unread(self) -> str:
        """Why an account could not be read for the moment; empty if all could."""
        return "; ".join(self.store.snapshot().failed_accounts.values())

    def _require_read(self) -> None:
        if trouble := self.store.snapshot().failed_accounts.get(self.party.account):
            raise Transient(trouble)

    def announce_consent(self) -> None:
        """New consent opens soon: of each group that the group's tags accept, a sync is posted, and of each instance of
        home a look, where a link of theirs with this group is missing. What other entries allow, the sweep finds.

        An event does not read other accounts, so that every pair with one may differ: of many, a look finds out which
        do."""
        group = self.store.groups.get(self.party)
        if group is None:
            return
        pairs, expires, abroad = self._accepted(group), self.started + LOOK_AGAIN_SECONDS, dict[Link, Party | None]()
        reason = f"{self.party} may have new consent: the "
        if not self.looks:
            abroad = {pair: None for pair in pairs if pair.source.account != pair.target.account}
        differing = differences(self, {pair: asker for pair, asker in pairs.items() if pair not in abroad})
        looks = [pair.source for pair in differing.pairs if not pair.source.is_group]
        if len(abroad) > AT_ONCE and self.policy.paused is not Pause.ALL:
            looks, abroad = [self.party, *looks], {}
        syncs = {pair: pairs[pair] for pair in differing.pairs if pair.source.is_group}
        post_syncs(self, {**syncs, **abroad}, f"{reason}pair is looked at", differing.unread_pairs)
        post_looks(self, list(dict.fromkeys(looks)), expires, f"{reason}party is looked at")

    def _accepted(self, group: Group) -> dict[Link, Party | None]:
        """The pairs that the group's tags may allow at either end, those first of which no rule stands.

        A mutual link needs the consent of both groups, and may be wished by this group's own instances: an entry
        without ports is a pair the other way, too. An entry for an instance is one pair with each of its peers in this
        group."""
        entries = [
            entry for entry in accepts(group.tags, self.party.account, self.policy.keys) if entry.party.id != "*"
        ]
        accepted = [(Party(entry.party.account, entry.party.id), entry.ports) for entry in entries]
        groups = [(party, ports) for party, ports in accepted if party.is_group and party != self.party]
        groups = [(party, ports) for party, ports in groups if party.account in self.policy.accounts]
        pairs: dict[Link, Party | None] = {Link(party, self.party): None for party, _ in groups}
        pairs |= {Link(self.party, party): None for party, ports in groups if not ports}
        instances = {party for party, _ in accepted if not party.is_group and party.account == self.policy.home}
        self.fetch.instances(instances)
        stored_instances = [self.store.instances[party] for party in sorted(instances) if party in self.store.instances]
        peers_of = {
            instance.party: [peer for peer in peers_at_home([instance], self.policy) if not peer.is_group]
            for instance in stored_instances
        }
        self.fetch.instances({peer for peers in peers_of.values() for peer in peers})
        members = {instance.party for instance in self.store.instances.values() if self.party in groups_of([instance])}
        pairs |= {Link(asker, peer): asker for asker, peers in peers_of.items() for peer in peers if peer in members}
        pairs |= self._let_out(group)
        standing = {Link(link.source, link.target) for link, *_ in self.standing(self.store.snapshot())}
        return {pair: pairs[pair] for pair in sorted(pairs, key=lambda pair: (pair in standing, pair))}

    def _let_out(self, group: Group) -> dict[Link, Party | None]:
        """The pairs with whom the group's tags let it reach. Of an instance, each is one with a member that asks for
        it."""
        entries = egress_accepts(group.tags, self.party.account, self.policy.keys) if group.advanced else []
        parties = {Party(entry.party.account, entry.party.id) for entry in entries if entry.party.id != "*"}
        reached = {party for party in parties if party.account in self.policy.accounts and party != self.party}
        pairs: dict[Link, Party | None] = {Link(self.party, party): None for party in reached if party.is_group}
        if instances := {party for party in reached if not party.is_group}:
            self.fetch.members([self.party])
            self.fetch.instances(instances)
        for asker in self.store.instances.values() if instances else ():
            peers = peers_at_home([asker], self.policy) if self.party in asker.own_groups else []
            pairs |= {Link(asker.party, peer): asker.party for peer in peers if peer in instances}
        return pairs
