"""Every scenario and race by its name, and one way to try it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.simulation.explore import Scenario, explore
from tests.simulation.interleave import race
from tests.simulation.lifecycle import LIVES
from tests.simulation.races import RACES
from tests.simulation.scenarios import REQUESTS

SCENARIOS: dict[str, Callable[..., Scenario]] = {make().name: make for make in [*REQUESTS, *LIVES]}
BY_NAME = {race.name: race for race in RACES}


def hunt(name: str, **options: Any) -> None:
    """Tries a scenario, its clean histories first; or a race, with two turns. Raises Broken."""
    if name in BY_NAME:
        race(BY_NAME[name], 2)
        return
    explore(SCENARIOS[name](faults=0))
    explore(SCENARIOS[name](**options))
