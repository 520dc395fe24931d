"""Which groups' rules an event reads: the calls of a state change do not grow with the account."""

from __future__ import annotations

import pytest
from link_peer.engine.scopes.instances import SCAN_ALWAYS

from tests.functional.lab import MANAGED, Lab


def reads(lab: Lab) -> int:
    return lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")


@pytest.mark.parametrize(("more", "all_groups"), [(0, True), (1, False)])
def test_a_state_change_reads_every_managed_group_up_to_a_hundred(lab: Lab, more: int, all_groups: bool) -> None:
    """Beyond that, those of the instance and of its peers. Its link is written and kept in either case."""
    app, db = lab.group(tags={MANAGED: "true"}), lab.group("*", tags={MANAGED: "true"})
    for _ in range(SCAN_ALWAYS - 2 + more):
        lab.group(tags={MANAGED: "true"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    before = reads(lab)
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    assert reads(lab) - before == (SCAN_ALWAYS if all_groups else 2)
    assert lab.rules(db) == [f"{app.id} tcp/1"]
