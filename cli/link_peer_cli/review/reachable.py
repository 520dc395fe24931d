"""Which instances another policy would let reach which others, as the cloud is now."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from link_peer.domain.model import ALL, Party, ports_text
from link_peer.domain.snapshot import Snapshot
from link_peer.engine.scopes.everything import Sweep
from link_peer.planning.reach import Scene
from link_peer.planning.reachable import Reached, differing, reachable

from link_peer_cli.answers.changes import ReachChange
from link_peer_cli.inventory.reading import View
from link_peer_cli.review.cloud import WhatIf
from link_peer_cli.review.plans import number
from link_peer_cli.ui.markdown import Section, row

MOST = 10
"""Gains, and losses, that text shows."""


def changed_reach(sweep: Sweep, before: WhatIf, after: WhatIf) -> list[ReachChange]:
    """What instances gain and lose between the rules that two dry runs leave. The sweep has read every instance, and reads what
    else decides."""
    view = View(sweep.fetch, sweep.policy)

    def states() -> list[Snapshot]:
        seen = view.scene.snapshot
        return [msgspec.structs.replace(seen, rules={**seen.rules, **cloud.rules()}) for cloud in (before, after)]

    view.deciding([(one.source, one.target) for _, one in differing(*states())])
    scene = view.scene
    return [_answer(scene, one) for one in reachable(*states())]


def _answer(scene: Scene, one: Reached) -> ReachChange:
    verb = "gain" if one.sign == "+" else "lose"
    verb = f"may {verb}" if not one.sure else f"{verb}s" if one.sources == 1 else verb
    ports = "all ports" if one.ports == (ALL,) else ports_text(one.ports)
    text = f"{_side(scene, one.source, one.sources)} {verb} {ports} to {_side(scene, one.target, one.targets)}"
    text += " (not all of them could be read)" if one.pairs is None else ""
    ends = str(one.source), str(one.target), ports_text(one.ports)
    return ReachChange(one.sign, one.sure, *ends, one.sources, one.targets, one.pairs, text)


def _side(scene: Scene, party: Party, count: int | None) -> str:
    """`12 instances of sg-app@<uid> (orders)`; an instance by itself, unless others have its address, too."""
    if not party.is_group and count in (None, 1):
        return scene.titled(party)
    instances = "instances" if count is None else number(count, "instance")
    return f"{instances} {'of' if party.is_group else 'with the address of'} {scene.titled(party)}"


def lines(found: Sequence[ReachChange]) -> list[tuple[str, str]]:
    """The largest gains and losses, each with its sign, and how many there are besides."""
    chosen: list[tuple[str, str]] = []
    for sign in "+-":
        some = [(sign, one.text) for one in found if one.sign == sign]
        chosen += some[:MOST]
        if len(some) > MOST:
            chosen.append((sign, f"and {len(some) - MOST:,} smaller ones"))
    return chosen


def section(found: Sequence[ReachChange]) -> Section:
    """All of it in Markdown."""
    rows = [row(one.sign, one.text) for one in found]
    return Section(
        "gains and losses of instances", rows, ("", "| | who reaches what, as the cloud is now |", "|---|---|")
    )
