"""The scenarios whose histories are all tried, by subject."""

from __future__ import annotations

from itertools import chain

from tests.simulation.explore import Scenario
from tests.simulation.scenarios.addresses import ADDRESSES
from tests.simulation.scenarios.both_ends import BOTH_ENDS
from tests.simulation.scenarios.claims import CLAIMS
from tests.simulation.scenarios.consents import CONSENTS
from tests.simulation.scenarios.instances import INSTANCES
from tests.simulation.scenarios.kept import KEPT
from tests.simulation.scenarios.neighbours import NEIGHBOURS
from tests.simulation.scenarios.people import PEOPLE
from tests.simulation.scenarios.queues import QUEUES
from tests.simulation.scenarios.sweeps import SWEPT

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in chain(CLAIMS, PEOPLE, CONSENTS, INSTANCES, QUEUES, NEIGHBOURS, ADDRESSES, BOTH_ENDS, KEPT, SWEPT)
}
"""Each scenario by its name."""
