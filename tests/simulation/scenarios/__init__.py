"""The scenarios whose histories are all tried, by subject."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.explore import Scenario
from tests.simulation.scenarios.addresses import ADDRESSES
from tests.simulation.scenarios.claims import CLAIMS
from tests.simulation.scenarios.consents import CONSENTS
from tests.simulation.scenarios.instances import INSTANCES
from tests.simulation.scenarios.neighbours import NEIGHBOURS
from tests.simulation.scenarios.people import PEOPLE
from tests.simulation.scenarios.queues import QUEUES
from tests.simulation.scenarios.sweeps import SWEPT

SCENARIOS: dict[str, Callable[..., Scenario]] = {
    make().name: make for make in [*CLAIMS, *PEOPLE, *CONSENTS, *INSTANCES, *QUEUES, *NEIGHBOURS, *ADDRESSES, *SWEPT]
}
"""What makes each scenario, by its name; takes the options of `Scenario` (kinds, faults, calls)."""
