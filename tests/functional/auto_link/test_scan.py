"""Which other groups' rules an event reads: those that name the instance's own groups."""

from __future__ import annotations

import pytest
from link_peer.engine.scopes.instances import FEW_OTHERS

from tests.functional.lab import Lab


def reads(lab: Lab) -> int:
    return lab.cloud.faults.count("ecs", "DescribeSecurityGroupAttribute")


@pytest.mark.parametrize(("more", "state", "removed"), [(0, True, True), (1, True, False), (1, False, True)])
def test_a_lost_event_is_made_up_for_by_the_next_one(lab: Lab, more: int, state: bool, removed: bool) -> None:
    """Where the group has rules in very many others, a state change leaves that to the sweep, and a tag change does not."""
    app = lab.group()
    groups = [lab.group("*") for _ in range(FEW_OTHERS + more)]
    lost = lab.instance(app, tags={f"link-peer.{n:02}": f"{db.id}:tcp/1" for n, db in enumerate(groups[:10])})
    others = [lab.instance(app, tags={f"link-peer.{n:02}": f"{db.id}:tcp/1" for n, db in enumerate(groups[10:])})]
    lab.auto_link(lab.event(lost), *(lab.event(other) for other in others))
    lab.tag(lost, **{f"link-peer.{n:02}": None for n in range(10)})
    before = reads(lab)
    lab.auto_link(lab.event(lost) if state else lab.tag_event(lost))
    assert (lab.rules(groups[0]) == []) is removed
    assert (reads(lab) > before) is removed
    assert lab.rules(groups[-1]) == [f"{app.id} tcp/1"]
