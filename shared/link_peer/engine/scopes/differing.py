"""Which pairs differ from what tags and consent ask for: read and planned as a sync would, and not carried out.

A look posts messages for these alone. So one message does not become many while nothing is to be changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import msgspec

from link_peer.domain.model import Claim, Instance, Link, Party, Rule
from link_peer.domain.policy import Policy
from link_peer.domain.snapshot import Address, Snapshot
from link_peer.domain.tags import Peer, peers
from link_peer.engine.converge import Scope, plan_only
from link_peer.engine.read.fetch import Fetch
from link_peer.engine.records import Circumstances, decision_record
from link_peer.engine.write.removal_guard import RemovalGuard
from link_peer.planning.claims import sources_of
from link_peer.planning.decision import Context, Decision, DesiredLink, MembersOf, Missing
from link_peer.planning.removals import May
from link_peer.runtime.ports import Record

CALLS = 50
"""Calls that one message costs at most while nothing is to be changed."""

_KEPT = 6  # of them for records, for sessions, and for what a plan asks to be read again

Pairs = Mapping[Link, Party | None]
"""Pairs to look at, mutual and in the asker's direction, the ones first that differ most likely; each with the instance whose
tag names it, where that is known."""


class Differences(msgspec.Struct, frozen=True):
    """The pairs that differ, those first that something is closed for; how many are `unread_pairs`; and outcomes for
    those that are denied as they stand."""

    pairs: tuple[Link, ...]
    unread_pairs: int
    denied: tuple[Record, ...]


def differences(scope: Scope, pairs: Pairs) -> Differences:
    """Judges pairs with what a scope has read, and what more the calls of one message allow. Trouble with an account is noted
    in the scope's store, and decides nothing."""
    judged = PairsScope(scope, pairs)
    judged.read()
    plan = plan_only(judged, RemovalGuard(scope.policy.limits.removals_per_run))
    closing = [pair for d in plan.decisions if d.removals and (pair := judged.pair_of(d.link))]
    changed = [pair for d in plan.decisions if d.edits and (pair := judged.pair_of(d.link))]
    denied = [d for d in plan.decisions if d.outcome in ("denied", "failed")]
    return Differences(
        tuple(dict.fromkeys([*closing, *changed])),
        len(pairs) - len(judged.whole),
        tuple(judged.record(decision) for decision in denied),
    )


