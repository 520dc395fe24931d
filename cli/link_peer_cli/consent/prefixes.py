"""The tag prefixes of other deployments, by the keys of tags. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set

from link_peer.domain.model import Group
from link_peer.domain.tags import is_tag_prefix, tag_keys


def consenting(prefixes: Iterable[str]) -> list[str]:
    """The keys by which groups consent under these tag prefixes."""
    return [key for prefix in prefixes for key in tag_keys(prefix, "", "").consenting]


def prefixes_of(keys: Set[str]) -> set[str]:
    """The prefixes under which one of these keys consents, or says that a deployment manages the group."""
    candidates = {prefix for prefix in (key.partition("-")[0] for key in keys) if is_tag_prefix(prefix)}
    return {
        prefix
        for prefix in candidates
        if not keys.isdisjoint(consenting([prefix])) or any(key.startswith(f"{prefix}-managed.") for key in keys)
    }


def on_groups(groups: Iterable[Group]) -> Counter[str]:
    """How many of these groups have a tag of each prefix."""
    return Counter(prefix for group in groups for prefix in prefixes_of(group.tags.keys()))
