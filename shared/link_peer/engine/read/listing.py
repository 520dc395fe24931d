"""Reads every instance of an account, page by page, and keeps in full only those that matter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from link_peer.domain.model import Instance
from link_peer.domain.snapshot import Listing

Page = tuple[list[Instance], str]
"""Instances, and the token of the next page; empty after the last."""


def read_listing(read: Callable[[str], Page], keep: Callable[[Instance], bool]) -> tuple[Listing, list[Instance]]:
    """What the whole account shows, and the instances to `keep`. `read` reads the page with a token, the first one's being
    empty. An account of any size takes little memory: of the other instances, only the ids are noted."""
    kept: list[Instance] = []
    ids: set[str] = set()
    members: Counter[str] = Counter()
    tagged = False
    token, more = "", True
    while more:
        page, token = read(token)
        more = bool(token)
        for instance in page:
            if instance.party.id not in ids:  # an instance may move to the next page meanwhile, and be shown twice
                ids.add(instance.party.id)
                members.update(instance.groups)
            tagged = tagged or bool(instance.tags)
            if keep(instance):
                kept.append(instance)
    return Listing(ids, members, tagged), kept
