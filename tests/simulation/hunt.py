"""Find a broken invariant by the name of a scenario or race."""

from __future__ import annotations

from typing import Any

from tests.simulation.explore import explore
from tests.simulation.interleave import race
from tests.simulation.races import RACES
from tests.simulation.scenarios import SCENARIOS

RACE_BY_NAME = {race.name: race for race in RACES}


def hunt(name: str, **options: Any) -> None:
    """Tries a scenario, its histories without faults first, or a race with up to two switches. Raises Broken."""
    if name in RACE_BY_NAME:
        race(RACE_BY_NAME[name], 2)
        return
    explore(SCENARIOS[name](faults=0))
    explore(SCENARIOS[name](**options))
