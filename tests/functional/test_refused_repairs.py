"""Someone changes the priority of one rule of a healthy mutual link, and the cloud refuses to put it back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.lab import PEER, Lab

World = tuple[Group, Group, Callable[[], object]]


def event(lab: Lab) -> World:
    """A link by tag, and an event of its instance."""
    app, db = lab.group("*"), lab.group("*")
    found = lab.event(lab.instance(app, tags={"link-peer": db.id}))
    lab.auto_link(found)
    return app, db, lambda: lab.auto_link(found)


def sync(lab: Lab) -> World:
    """A link by tag of two accounts, and the message for the pair."""
    a, b = lab.pair()
    lab.auto_link(lab.event(lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}"})))
    (message,) = lab.queued()
    lab.cross_account(message)
    return a, b, lambda: lab.cross_account(message)


def sweep(lab: Lab) -> World:
    """A link by tag, and the timer."""
    app, db, _ = event(lab)
    return app, db, lab.sweep


@pytest.mark.parametrize("side", [0, 1], ids=["source", "target"])
@pytest.mark.parametrize("world", [event, sync, sweep])
@pytest.mark.parametrize(("code", "status"), [("Forbidden.RAM", 403), ("InvalidParam.Unheard", 400)])
def test_both_sides_stay_where_the_repair_is_refused(
    lab: Lab, world: Callable[[Lab], World], side: int, code: str, status: int
) -> None:
    """Both rules stood before the delivery, so it has nothing to take back. Once the refusal ends, the repair is made."""
    source, target, run = world(lab)
    changed = (source, target)[side]
    lab.modify(changed, lab.raw_rules(changed)[0], Priority="1")
    before = lab.raw_rules(source), lab.raw_rules(target)
    lab.fault(service="ecs", action="ModifySecurityGroupRule", kind="error", code=code, status=status, times=None)
    run()
    assert (lab.raw_rules(source), lab.raw_rules(target)) == before
    lab.cloud.faults.clear()
    run()
    assert [int(rule["Priority"]) for group in (source, target) for rule in lab.raw_rules(group)] == [100, 100]