class PairsScope(Scope):
    """Pairs of parties, as syncs of them would see them. `whole` are those of which all was read, each with the groups that may
    stand for those who ask."""

    def __init__(self, scope: Scope, pairs: Pairs) -> None:
        super().__init__(msgspec.structs.replace(scope.work, fetch=scope.fetch.tolerant()))
        self.pairs = pairs
        self.whole: dict[Link, frozenset[Party]] = {}

    @property
    def context(self) -> Context:
        """As that of a sync."""
        return Context(self.policy, self.delivery.region, self.started, ("sync", "sync"))

    def read(self) -> None:
        """The parties of all pairs; then, pair by pair, the instances that may ask and the rules of the links, as long as the
        calls allow it."""
        fetch, store = self.fetch, self.store
        ends = {end for pair in self.pairs for end in (pair.source, pair.target)}
        fetch.parties(ends)
        todo = list(self.pairs)
        while part := self._affordable_part(todo):
            todo = todo[len(part) :]
            fetch.members(self._askers(part))
            snapshot = store.snapshot()
            wishes = self.wishes(snapshot, snapshot.instances.values())
            sources = {pair: sources_of(snapshot, wishes, pair) for pair in part}
            links = [w.link for w in wishes if _pair_of(sources, w.link)]
            needed = (self.needed_groups(snapshot, links) & snapshot.groups.keys()) - store.rules.keys()
            if len(needed) <= calls_left(fetch):  # others of the askers' groups may hold halves of mutual links
                fetch.rules(needed)
                self.whole |= sources

    def desired(self, snapshot: Snapshot) -> list[DesiredLink]:
        """What the tags of all instances that were read ask for between the parties of pairs that were read."""
        wishes = [w for w in self.wishes(snapshot, snapshot.instances.values()) if self.pair_of(w.link)]
        return [w if _pair_of(self.whole, w.link) else msgspec.structs.replace(w, in_scope=False) for w in wishes]

    def may_lose(self, snapshot: Snapshot, rule: Rule, link: Link, claim: Claim) -> May:
        """Tags' claims on rules of these pairs."""
        is_this_pair = _pair_of(self.whole, link) or (link.mutual and self.pair_of(link))
        if not claim.is_tag or not is_this_pair:
            return May.KEEP
        return May.TAKE if snapshot.covers(link) else May.READ

    def affordable(self, missing: Missing) -> Missing:
        """What is missed, as far as calls are left for it. A pair that is left out counts as unread."""
        affordable_part = affordable(self.fetch, missing)
        for link in missing.unread - affordable_part.unread:
            if pair := self.pair_of(link):
                del self.whole[pair]
        return affordable_part

    def pair_of(self, link: Link) -> Link | None:
        """The pair that a link is of, if it was read."""
        return _pair_of(self.whole, link) or _pair_of(self.whole, Link(link.target, link.source))

    def record(self, decision: Decision) -> Record:
        """The outcome of a pair that stays as it is."""
        record = decision_record(decision, self.delivery.region, "outcome")
        return {**record, **Circumstances(self.fetch).effect(decision)}

    def _affordable_part(self, todo: list[Link]) -> list[Link]:
        """The next pairs, as many as may be read side by side with the calls that are left."""
        sizes = range(min(self.delivery.throughput.readers, len(todo)), 0, -1)
        return next((todo[:size] for size in sizes if self._cost(todo[:size]) <= calls_left(self.fetch)), [])

    def _cost(self, part: Sequence[Link]) -> int:
        rules = {group for pair in part for group in self._groups(pair)} - self.store.rules.keys()
        return len(rules) + len(self._askers(part) - self.store.complete_groups)

    def _groups(self, pair: Link) -> list[Party]:
        """The groups whose rules must be read for a pair, as far as that can be told before."""
        if pair.source.is_group:
            return [pair.source, pair.target]
        target = self.store.instances.get(pair.target)
        return [Party(pair.target.account, group) for group in target.groups[:1]] if target else []

    def _askers(self, part: Iterable[Link]) -> set[Party]:
        return {pair.source for pair in part if pair.source.is_group and self.pairs[pair] is None}


def calls_left(fetch: Fetch) -> int:
    """How many more reads one message may make while nothing is to be changed."""
    return CALLS - _KEPT - fetch.calls.total()


def affordable(fetch: Fetch, missing: Missing) -> Missing:
    """What a plan misses, as far as calls are left for it: what is not read stays undecided, and is the sweep's."""
    budget = max(0, calls_left(fetch))
    ordered = sorted(missing.questions, key=repr)  # a set has none, and the same event is to read the same
    addresses = [question for question in ordered if isinstance(question, Address)]  # two calls each
    numbers = [question for question in ordered if isinstance(question, MembersOf)]  # for the words of denials alone
    questions = missing.questions.difference(addresses[budget // 2 :], numbers[max(0, budget - 2 * len(addresses)) :])
    return msgspec.structs.replace(missing, unread=frozenset(sorted(missing.unread)[:budget]), questions=questions)


def peers_at_home(instances: Iterable[Instance], policy: Policy) -> list[Party]:
    """The peers that instances of home name, as far as they are wished for and in this account."""
    limit = policy.limits.max_peers
    peers_of_tags = [
        peer for instance in instances for _, peer in peers(instance.tags, policy.home, policy.keys)[:limit]
    ]
    parties = [peer.party for peer in peers_of_tags if isinstance(peer, Peer)]
    return [party for party in dict.fromkeys(parties) if party.account == policy.home]


def _pair_of(sources: Mapping[Link, Set[Party]], link: Link) -> Link | None:
    """The pair that a link is of, in its direction: each is given with the groups that may stand for those who ask."""
    own_pair = Link(link.source, link.target)
    matching_pairs = (pair for pair, groups in sources.items() if pair.target == link.target and link.source in groups)
    return own_pair if own_pair in sources else next(matching_pairs, None)
