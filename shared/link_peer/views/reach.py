"""What becomes of packets between the instances of two parties."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import msgspec

from link_peer.domain.grouped import grouped
from link_peer.domain.model import Group, Instance, Party, Port
from link_peer.domain.snapshot import Snapshot
from link_peer.domain.tags import clean
from link_peer.planning import effect_text
from link_peer.planning.effect import Effect, End, absent, between, end_of, end_of_party, word_of


class Scene:
    """A snapshot, indexed by group."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def members(self, party: Party) -> list[Instance]:
        """The instance, or the instances of the group, as far as they were read."""
        if party.is_group:
            return self._members.get(party, [])
        return [self.snapshot.instances[party]] if party in self.snapshot.instances else []

    @functools.cached_property
    def _members(self) -> dict[Party, list[Instance]]:
        instances = self.snapshot.instances.values()
        return grouped((group, instance) for instance in instances for group in instance.own_groups)

    @functools.cached_property
    def holders(self) -> dict[str, list[Instance]]:
        """The instances by address: `10.0.0.7/32`."""
        return grouped((f"{instance.ip}/32", instance) for instance in self.snapshot.instances.values())

    def complete(self, party: Party) -> bool:
        """Whether every member of the group, or the instance, was read."""
        snapshot = self.snapshot
        read = party.account in snapshot.whole_accounts or party in snapshot.complete_groups or not party.is_group
        return read and snapshot.readable(party.account)

    def groups(self, party: Party) -> set[Party]:
        """Every group whose rules apply to the instance, or to an instance of the group."""
        groups = {group for member in self.members(party) for group in member.own_groups}
        return groups | {party} if party.is_group else groups

    def name(self, party: Party) -> str:
        """The name of a group or instance; empty if it has none, or was not read."""
        resource: Group | Instance | None = self.snapshot.groups.get(party) or self.snapshot.instances.get(party)
        return clean(resource.name) if resource and resource.name != party.id else ""

    def titled(self, party: Party) -> str:
        """A party with its account and its name: `sg-…@<uid> (orders)`."""
        name = self.name(party)
        return f"{party} ({name})" if name else str(party)


LIMIT = 500
"""Pairs of instances that are judged one by one, where their addresses matter."""


Pair = tuple[Party, Party]


class Reach(msgspec.Struct, frozen=True):
    """The effect for the first pair whose packets are stopped, or may be."""

    effect: Effect
    # how many were judged; 0 without instances: then the effect is that for an instance in these groups only
    pairs: int = 0
    passing: int = 0  # how many of them pass
    ends: Pair | None = None
    other_results: frozenset[bool | None] = frozenset()  # what becomes of other packets than those of this effect
    doubt: tuple[Effect, Pair] | None = None  # the first effect and pair of which something is not known

    @property
    def word(self) -> str:
        """`open`, `partly`, `blocked` or `unknown`."""
        return word_of(self.effect.outcomes | self.other_results)

    @property
    def detail(self) -> str:
        """What decides, in words, and for which of many pairs."""
        effect, ends = self.effect, self.ends
        if self.word == "unknown" and self.doubt:
            effect, ends = self.doubt
        detail = effect_text.detail(effect)
        if effect.passes or self.pairs < 2:
            return detail
        if not self.passing:
            outcome = "is known to pass" if self.word == "unknown" else "passes"
            return f"{detail}; none of {self.pairs} pairs of instances {outcome}"
        assert ends is not None  # noqa: S101  # of pairs, there is a first one
        source, dest = ends
        counts = f"{self.passing} of {self.pairs} pairs of instances pass"
        return f"from {source.id} to {dest.id}: {detail}; {counts}"


def both_ways(forward: Reach, back: Reach) -> Reach:
    """What becomes of the packets of a mutual link, said of the worse direction."""
    order = {False: 0, None: 1, True: 2}
    worse, better = sorted((forward, back), key=lambda direction: order[direction.effect.passes])
    doubt = worse.doubt or better.doubt
    return msgspec.structs.replace(
        worse, other_results=worse.other_results | better.other_results | better.effect.outcomes, doubt=doubt
    )


