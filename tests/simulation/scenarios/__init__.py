"""The scenarios whose histories are all tried, by subject."""

from __future__ import annotations

from tests.simulation.explore import Scenario
from tests.simulation.scenarios.addresses import ADDRESSES
from tests.simulation.scenarios.claims import CLAIMS
from tests.simulation.scenarios.consents import CONSENTS
from tests.simulation.scenarios.instances import INSTANCES
from tests.simulation.scenarios.neighbours import NEIGHBOURS
from tests.simulation.scenarios.people import PEOPLE
from tests.simulation.scenarios.queues import QUEUES
from tests.simulation.scenarios.sweeps import SWEPT

SCENARIOS: dict[str, Scenario] = {
    claim.name: claim for claim in [*CLAIMS, *PEOPLE, *CONSENTS, *INSTANCES, *QUEUES, *NEIGHBOURS, *ADDRESSES, *SWEPT]
}
"""Each scenario by its name."""
