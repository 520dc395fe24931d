"""The claims on the rules that stand between the ends of links now."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from link_peer.domain.errors import LinkPeerError
from link_peer.domain.model import Claim, Link, Party
from link_peer.engine.read.access import TOLERANT
from link_peer.engine.read.fetch import open_fetch
from link_peer.planning.actual import owned_links
from link_peer.runtime.ports import Record
from link_peer.views.reach import Scene

from link_peer_cli.access.environment import Environment, load_environment
from link_peer_cli.audit.story import ends_of
from link_peer_cli.audit.undo import depends_on_standing, undo
from link_peer_cli.inventory.shown import EXACT, wording
from link_peer_cli.review.delivery import suppose


def claims_between(env: Environment, parties: Iterable[Party]) -> list[tuple[Link, Claim]]:
    """The claims on the rules of ours at the groups of these parties, each with the link of its rule: one port, or
    mutual. What cannot be read is left out."""
    delivery, *_ = suppose(env, "audit")
    fetch = open_fetch(delivery, delivery.function, TOLERANT)
    parties = sorted(set(parties))
    fetch.parties(parties)
    snapshot = fetch.store.snapshot()
    fetch.rules_in_time(sorted({group for party in parties for group in snapshot.groups_with(party)}))
    owned = owned_links(fetch.store.snapshot(), env.policy, env.settings.region)
    return [(link, claim) for link, _, marker in owned for claim in marker.claims]


def names_now(env: Environment, ends: Iterable[Party]) -> Mapping[str, str]:
    """What accounts and these parties are called on a terminal, by uid and by `sg-…@<uid>`: names of the policy alone
    where the parties cannot be read."""
    words = wording(env.policy, env.now)
    if words is EXACT:
        return {}
    with contextlib.suppress(LinkPeerError):
        reading = env if env.reading else load_environment(reading=True)
        fetch = open_fetch(suppose(reading, "audit")[0], "audit", TOLERANT)
        fetch.parties(ends)
        words = wording(env.policy, env.now, Scene(fetch.store.snapshot()))
    return words.called


def undo_now(env: Environment, records: Sequence[Record]) -> list[str]:
    """The commands that take back what these records say. Without permission to read the other claims between these
    parties, they follow from the records alone."""
    standing: list[tuple[Link, Claim]] = []
    if ends := {end for record in records if depends_on_standing(record) for end in ends_of(record)}:
        with contextlib.suppress(LinkPeerError):
            standing = claims_between(load_environment(reading=True), ends)
    return undo(records, env.policy.keys, env.now, standing)
