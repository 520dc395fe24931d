"""Which pairs differ from what tags and consent ask for: read and planned as a sync would, and not carried out.

A look posts messages for these alone. So one message does not become many while nothing is to be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from link_peer.domain.model import Instance, Link, Party
from link_peer.domain.policy import Policy
from link_peer.domain.tags import Peer, peers
from link_peer.engine.converge import Scope, plan_only
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.scopes.calls import calls_left
from link_peer.engine.scopes.pair import PairScope, outcome_record, pair_among
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.claims import sources_of
from link_peer.runtime.ports import Record

Pairs = Mapping[Link, Party | None]
"""Pairs to look at, mutual and in the asker's direction, the ones first that differ most likely; each with the instance
whose tag names it, where that is known."""


class Differences(msgspec.Struct, frozen=True):
    """The pairs that differ, those first that something is closed for; how many are `unread_pairs`; and outcomes for
    those that are denied as they stand."""

    pairs: tuple[Link, ...]
    unread_pairs: int
    denied: tuple[Record, ...]


def differences(scope: Scope, pairs: Pairs) -> Differences:
    """Judges pairs with what a scope has read, and what more the calls of one message allow. Trouble with an account is
    noted in the scope's store, and decides nothing."""
    work = msgspec.structs.replace(scope.work, fetch=scope.fetch.tolerant())
    judged = PairScope(work, PairReads(work.fetch, scope, pairs).read())
    plan = plan_only(judged, RemovalGuard(scope.policy.limits.removals_per_run))
    closing = [pair for d in plan.decisions if d.removals and (pair := judged.pair_of(d.link))]
    changed = [pair for d in plan.decisions if d.edits and (pair := judged.pair_of(d.link))]
    denied = [d for d in plan.decisions if d.outcome in ("denied", "failed")]
    return Differences(
        tuple(dict.fromkeys([*closing, *changed])),
        len(pairs) - len(judged.whole),
        tuple(outcome_record(judged, decision) for decision in denied),
    )


class PairReads(msgspec.Struct, frozen=True):
    """Reads for several pairs, as far as the calls of one message allow it."""

    fetch: Fetch
    scope: Scope
    pairs: Pairs

    def read(self) -> dict[Link, frozenset[Party]]:
        """The parties of all pairs; then, pair by pair, the instances that may ask and the rules of the links. Returns
        the pairs of which all was read, each with the groups that may stand for those who ask."""
        fetch, store, scope = self.fetch, self.fetch.store, self.scope
        whole: dict[Link, frozenset[Party]] = {}
        fetch.parties({end for pair in self.pairs for end in (pair.source, pair.target)})
        todo = list(self.pairs)
        while part := self._affordable_part(todo):
            todo = todo[len(part) :]
            fetch.members(self._askers(part))
            snapshot = store.snapshot()
            wishes = scope.wishes(snapshot, snapshot.instances.values())
            sources = {pair: sources_of(snapshot, wishes, pair) for pair in part}
            links = [w.link for w in wishes if pair_among(sources, w.link)]
            needed = (scope.needed_groups(snapshot, links) & snapshot.groups.keys()) - store.rules.keys()
            if len(needed) <= calls_left(fetch):  # others of the askers' groups may hold halves of mutual links
                fetch.rules(needed)
                whole |= sources
        return whole

    def _affordable_part(self, todo: list[Link]) -> list[Link]:
        """The next pairs, as many as may be read side by side with the calls that are left."""
        sizes = range(min(self.scope.delivery.throughput.readers, len(todo)), 0, -1)
        return next((todo[:size] for size in sizes if self._cost(todo[:size]) <= calls_left(self.fetch)), [])

    def _cost(self, part: Sequence[Link]) -> int:
        store = self.fetch.store
        rules = {group for pair in part for group in self._groups(pair)} - store.rules.keys()
        return len(rules) + len(self._askers(part) - store.complete_groups)

    def _groups(self, pair: Link) -> list[Party]:
        """The groups whose rules must be read for a pair, as far as that can be told before."""
        if pair.source.is_group:
            return [pair.source, pair.target]
        target = self.fetch.store.instances.get(pair.target)
        return list(target.own_groups) if target else []

    def _askers(self, part: Iterable[Link]) -> set[Party]:
        return {pair.source for pair in part if pair.source.is_group and self.pairs[pair] is None}


def peers_at_home(instances: Iterable[Instance], policy: Policy) -> list[Party]:
    """The peers that instances of home name, as far as they are wished for and in this account."""
    limit = policy.limits.max_peers
    peers_of_tags = [
        peer for instance in instances for _, peer in peers(instance.tags, policy.home, policy.keys)[:limit]
    ]
    parties = [peer.party for peer in peers_of_tags if isinstance(peer, Peer)]
    return [party for party in dict.fromkeys(parties) if party.account == policy.home]
