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


def test_an_event_dated_in_the_future_is_not_awaited(lab: Lab) -> None:
    """A clock may be slightly ahead, but anyone who may publish events can date them freely."""
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(60))) == {}
    assert len(lab.queued(after=10)) == 1
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(302))) == {"denied": 1}
    assert lab.outcome()["reason"] == "instance-gone"
    assert lab.queued(after=10) == []


def test_an_instance_that_is_still_not_shown_after_five_minutes_is_gone(lab: Lab) -> None:
    """Denied and acknowledged: another look would not help."""
    lab.instance(lab.group())
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-300))) == {"denied": 1}
    record = lab.outcome()
    assert (record["reason"], record["from"]) == ("instance-gone", "i-bp1late")
    assert lab.queued(after=10) == []


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


def test_an_address_that_is_shown_late_is_used_by_a_look(lab: Lab) -> None:
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    instance.ip_visible_from = lab.cloud.clock.now() + 20
    assert lab.auto_link(lab.event(instance)) == {}
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]


def test_a_new_peer_instance_that_is_not_shown_yet_is_awaited(lab: Lab) -> None:
    """Of two instances launched together, one may be shown first. The other link is made meanwhile."""
    app, db = lab.group(), lab.group("*")
    tags = {"link-peer": f"i-bp1late:tcp/1 {db.id}:tcp/2"}
    instance = lab.instance(app, tags=tags)
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/2"]
    assert "i-bp1late" in lab.records("attempt")[-1]["detail"]

    (look,) = lab.queued(after=10)
    assert look["party"]["party"] == instance.id
    lab.cross_account(look)
    assert lab.records(outcome="denied") == []

    assert lab.drain(600)["denied"] == 1
    assert [record["reason"] for record in lab.records(outcome="denied")] == ["instance-gone"]
    assert lab.queued(after=600) == []


def test_a_new_peer_instance_that_is_shown_late_is_linked(lab: Lab) -> None:
    """By the look at the instance that names it."""
    db, late = lab.group("*"), "i-bp1late000000000000"
    instance = lab.instance(lab.group(), tags={"link-peer": f"{late}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {}
    target = lab.instance(db, instance_id=late)
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]


def test_an_event_without_a_time_is_not_looked_at_again(lab: Lab) -> None:
    """It would be unknown when to stop."""
    lab.instance(lab.group())
    event = lab.event("i-bp1late", "Created")
    del event["time"]
    assert lab.auto_link(event) == {"denied": 1}
    assert lab.queued(after=10) == []


def test_a_rule_stays_while_its_peers_address_is_not_shown(lab: Lab) -> None:
    """The instance is looked at again, and the existing rule stays throughout."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.started(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    (rule,) = lab.raw_rules(db)
    target.ip_visible_from = lab.cloud.clock.now() + 60
    assert lab.auto_link(lab.event(instance)) == {}
    assert lab.raw_rules(db) == [rule]
    assert lab.drain(120) == {"unchanged": 1}
    assert lab.raw_rules(db) == [rule]