def reach(scene: Scene, source: Party, target: Party, ports: Sequence[Port], only: Collection[Party] = ()) -> Reach:
    """Whether packets get from every instance of one party to every instance of the other. `only` are the instances
    that count as the source, wherever they are now."""
    sources = [instance for party in only or [source] for instance in scene.members(party)]
    targets = scene.members(target)
    if judged := among(scene.snapshot, sources, targets, ports):
        return judged
    start, end = end_of_party(scene.snapshot, source), end_of_party(scene.snapshot, target)
    if start is None or end is None:
        missing = [party for party, group in ((source, start), (target, end)) if group is None]
        return Reach(absent(missing))
    receivers = targets or [anyone_in(scene.snapshot, target)]
    judged = among(scene.snapshot, sources or [anyone_in(scene.snapshot, source)], receivers, ports)
    judged = judged or Reach(between(scene.snapshot, start, end, ports))
    return msgspec.structs.replace(judged, pairs=0, passing=0, ends=None)


def anyone_in(snapshot: Snapshot, group: Party, ip: str = "") -> Instance:
    """An instance that is in this group only."""
    shown_group = snapshot.groups.get(group)
    return Instance(
        Party(group.account, f"a member of {group.id}"), shown_group.vpc if shown_group else "", (group.id,), ip
    )


def among(
    snapshot: Snapshot, sources: Sequence[Instance], targets: Sequence[Instance], ports: Sequence[Port]
) -> Reach | None:
    """Whether packets get from each of these instances to each of those; None where there is no pair of them."""
    judged = _Judged(snapshot, ports)
    for a, alike_sources in alike(sources).items():
        for b, alike_targets in alike(targets).items():
            judged.add(a, b, alike_sources, alike_targets)
    return judged.worst() if judged.counted else None


def alike(members: Iterable[Instance]) -> dict[End, list[Instance]]:
    """The instances that differ in their addresses only: most instances of a group."""
    return grouped((msgspec.structs.replace(end_of(member), ip=""), member) for member in members)


class _Judged:
    """The effects for pairs of instances: how many have each, and the first pair of each. Pairs that are alike are
    judged together, unless their addresses matter."""

    def __init__(self, snapshot: Snapshot, ports: Sequence[Port]) -> None:
        self.counted: Counter[bool | None] = Counter()
        self._first: dict[bool | None, tuple[Effect, Pair]] = {}
        self._outcomes: frozenset[bool | None] = frozenset()
        self._doubt: tuple[Effect, Pair] | None = None
        self._judge = functools.partial(between, snapshot)
        self._ports = ports
        self._budget = LIMIT

    def add(self, a: End, b: End, sources: Sequence[Instance], targets: Sequence[Instance]) -> None:
        """Judge every source with every target, alike in `a` and `b`. An instance is no pair with itself."""
        pairs = ((source, target) for source in sources for target in targets if source.party != target.party)
        count = len(sources) * len(targets) - len(
            {target.party for target in sources} & {target.party for target in targets}
        )
        if not count:
            return
        effect = self._judge(a, b, self._ports)
        if None in effect.outcomes:
            for sender, receiver in itertools.islice(pairs, self._budget):
                self._note(self._judge(end_of(sender), end_of(receiver), self._ports), (sender, receiver))
                self._budget -= 1
                count -= 1
        if count:
            self._note(effect, next(pairs), count)

    def worst(self) -> Reach:
        """The worst effect (blocked, then unknown), with its first pair."""
        for passes in (False, None, True):
            if passes in self._first:
                effect, ends = self._first[passes]
                return Reach(effect, self.counted.total(), self.counted[True], ends, self._outcomes, self._doubt)
        raise AssertionError("unreachable: there is a pair")

    def _note(self, effect: Effect, pair: tuple[Instance, Instance], count: int = 1) -> None:
        self.counted[effect.passes] += count
        example = effect, (pair[0].party, pair[1].party)
        self._first.setdefault(effect.passes, example)
        self._outcomes |= effect.outcomes
        self._doubt = self._doubt or (example if None in effect.outcomes else None)
