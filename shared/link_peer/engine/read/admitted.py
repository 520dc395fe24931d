"""Which instances rules admit, for the records of one delivery: from what was read, and little more."""

from __future__ import annotations

from collections.abc import Iterable

from link_peer.domain.model import Link, Party, RuleKey
from link_peer.engine.read.reader import Reader
from link_peer.runtime.ports import Record

NAMED = 20
"""Instances that a record names; it counts all of them."""


class Admitted:
    """Counts and names the instances that are the sources of rules. What it reads is kept apart from what decisions are
    made from."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._aside: dict[Party, list[Party] | None] = {}

    def read(self, keys: Iterable[RuleKey]) -> None:
        """Reads the members of the groups that these rules admit, unless their number is known: each group once."""
        for group in _groups(keys):
            if group not in self._aside and self._reader.member_count(group) is None:
                self._aside[group] = self._reader.members_aside(group)

    def fields(self, keys: Iterable[RuleKey], link: Link) -> Record:
        """The fields `instances` and `instance_ids` of a record: how many instances the rules of a link admit, and the first
        of them by id. Empty as far as it is not known."""
        keys = list(keys)
        groups, named = _groups(keys), set[Party]()
        if not link.source.is_group:
            named = {link.source, link.target} if link.mutual else {link.source}
        counts = [self._count(group) for group in groups]
        known = [count for count in counts if count is not None]
        if not keys or len(known) < len(counts):
            return {"instances": "", "instance_ids": ""}
        members = [self._members(group) for group in groups]
        whole = all(one is not None for one in members)
        named |= {party for one in members for party in one or ()}
        alone = len({key.source for key in keys}) - len(groups)
        ids = " ".join(sorted(map(str, named))[:NAMED]) if whole else ""
        return {"instances": str(sum(known) + alone), "instance_ids": ids}

    def _count(self, group: Party) -> int | None:
        aside = self._aside.get(group)
        return len(aside) if aside is not None else self._reader.member_count(group)

    def _members(self, group: Party) -> list[Party] | None:
        aside = self._aside.get(group)
        return aside if aside is not None else self._reader.members_of(group)


def _groups(keys: Iterable[RuleKey]) -> list[Party]:
    """The groups that rules admit."""
    sources = sorted({key.source for key in keys})
    return [Party(account, name) for name, _, account in (source.partition("@") for source in sources) if account]
