"""How the tag of an instance asks for a link. Pure."""

from __future__ import annotations

import msgspec
from link_peer.domain.denial import Denial, LinkDenied
from link_peer.domain.model import Instance, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.claims import links_from_tags

from link_peer_cli.adoption.expressible import NotAdoptable
from link_peer_cli.consent.entries import asking


def tag_for(snapshot: Snapshot, policy: Policy, link: Link, asker: Party, now: float) -> dict[str, str]:
    """The tags to set on an instance, so that it asks for the link; none if it does already.

    Raises NotAdoptable, or LinkDenied, where its tag would not ask for this link.
    """
    instance = snapshot.instances.get(asker)
    ends = {asker} if instance is None else {asker, *(Party(asker.account, group) for group in instance.groups)}
    if instance is None or link.source not in ends:
        raise NotAdoptable(f"{asker} is not an instance of {link.source}, from which the rule opens: name one that is")
    elsewhere = link.target.account != asker.account
    if elsewhere and not link.target.is_group:
        raise NotAdoptable(
            f"a tag cannot name {link.target}, an instance of another account: adopt the rule as a request"
        )
    ports = f":{link.ports[0]}" if link.ports else ""
    put: dict[str, str] = {}
    if not _asked(snapshot, policy, link, instance, now):
        put = asking(instance.tags, f"{link.target if elsewhere else link.target.id}{ports}", policy.keys)
        instance = msgspec.structs.replace(instance, tags={**instance.tags, **put})
    asked = _asked(snapshot, policy, link, instance, now)
    if asked and asked[0]:
        raise LinkDenied(asked[0])
    if not asked:
        raise NotAdoptable(
            f"a tag of {asker} would ask for another link: {link.source} does not stand for it, or {link.target} is its own "
            "group: name another instance, or adopt the rule as a request"
        )
    return put


def _asked(snapshot: Snapshot, policy: Policy, link: Link, instance: Instance, now: float) -> list[Denial | None]:
    """Whether an instance's tags ask for a link: why that is denied, or None, for each entry that does."""
    found = links_from_tags(snapshot, instance, now, policy)
    return [one.denial for one in found if one.link == link and not one.raw and not one.same_group]
