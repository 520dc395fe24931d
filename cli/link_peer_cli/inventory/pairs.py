"""What becomes of packets between the instances of two parties."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence

import msgspec
from link_peer.domain.model import Instance, Party, Port
from link_peer.domain.snapshot import Snapshot
from link_peer.planning.effect import Effect, End, between, end_in, end_of

from link_peer_cli.inventory.scene import Scene

LIMIT = 500
"""Pairs of instances that are judged one by one, where their addresses matter."""


class Reach(msgspec.Struct, frozen=True):
    """The effect for the first pair that fares worst, with how many pairs were judged, and how many of them pass.

    Without instances, `pairs` is 0, and the effect is that for an instance that would be in these groups only.
    """

    effect: Effect
    pairs: int = 0
    passing: int = 0
    ends: tuple[Party, Party] | None = None

    @property
    def detail(self) -> str:
        """What decides, and for which of many pairs."""
        if self.effect.passes or self.ends is None or self.pairs < 2:
            return self.effect.detail
        if not self.passing:
            return f"{self.effect.detail}; none of {self.pairs} pairs of instances passes"
        source, dest = self.ends
        rest = f"{self.passing} of {self.pairs} pairs of instances pass"
        return f"from {source.id} to {dest.id}: {self.effect.detail}; {rest}"


def reach(scene: Scene, source: Party, target: Party, ports: Sequence[Port]) -> Reach:
    """Whether packets get from every instance of one party to every instance of the other."""
    pairs = [(a, b) for a in scene.members(source) for b in scene.members(target) if a.party != b.party]
    if pairs:
        return _worst(scene.snapshot, pairs, ports)
    start, end = _end(scene, source), _end(scene, target)
    if start is None or end is None:
        missing = [str(party) for party, found in ((source, start), (target, end)) if found is None]
        return Reach(Effect(None, f"{' and '.join(missing)} was not read"))
    return Reach(between(scene.snapshot, start, end, ports))


def _worst(snapshot: Snapshot, pairs: Sequence[tuple[Instance, Instance]], ports: Sequence[Port]) -> Reach:
    """Most instances of a group are alike: those with the same groups are judged once, unless their addresses matter."""
    judge = functools.cache(lambda a, b: between(snapshot, a, b, ports))
    counted: Counter[bool | None] = Counter()
    first: dict[bool | None, tuple[Effect, tuple[Party, Party]]] = {}
    left = LIMIT
    for a, b in pairs:
        ends = end_of(a), end_of(b)
        effect = judge(*(msgspec.structs.replace(end, ip="") for end in ends))
        if effect.passes is None and left:
            left -= 1
            effect = judge(*ends)
        counted[effect.passes] += 1
        first.setdefault(effect.passes, (effect, (a.party, b.party)))
    for passes in (False, None, True):
        if passes in first:
            effect, worst = first[passes]
            return Reach(effect, len(pairs), counted[True], worst)
    raise AssertionError("unreachable: there is a pair")


def _end(scene: Scene, party: Party) -> End | None:
    return end_in(scene.snapshot, party) if party.is_group else next(map(end_of, scene.members(party)), None)
