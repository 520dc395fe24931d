"""Which links end with a change of a group's tags."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from link_peer.domain.model import Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.actual import link_of, owned_rules
from link_peer.planning.permitted import closed_by_group
from link_peer.runtime.ports import Ecs


def closes(ecs: Ecs, party: Party, tags: Mapping[str, str], policy: Policy, region: str, now: float) -> list[str]:
    """The links, each with its rule, that stand on a group now and end if it has these `tags`. Sorted.

    `ecs` is the group's account. An instance of another account may be in any group, as for the functions. Raises
    LinkPeerError if the account cannot be read.
    """
    rules = {party: tuple(ecs.rules(party.id))}
    groups = {one.party: one for one in ecs.groups([party.id])}
    owned = owned_rules(Snapshot(rules=rules), policy, region)
    sources = {marker.ends[0] for _, marker in owned if marker.ends}
    ids = sorted(one.id for one in sources if one.account == party.account)
    instances = {one.party: one for one in (ecs.instances(ids) if ids else ())}
    before = Snapshot(instances, groups, rules)
    changed = {one: msgspec.structs.replace(group, tags=dict(tags)) for one, group in groups.items()}
    after = msgspec.structs.replace(before, groups=changed)
    found: list[str] = []
    for rule, marker in owned:
        if rule.key is None:
            continue
        link = link_of(rule.key, marker)
        now_closed, then_closed = (closed_by_group(one, policy, rule.key, link, now) for one in (before, after))
        if then_closed and not now_closed:
            claims = " ".join(sorted(f"req:{claim.request}" if claim.request else "tag" for claim in marker.claims))
            half = ", and the other half of this mutual link" if link.mutual else ""
            found.append(f"{rule.key.port} from {link.source} to {link.target}: rule {rule.id} ({claims}){half}")
    return sorted(found)
