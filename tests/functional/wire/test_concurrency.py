"""Many concurrent deliveries over HTTP, on a slow and faulty cloud, end in the desired and recorded state."""

from __future__ import annotations

import pytest

from tests.functional.crowd import Crowd
from tests.functional.wire_lab import WireLab

pytestmark = pytest.mark.http


@pytest.mark.knobs(trail_resources="referencedResources", state_content="data")
@pytest.mark.parametrize("faulty", [("ecs", "sts"), ("ecs", "sts", "sls")], ids=["cloud", "cloud-and-log"])
def test_concurrent_deliveries_reach_the_desired_state(wire_lab: WireLab, faulty: tuple[str, ...]) -> None:
    """Duplicates, requests and sweeps together; then changes and unlinks. After each, a sweep without faults finds
    the desired state."""
    crowd = Crowd(wire_lab)
    everything = {app.id: [] for app in crowd.apps}

    crowd.faults(faulty)
    crowd.settle(
        crowd.events(wire_lab.event), crowd.requests("link", "chg", crowd.pairs), crowd.sweeps("2026-11-25T00:00", 2)
    )
    wire_lab.cloud.faults.clear()
    crowd.settle(crowd.sweeps("2026-11-25T00:01", 1))
    assert crowd.rules() == crowd.wanted(everything, crowd.pairs)

    for instance in crowd.instances[:5]:
        wire_lab.tag(instance, link_peer=crowd.peers("tcp/3306", "tcp/5432"))
    crowd.faults(faulty)
    crowd.settle(
        crowd.events(wire_lab.tag_event),
        crowd.requests("unlink", "end", crowd.pairs[:2]),
        crowd.sweeps("2026-11-25T00:02", 2),
    )
    wire_lab.cloud.faults.clear()
    crowd.settle(crowd.sweeps("2026-11-25T00:03", 1))
    fewer = everything | {app.id: ["tcp/3306", "tcp/5432"] for app in crowd.apps[:5]}
    assert crowd.rules() == crowd.wanted(fewer, crowd.pairs[2:])

    crowd.check_intents()
    crowd.check_outcomes()
    if "sls" not in faulty:
        crowd.check_requests_recorded()
