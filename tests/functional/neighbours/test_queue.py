"""One sender's messages hold up nobody, and the queue proves who asked."""

from __future__ import annotations

from tests.functional.lab import HOME, PEER, Lab

OWN = "link-peer-requests-b"


def test_a_throttled_account_does_not_hold_up_the_queue(lab: Lab) -> None:
    """Attack 5: requests that meet throttling are put back with a delay and acknowledged; the others go on at once."""
    a, b = lab.pair()
    other_group, last_group = lab.group("*"), lab.group("*")
    lab.fault(service="ecs", kind="throttle", account=PEER, times=None)
    started = lab.cloud.clock.now()
    throttled = [lab.request(a, b, "tcp/1", request_id=f"chg-{n}") for n in range(3)]
    good = lab.request(other_group, last_group, "tcp/1", request_id="chg-good")
    assert lab.cross_account(*throttled, good) == {"applied": 1}
    assert lab.cloud.clock.now() - started < 20
    assert lab.rules(last_group) == [f"{other_group.id} tcp/1"]
    assert {record["request_id"] for record in lab.records("attempt")} == {"chg-0", "chg-1", "chg-2"}
    assert lab.queued() == []
    back = lab.queued(after=10)
    assert [(message["request_id"], message["attempt"]) for message in back] == [(f"chg-{n}", 1) for n in range(3)]
    assert {key for message in back for key in message} == {*throttled[0], "attempt"}


def test_a_released_instance_that_was_never_seen_ends_quietly(lab: Lab) -> None:
    """Attack 17: no dead letter, and no record of a denial."""
    event = lab.event("i-neverseen", "Running")
    lab.auto_link(event)
    lab.auto_link(lab.event("i-neverseen", "Deleted"))
    lab.drain(900)
    assert lab.records("outcome") == []
    assert lab.queued(after=3600) == []


def test_an_instance_that_is_shown_late_is_linked_by_a_look(lab: Lab) -> None:
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.read_lag.instances = 30
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance, "Created")) == {}
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


# who asked


def with_queue(lab: Lab) -> None:
    lab.policy_account(PEER, queue=OWN)
    lab.cloud.mns.create_queue(HOME, OWN)


def test_a_queue_speaks_for_its_account_only(lab: Lab) -> None:
    with_queue(lab)
    a, b = lab.pair()
    assert lab.cross_account(lab.request(a, b, "tcp/1"), queue=OWN) == {"denied": 1}
    assert lab.outcome()["reason"] == "not-allowed"


def test_either_side_may_unlink_but_no_third_party(lab: Lab) -> None:
    lab.policy_account(HOME, queue="link-peer-requests-a")
    with_queue(lab)
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1"), queue="link-peer-requests-a")
    unlink = lab.request(a, b, action="unlink", request_id="chg-2")
    assert lab.cross_account(unlink) == {"denied": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
    assert lab.cross_account(unlink, queue=OWN) == {"removed": 1}
    assert lab.rules(b) == []
