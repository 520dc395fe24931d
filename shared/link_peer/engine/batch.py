"""Which messages of a batch may be handled side by side: those that touch none of the same groups or instances.

Two links on one group share its quota, and two requests for one link share its rule, whose marker the API cannot change by
compare-and-set. So they are handled one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from link_peer.domain.model import Party
from link_peer.domain.request import Look, Message
from link_peer.engine.read.fetch import TOLERANT, open_fetch
from link_peer.runtime.delivery import Delivery


class Batch:
    """The messages of one delivery; None for one that is denied already. `delivery` is what those that run side by side
    share: the given one, where none do."""

    def __init__(self, delivery: Delivery, messages: Sequence[Message | None]) -> None:
        known = [message for message in messages if message]
        self.delivery = delivery
        self._groups: Mapping[Party, Set[Party]] = {}
        if len(known) > 1 and delivery.limits.lanes > 1:
            name = known[0].request_id
            self.delivery = delivery.merged(name)
            ends = {end for message in known for end in _ends(message)}
            self._groups = _groups_of({end for end in ends if not end.is_group}, self.delivery, name)

    def touches(self, message: Message) -> Set[Party] | None:
        """The parties of a request, and the groups that its instances are in. None where these are not known: for a look,
        whose links are not known either, and for instances that were not shown or could not be read."""
        ends = _ends(message)
        instances = {end for end in ends if not end.is_group}
        if not ends or not instances <= self._groups.keys():
            return None
        return ends.union(*(self._groups[instance] for instance in instances))


def _ends(message: Message) -> set[Party]:
    return set() if isinstance(message, Look) else {message.link.source, message.link.target}


def _groups_of(instances: Set[Party], delivery: Delivery, name: str) -> Mapping[Party, Set[Party]]:
    fetch = open_fetch(delivery, name, TOLERANT)
    try:
        fetch.instances(instances)
    except Exception:  # a bug of ours, which the messages that it concerns will meet again
        return {}
    shown = fetch.store.snapshot().instances
    return {party: {Party(party.account, group) for group in one.groups} for party, one in shown.items()}
