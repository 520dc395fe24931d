"""Which messages of a batch may be handled side by side: those that touch none of the same groups or instances.

Two links on one group share its quota, and two requests for one link share its rule, whose marker the API cannot change
by compare-and-set. So they are handled one after the other. Those that do run side by side share a removal guard.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence, Set

from link_peer.domain.model import Party, RuleKey
from link_peer.domain.request import Look, Message, Request
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.engine.scopes.pair import removals_due
from link_peer.engine.write.apply import held_records
from link_peer.engine.write.removal_guard import SharedGuard
from link_peer.planning.decision import Unseen
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.side_by_side import Job, run_jobs


class Batch:
    """The messages of one delivery; None for one that is denied already. `delivery` is what those that run side by side
    share: the given one, where none do."""

    def __init__(self, delivery: Delivery, messages: Sequence[Message | None]) -> None:
        readable = [message for message in messages if message]
        self.delivery = delivery
        self._groups: Mapping[Party, Set[Party]] = {}
        self._absent: Set[Party] = frozenset()
        if len(readable) > 1 and delivery.throughput.lanes > 1:
            name = readable[0].request_id
            self.delivery = delivery.merged(name)
            ends = {
                end
                for message in readable
                for end in ({message.party} if isinstance(message, Look) else _ends(message))
            }
            instances = {end for end in ends if not end.is_group}
            self._groups, self._absent = _groups_of(instances, self.delivery, name)

    def is_absent(self, message: Message) -> bool:
        """Whether a message is a look at an instance of home that is not shown, or could not be read for the moment."""
        return isinstance(message, Look) and message.party in self._absent

    def touches(self, message: Message) -> Set[Party] | None:
        """The parties of a request, and the groups that its instances are in. None where these are not known: for a
        look, whose links are not known either, and for instances that were not shown or could not be read."""
        ends = _ends(message)
        instances = {end for end in ends if not end.is_group}
        if not ends or not instances <= self._groups.keys():
            return None
        return ends.union(*(self._groups[instance] for instance in instances))


def guard_of(messages: Sequence[Message | None], delivery: Delivery, actor: str = "") -> SharedGuard:
    """The removal guard of a batch. Where its syncs together are due to remove more than the policy allows, none does;
    `actor` is who sent them."""
    guard = SharedGuard(delivery.policy.limits.removals_per_run)
    syncs = [message for message in messages if isinstance(message, Request) and message.action == "sync"]
    if len(syncs) < 2:
        return guard  # a single message is counted when it is carried out
    looks = [Job(functools.partial(removals_due, delivery, request), frozenset()) for request in syncs]
    rules: dict[Unseen, frozenset[RuleKey]] = {}
    for look in run_jobs(looks, delivery.throughput.lanes):
        if isinstance(look, Exception):
            continue  # a bug of ours, which the message will meet again
        for unseen, keys in look.items():
            rules[unseen] = rules.get(unseen, frozenset()) | keys  # a rule that several messages name counts once
    due = {unseen: len(keys) for unseen, keys in rules.items()}
    guard.expect(due)
    held_unseen = {unseen: count for unseen, count in due.items() if count > guard.limit}
    if held_unseen:
        delivery.audit({"action": "sync", "actor": actor}).write(held_records(held_unseen, guard.limit))
        guard.reported |= held_unseen.keys()
    return guard


def _ends(message: Message) -> set[Party]:
    return set() if isinstance(message, Look) else {message.link.source, message.link.target}


def _groups_of(
    instances: Set[Party], delivery: Delivery, name: str
) -> tuple[Mapping[Party, Set[Party]], frozenset[Party]]:
    """The groups of the instances that are shown, and those of home that are not, unless home refuses access."""
    fetch = open_fetch(delivery, name, TOLERANT)
    try:
        fetch.instances(instances)
    except Exception:  # a bug of ours, which the messages that it concerns will meet again
        return {}, frozenset()
    snapshot, home = fetch.store.snapshot(), delivery.policy.home
    absent = {party for party in instances if party.account == home and party not in snapshot.instances}
    groups = {party: {*instance.own_groups} for party, instance in snapshot.instances.items()}
    return groups, frozenset() if home in snapshot.refused_accounts else frozenset(absent)
