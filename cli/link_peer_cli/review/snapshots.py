"""A reading of the cloud in a file, so that `link-peer check` judges a policy's tests where there are no keys.

`link-peer check --live --out` writes it: the groups and instances that the tests name, with tags and rules, and nothing
secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Group, Instance, Party, Rule
from link_peer.domain.snapshot import Address, Listing, Snapshot

from link_peer_cli.ui.files import write

MAX_BYTES = 64 * 1024 * 1024


class SavedSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A Snapshot whose mappings by party are lists, since JSON has no such keys. `unread` are accounts with the
    reason."""

    link_peer_snapshot: Literal[1]
    groups: tuple[Group, ...]
    instances: tuple[Instance, ...]
    rules: tuple[tuple[Party, tuple[Rule, ...]], ...]
    requested: tuple[Party, ...]
    complete_groups: tuple[Party, ...]
    whole_accounts: tuple[str, ...]
    live_accounts: tuple[str, ...]
    listings: dict[str, Listing]
    inner_access: tuple[tuple[Party, bool], ...]
    taken_addresses: tuple[tuple[Address, bool], ...]
    unread: dict[str, str]


def save(snapshot: Snapshot, path: str) -> None:
    """Write a snapshot. Raises OSError if the file cannot be written."""
    saved = SavedSnapshot(
        1,
        groups=_sorted(snapshot.groups.values()),
        instances=_sorted(snapshot.instances.values()),
        rules=tuple(sorted((party, tuple(rules)) for party, rules in snapshot.rules.items())),
        requested=_sorted(snapshot.requested),
        complete_groups=_sorted(snapshot.complete_groups),
        whole_accounts=_sorted(snapshot.whole_accounts),
        live_accounts=_sorted(snapshot.live_accounts),
        listings=dict(snapshot.listings),
        inner_access=tuple(sorted(snapshot.inner_access.items())),
        taken_addresses=tuple(sorted(snapshot.taken_addresses.items())),
        unread={uid: str(error) for uid, error in {**snapshot.refused_accounts, **snapshot.failed_accounts}.items()},
    )
    write(path, msgspec.json.format(msgspec.json.encode(saved, order="sorted"), indent=1) + b"\n")


def load(path: str) -> Snapshot:
    """A snapshot that `save` wrote. Raises BadInput for any other file, and for one that cannot be read."""
    try:
        raw = Path(path).read_bytes()
        saved = msgspec.json.decode(raw[: MAX_BYTES + 1], type=SavedSnapshot)
    except OSError as error:
        raise BadInput("--snapshot", f"{path} cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput("--snapshot", f"{path} is not a snapshot of `link-peer check --live --out`: {error}") from None
    return Snapshot(
        instances={instance.party: instance for instance in saved.instances},
        groups={group.party: group for group in saved.groups},
        rules=dict(saved.rules),
        requested=frozenset(saved.requested),
        complete_groups=frozenset(saved.complete_groups),
        whole_accounts=frozenset(saved.whole_accounts),
        listings=saved.listings,
        live_accounts=frozenset(saved.live_accounts),
        inner_access=dict(saved.inner_access),
        taken_addresses=dict(saved.taken_addresses),
        failed_accounts=saved.unread,
    )


def _sorted(values: Iterable[Any]) -> tuple[Any, ...]:
    """In a fixed order, so that two files differ where the cloud does."""
    return tuple(sorted(values, key=lambda value: getattr(value, "party", value)))
