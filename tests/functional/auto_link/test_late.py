"""auto_link and eventual consistency: instances, tags and addresses may be shown some time after the event."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab


@pytest.mark.parametrize("age", [0, 299])
def test_a_new_instance_that_is_not_shown_yet_is_looked_at_again(lab: Lab, age: int) -> None:
    """A look is posted with a delay; it expires five minutes after the event's time. The log has an attempt and no
    outcome."""
    lab.instance(lab.group())
    expires = lab.iso(300 - age)
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-age))) == {}
    assert lab.records() == []
    (attempt,) = lab.records("attempt")
    assert "i-bp1late" in attempt["detail"]
    assert lab.queued() == []
    assert lab.queued(after=10) == [lab.look("i-bp1late", expires)]


def test_a_look_at_an_instance_that_is_never_shown_ends_without_a_record(lab: Lab) -> None:
    """It was released before it was ever seen: no denial and no dead letter. The look that has expired is the last."""
    lab.instance(lab.group())
    lab.auto_link(lab.event("i-bp1late", "Created"))
    assert lab.drain(290) == {}
    assert lab.queued(after=60) != []
    lab.auto_link(lab.event("i-bp1late", "Created"))
    assert lab.drain(700) == {}
    assert lab.queued(after=3600) == []
    assert lab.records() == []


def test_an_instance_that_is_shown_late_is_linked_by_a_look(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.read_lag.instances = 30
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance, "Created")) == {}
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_instance_link_waits_for_the_address_of_a_new_instance(lab: Lab, end: str) -> None:
    """The instance is looked at again for five minutes, and the last look denies `no-private-ip`; no rule is ever written
    with an empty address."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    late = instance if end == "source" else target
    late.ip_visible_from = lab.cloud.clock.now() + 3600
    assert lab.auto_link(lab.event(instance)) == {}
    assert lab.rules(db) == []
    assert "no private address" in lab.records("attempt")[-1]["detail"]

    assert lab.drain(290) == {}
    assert lab.drain(400) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-private-ip"
    assert late.id in lab.outcome()["detail"]
    assert lab.changes() == 0


def test_a_new_peer_instance_that_is_shown_late_is_linked(lab: Lab) -> None:
    """By the look at the instance that names it."""
    db, late = lab.group("*"), "i-bp1late000000000000"
    instance = lab.instance(lab.group(), tags={"link-peer": f"{late}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {}
    target = lab.instance(db, instance_id=late)
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]
