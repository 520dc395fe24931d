"""Groups that refuse new rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from link_peer.domain.model import Party

from tests.simulation import oracle
from tests.simulation.explore import Facts, Scenario
from tests.simulation.invariants import hold
from tests.simulation.messages import sweep_message
from tests.simulation.scenarios.common import (
    APP,
    DB,
    POLICY,
    half_an_hour_later,
    outcomes_of,
    redeliver_and_check,
    request,
    sweep_and_check,
    two_accounts,
)
from tests.simulation.world import World


def one_side_refuses(side: Party, **options: Any) -> Scenario:
    """One group refuses new rules, which only the change itself shows: neither side gets a rule."""
    r1, r2 = request("r-1", "r-1"), request("r-2", "r-2")

    def start() -> World:
        world = two_accounts()
        world.full.add(side)
        return world

    def end(world: World, facts: Facts) -> None:
        not_redelivered = world.copy()
        not_redelivered.queue.clear()
        sweep_and_check(not_redelivered)
        ours = oracle.owned(half_an_hour_later(not_redelivered), POLICY)
        hold("I3", ours == {}, f"rules exist after a sweep, though {side} refuses: {ours}")
        all_facts = redeliver_and_check(world, facts, (r1, r2))
        ours = oracle.owned(half_an_hour_later(world), POLICY)
        hold("I3", ours == {}, f"rules exist after redelivery, though {side} refuses: {ours}")
        for message in (r1, r2):
            outcomes = outcomes_of(all_facts, message.name) - {("denied", "no-access"), ("removed", "no-access")}
            hold("I4", outcomes <= {("failed", "quota"), ("removed", "quota")}, f"{message.name} ended {outcomes}")

    return Scenario(f"{side.id} refuses", start, POLICY, ((r1, r1), (r2, r2)), end, **options)


def partial_authorize(**options: Any) -> Scenario:
    """An Authorize call for three rules makes two and refuses the third: in the end there are none."""
    link = request("r-1", "r-1", "tcp/1", "tcp/2", "tcp/3")

    def start() -> World:
        world = two_accounts()
        world.all_rules, world.partial_authorize = 2, True
        return world

    def end(world: World, _facts: Facts) -> None:
        # redelivered although acknowledged: its second delivery may have been killed halfway
        redeliver_and_check(world, frozenset(), (link,))
        ours = oracle.owned(world, POLICY)
        hold("I3", ours == {}, f"rules exist though the request failed: {ours}")

    return Scenario("partial authorize", start, POLICY, ((link, link), (sweep_message(),)), end, **options)


REFUSALS: list[Callable[..., Scenario]] = [
    lambda **options: one_side_refuses(APP, **options),
    lambda **options: one_side_refuses(DB, **options),
    partial_authorize,
]
