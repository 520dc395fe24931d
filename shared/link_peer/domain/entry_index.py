"""The entries of `allow` or `never` by the parties that they name: a link costs the entries that can concern it.
Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Generic, TypeVar

import msgspec

from link_peer.domain.tags import Grantee

Entry = TypeVar("Entry")
Value = TypeVar("Value")


class Naming(msgspec.Struct, frozen=True):
    """The `ids` by which an entry may name a party of an account. A party that may be in `any_group` is named by every
    id that is no instance's, too."""

    account: str
    ids: Set[str]
    any_group: bool = False

    def select(self, values: Mapping[str, Value]) -> Iterator[Value]:
        """The values whose id is one of these, of as few ids as possible."""
        if self.any_group:
            return (value for name, value in values.items() if name in self.ids or not name.startswith("i-"))
        if len(values) < len(self.ids):
            return (value for name, value in values.items() if name in self.ids)
        return (values[name] for name in self.ids if name in values)


class EntryIndex(Generic[Entry]):
    """Entries by the accounts of source and target, then by the id of the source, then by that of the target."""

    def __init__(self, entries: Iterable[tuple[Grantee, Grantee, Entry]]) -> None:
        """`entries` have their source and target before them, in the order of the file."""
        self._pairs: dict[tuple[str, str], dict[str, dict[str, list[tuple[int, Entry]]]]] = {}
        for number, (source, target, entry) in enumerate(entries):
            by_source = self._pairs.setdefault((source.account, target.account), {})
            by_source.setdefault(source.id, {}).setdefault(target.id, []).append((number, entry))

    def concerning(self, source: Naming, target: Naming) -> list[Entry]:
        """The entries that name both parties, in the order of the file."""
        by_source = self._pairs.get((source.account, target.account), {})
        selected = (targets for by_target in source.select(by_source) for targets in target.select(by_target))
        numbered = [pair for targets in selected for pair in targets]
        numbered.sort(key=_number)
        return [entry for _, entry in numbered]


def _number(numbered_entry: tuple[int, object]) -> int:
    return numbered_entry[0]
