"""auto_link and a cloud that is late: instances, tags and addresses that show after the event."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import Transient

from tests.functional.lab import Lab


@pytest.mark.parametrize("age", [0, 299])
def test_a_young_instance_that_is_not_shown_comes_again(lab: Lab, age: int) -> None:
    """Raised, so that the platform redelivers; the log has an attempt and no outcome."""
    lab.instance(lab.group())
    with pytest.raises(Transient, match="i-bp1late"):
        lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-age)))
    assert lab.records() == []
    (attempt,) = lab.records("attempt")
    assert "i-bp1late" in attempt["detail"]


def test_an_event_of_tomorrow_is_not_waited_for(lab: Lab) -> None:
    """A clock may be a little ahead; but whoever may put events can date them as he likes."""
    with pytest.raises(Transient):
        lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(60)))
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(302))) == {"denied": 1}
    assert lab.outcome()["reason"] == "instance-gone"


def test_an_instance_that_is_not_shown_for_five_minutes_is_gone(lab: Lab) -> None:
    """Denied and acknowledged: a redelivery would not bring it back."""
    lab.instance(lab.group())
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-300))) == {"denied": 1}
    record = lab.outcome()
    assert (record["reason"], record["from"]) == ("instance-gone", "i-bp1late")


def test_an_instance_that_shows_late_is_linked_at_the_redelivery(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.read_lag.instances = 30
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    event = lab.event(instance, "Created")
    with pytest.raises(Transient):
        lab.auto_link(event)
    lab.cloud.clock.advance(31)
    assert lab.auto_link(event) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_late_tags_are_found_by_the_next_event(lab: Lab) -> None:
    """Created comes before the tags, which is no error; Running, or the tag change itself, finds them."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app)
    assert lab.auto_link(lab.event(instance, "Created")) == {}
    lab.tag(instance, link_peer=f"{db.id}:tcp/1")
    assert lab.auto_link(lab.event(instance, "Running")) == {"applied": 1}
    assert lab.auto_link(lab.tag_event(instance, "TagResources")) == {"unchanged": 1}


def test_events_out_of_order_end_in_the_same_place(lab: Lab) -> None:
    """A late Created after the tag was taken off again does not bring the link back."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    created = lab.event(instance, "Created")
    lab.auto_link(lab.event(instance, "Running"))
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.auto_link(created) == {}
    assert lab.rules(db) == []


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_instance_link_waits_for_a_young_instances_address(lab: Lab, end: str) -> None:
    """Raised while it may still come, denied `no-private-ip` later; never a rule with an empty address."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    late = instance if end == "source" else target
    late.ip_visible_from = lab.cloud.clock.now() + 3600
    event = lab.event(instance)
    with pytest.raises(Transient, match="no private address"):
        lab.auto_link(event)
    assert lab.rules(db) == []

    lab.cloud.clock.advance(301)
    assert lab.auto_link(event) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-private-ip"
    assert late.id in lab.outcome()["detail"]
    assert lab.changes() == 0


def test_an_address_that_comes_is_used_at_the_redelivery(lab: Lab) -> None:
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    instance.ip_visible_from = lab.cloud.clock.now() + 20
    event = lab.event(instance)
    with pytest.raises(Transient):
        lab.auto_link(event)
    lab.cloud.clock.advance(20)
    assert lab.auto_link(event) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]


def test_a_group_link_needs_no_address(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    instance.ip_visible_from = lab.cloud.clock.now() + 3600
    assert lab.auto_link(lab.event(instance, "Created")) == {"applied": 1}


def test_a_young_peer_instance_that_is_not_shown_comes_again(lab: Lab) -> None:
    """Two instances of one launch: the one may be shown before the other. What can be done is done meanwhile."""
    app, db = lab.group(), lab.group("*")
    tags = {"link-peer": f"i-bp1late:tcp/1 {db.id}:tcp/2"}
    event = lab.event(lab.instance(app, tags=tags))
    with pytest.raises(Transient, match="i-bp1late"):
        lab.auto_link(event)
    assert lab.rules(db) == [f"{app.id} tcp/2"]
    assert lab.records(outcome="denied") == []

    lab.cloud.clock.advance(300)
    assert lab.auto_link(event) == {"denied": 1, "unchanged": 1}
    assert lab.records(outcome="denied")[0]["reason"] == "instance-gone"


def test_an_event_without_a_time_is_not_young(lab: Lab) -> None:
    """Nobody could tell when to stop waiting."""
    lab.instance(lab.group())
    event = lab.event("i-bp1late", "Created")
    del event["time"]
    assert lab.auto_link(event) == {"denied": 1}


def test_what_is_hidden_for_a_moment_is_not_taken_away(lab: Lab) -> None:
    """A young event on an instance whose standing peer is not shown just now raises, and the rule stays meanwhile."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    target.ip_visible_from = lab.cloud.clock.now() + 60
    with pytest.raises(Transient):
        lab.auto_link(lab.event(instance))
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]
