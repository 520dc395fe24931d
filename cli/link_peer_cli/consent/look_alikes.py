"""Keys of tags that only look like those of link-peer. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from link_peer.domain.model import Group, Instance
from link_peer.domain.tags import TAGS, TagKeys, similar_keys
from link_peer.planning.consent import free_keys


def look_alikes(shown: Group | Instance, keys: TagKeys) -> Iterator[tuple[str, str]]:
    """(the fact, what to do) for each key of a group or an instance that means nothing there and looks like one that does."""
    on = "security group" if shown.party.is_group else "instance"
    rows = {getattr(keys, tag.name): tag for tag in TAGS if tag.writer == "person"}
    for key in similar_keys(shown.tags, on, keys):
        [nearest] = difflib.get_close_matches(key.lower().partition(".")[0], rows, n=1, cutoff=0)
        meant, where = nearest, rows[nearest].on
        if (nearest, where) == (keys.accept, on):
            meant = next(iter(free_keys(shown.tags, keys)), nearest)
        advice = (
            f"if you meant {meant}, set that on {'an' if where == 'instance' else 'a'} {where}, and remove this tag"
        )
        yield f"the key {key!a} means nothing to link-peer on this {on}", advice


def notes(shown: Iterable[Group | Instance], keys: TagKeys) -> list[str]:
    """The same as sentences that name the party, sorted."""
    return sorted({f"{one.party}: {detail}: {advice}" for one in shown for detail, advice in look_alikes(one, keys)})
