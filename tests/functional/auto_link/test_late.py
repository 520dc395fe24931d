"""auto_link and eventual consistency: instances, tags and addresses may be shown some time after the event."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import Transient

from tests.functional.lab import Lab


@pytest.mark.parametrize("age", [0, 299])
def test_a_new_instance_that_is_not_shown_yet_is_redelivered(lab: Lab, age: int) -> None:
    """The function raises; the log has an attempt and no outcome."""
    lab.instance(lab.group())
    with pytest.raises(Transient, match="i-bp1late"):
        lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-age)))
    assert lab.records() == []
    (attempt,) = lab.records("attempt")
    assert "i-bp1late" in attempt["detail"]


def test_an_event_dated_in_the_future_is_not_awaited(lab: Lab) -> None:
    """A clock may be slightly ahead, but anyone who may publish events can date them freely."""
    with pytest.raises(Transient):
        lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(60)))
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(302))) == {"denied": 1}
    assert lab.outcome()["reason"] == "instance-gone"


def test_an_instance_that_is_still_not_shown_after_five_minutes_is_gone(lab: Lab) -> None:
    """Denied and acknowledged: a redelivery would not help."""
    lab.instance(lab.group())
    assert lab.auto_link(lab.event("i-bp1late", "Created", time=lab.iso(-300))) == {"denied": 1}
    record = lab.outcome()
    assert (record["reason"], record["from"]) == ("instance-gone", "i-bp1late")


def test_an_instance_that_is_shown_late_is_linked_by_the_redelivery(lab: Lab) -> None:
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
    """Tags may follow the Created event, which is no error; the Running event or the tag change finds them."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app)
    assert lab.auto_link(lab.event(instance, "Created")) == {}
    lab.tag(instance, link_peer=f"{db.id}:tcp/1")
    assert lab.auto_link(lab.event(instance, "Running")) == {"applied": 1}
    assert lab.auto_link(lab.tag_event(instance, "TagResources")) == {"unchanged": 1}


def test_events_out_of_order_end_in_the_same_state(lab: Lab) -> None:
    """A Created event that arrives after the tag was removed does not add the link again."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    created = lab.event(instance, "Created")
    lab.auto_link(lab.event(instance, "Running"))
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.auto_link(created) == {}
    assert lab.rules(db) == []


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_instance_link_waits_for_the_address_of_a_new_instance(lab: Lab, end: str) -> None:
    """The function raises within five minutes of the event and denies `no-private-ip` after; it never writes a rule
    with an empty address."""
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


def test_an_address_that_is_shown_late_is_used_by_the_redelivery(lab: Lab) -> None:
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


def test_a_new_peer_instance_that_is_not_shown_yet_is_redelivered(lab: Lab) -> None:
    """Of two instances launched together, one may be shown first. The other link is made meanwhile."""
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


def test_an_event_without_a_time_is_not_redelivered(lab: Lab) -> None:
    """It would be unknown when to stop waiting."""
    lab.instance(lab.group())
    event = lab.event("i-bp1late", "Created")
    del event["time"]
    assert lab.auto_link(event) == {"denied": 1}


def test_a_rule_stays_while_its_peers_address_is_not_shown(lab: Lab) -> None:
    """The function raises for a recent event, and the existing rule stays."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    target.ip_visible_from = lab.cloud.clock.now() + 60
    with pytest.raises(Transient):
        lab.auto_link(lab.event(instance))
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/1"]
