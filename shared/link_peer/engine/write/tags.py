"""The managed tags of groups, by which rules of ours are found: written, and noted where that is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

from link_peer.domain.denials import LinkDenied, managed_tag_refused, no_access_to_group
from link_peer.domain.errors import CloudError, NoAccess, Transient
from link_peer.domain.model import Party
from link_peer.engine.read.fetch import Fetch
from link_peer.runtime.delivery import Delivery
from link_peer.runtime.ports import Ecs

GROUPS_PER_CALL = 50  # [doc TagResources]

Requests = list[str]
"""RequestIds of the calls made for a decision."""


class ManagedTags:
    """The managed tags that one delivery writes. `refused` is what a record says of tags that were refused, by account
    or group; `between_instances` are the groups that get a tag more, since they hold rules between instances."""

    def __init__(self, fetch: Fetch, delivery: Delivery) -> None:
        self.refused = delivery.output.refused_tags
        self.between_instances: set[Party] = set()
        self._fetch = fetch
        self._delivery = delivery
        self._ahead: dict[
            Party, tuple[str, str]
        ] = {}  # what `ahead` asked for: the RequestId, and what a record says of it

    def were_refused(self, group: Party) -> bool:
        """Whether this delivery was refused managed tags of the group already."""
        return not self.refused.keys().isdisjoint((group.account, str(group)))

    def note_refused(self, group: Party, error: CloudError) -> str:
        """Notes that managed tags are refused, of this group or (NoAccess) of its whole account, and says what follows:
        empty where the delivery has said so."""
        where = group.account if isinstance(error, NoAccess) else str(group)
        denial = managed_tag_refused(where, error.code)
        return denial if self.refused.setdefault(where, denial) is denial else ""

    def write(self, group: Party, requests: Requests) -> str:
        """Puts the group's managed tags on it, unless they were read there. Where that is refused for good, the marker
        still says whose a rule is: nothing is raised but Transient, and what a record says of it is returned, once."""
        request, detail = self._ahead.pop(group, ("", ""))
        requests += filter(None, [request])
        keys = self._keys(group)
        if not self._lacks(group, keys):
            return detail
        ecs = ecs_of(self._fetch, group)
        for attempt in self._delivery.retry.attempts():  # tagging twice is harmless
            with attempt:
                try:
                    requests.append(ecs.tag([group.id], keys))
                except CloudError as error:
                    requests.append(error.request_id)
                    return self.note_refused(group, error)
            if attempt.failure:
                requests.append(attempt.failure.request_id)
        self._fetch.store.note_tags(group, keys)
        return ""

    def ahead(self, missing: Iterable[Party]) -> list[Callable[[], None]]:
        """The calls that write the tags of many groups. Where one fails, `write` does it for each of its groups."""
        together: dict[tuple[str, tuple[str, ...]], list[Party]] = {}
        for group in dict.fromkeys(missing):
            if self._lacks(group, self._keys(group)):  # no earlier step of the plan has tagged it
                together.setdefault((group.account, self._keys(group)), []).append(group)
        return [
            functools.partial(self._write_ahead, account, keys, groups[start : start + GROUPS_PER_CALL])
            for (account, keys), groups in together.items()
            for start in range(0, len(groups), GROUPS_PER_CALL)
        ]

    def _write_ahead(self, account: str, keys: Sequence[str], groups: Sequence[Party]) -> None:
        ecs = self._fetch.ecs(account)
        if ecs is None or self._delivery.out_of_time():
            return
        try:
            request, detail = ecs.tag([group.id for group in groups], keys), ""
        except Transient:
            return
        except CloudError as error:
            if len(groups) > 1:
                return
            request, detail = error.request_id, self.note_refused(groups[0], error)
        else:
            for group in groups:
                self._fetch.store.note_tags(group, keys)
        self._ahead.update(dict.fromkeys(groups, (request, detail)))

    def _lacks(self, group: Party, keys: tuple[str, ...]) -> bool:
        """Whether these are to be written: a group that does not exist lacks none."""
        group_read = self._fetch.store.groups.get(group)
        if group_read is None or self.were_refused(group):
            return False
        return any(group_read.tags.get(key) != "true" for key in keys)

    def _keys(self, group: Party) -> tuple[str, ...]:
        return self._delivery.policy.keys.of_group(instances=group in self.between_instances)


def ecs_of(fetch: Fetch, group: Party) -> Ecs:
    """The ECS of a group's account. Raises LinkDenied where it refuses access."""
    ecs = fetch.ecs(group.account)
    if ecs is None:
        refusal = fetch.store.refusal(group.account)
        raise LinkDenied(no_access_to_group(group, refusal.code if refusal else ""))
    return ecs
