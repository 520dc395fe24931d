"""AddTags, RemoveTags and DescribeTags: the older actions for tags, which still exist beside the others [SDK 7.11.8].

They take one resource per call; their ActionTrail events carry their own names.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from link_peer_local.ecs import tags
from link_peer_local.ecs.call import Call
from link_peer_local.ecs.paging import numbered

_COUNTERS = {"instance": "Instance", "securitygroup": "Securitygroup", "eni": "Eni"}


def add_tags(call: Call) -> dict[str, Any]:
    """Add tags to one resource, or overwrite their values."""
    tags.write(call, tags.named(call, [call.params.require("ResourceId")]), tags.from_request(call))
    return {}


def remove_tags(call: Call) -> dict[str, Any]:
    """Remove tags from one resource. A tag that is given with a value is removed only if it has that value [inferred]."""
    (tagged,) = tags.named(call, [call.params.require("ResourceId")])
    removed = tags.filters(call)
    if not removed:
        raise tags.no_tags()
    tagged.change(call.now, lambda old: {key: value for key, value in old.items() if not _among(removed, key, value)})
    return {}


def _among(removed: tags.Filter, key: str, value: str) -> bool:
    return any(key == name and wanted in (None, value) for name, wanted in removed)


def describe_tags(call: Call) -> dict[str, Any]:
    """The distinct tags of all resources that match, with the number of resources of each type."""
    params = call.params
    kinds = [params.get("ResourceType").lower()] if params.get("ResourceType") else list(_COUNTERS)
    wanted, seen = tags.filters(call), call.now - call.store.read_lag.tags
    counts: dict[tuple[str, str], Counter[str]] = {}
    for kind in kinds:
        for resource in tags.resources(call, kind).values():
            if not tags.exists(call, resource):
                continue
            if params.get("ResourceId") in ("", resource.id) and tags.match(wanted, resource.tags.at(seen)):
                for key, value in resource.tags.at(seen).items():
                    counts.setdefault((key, value), Counter())[_COUNTERS[kind]] += 1
    rows = [
        {"TagKey": key, "TagValue": value, "ResourceTypeCount": dict(count)}
        for (key, value), count in sorted(counts.items())
    ]
    chosen, paging = numbered(params, rows, most=100, default=50)
    return {"Tags": {"Tag": list(chosen)}, **paging}
