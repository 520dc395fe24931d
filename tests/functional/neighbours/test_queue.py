"""One sender's messages hold up nobody, and the queue proves who asked."""

from __future__ import annotations

import pytest
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, PEER, Lab

OWN = "link-peer-requests-b"


def test_a_throttled_account_does_not_hold_up_the_queue(lab: Lab) -> None:
    """Attack 5: requests that meet throttling are put back with a delay and acknowledged; the others go on at once."""
    a, b = lab.pair()
    slow, _ = lab.group(account=PEER), lab.group()
    other, another = lab.group("*"), lab.group("*")
    lab.fault(service="ecs", kind="throttle", account=PEER, times=None)
    started = lab.cloud.clock.now()
    throttled = [lab.request(a, b, "tcp/1", request_id=f"chg-{n}") for n in range(3)]
    good = lab.request(other, another, "tcp/1", request_id="chg-good")
    assert lab.cross_account(*throttled, good) == {"applied": 1}
    assert lab.cloud.clock.now() - started < 20
    assert lab.rules(another) == [f"{other.id} tcp/1"]
    assert {record["request_id"] for record in lab.records("attempt")} == {"chg-0", "chg-1", "chg-2"}
    assert lab.queued() == []
    back = lab.queued(after=10)
    assert [(message["request_id"], message["attempt"]) for message in back] == [(f"chg-{n}", 1) for n in range(3)]
    assert {key for message in back for key in message} == {*throttled[0], "attempt"}
    assert slow is not None


def test_what_was_put_back_is_carried_out_later(lab: Lab) -> None:
    a, b = lab.pair()
    lab.fault(service="ecs", kind="throttle", account=PEER, times=None)
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.cloud.faults.clear()
    assert lab.drain(60) == {"applied": 1}
    assert lab.rules(b) == [f"{a.id} tcp/1"]


def test_a_request_that_cannot_be_put_back_is_redelivered(lab: Lab) -> None:
    a, b = lab.pair()
    lab.fault(service="ecs", kind="error", account=PEER, times=None)
    lab.fault(service="mns", kind="error", times=None)
    with pytest.raises(Transient):
        lab.cross_account(lab.request(a, b, "tcp/1"))


def test_a_request_that_is_put_back_expires(lab: Lab) -> None:
    """It goes on until it succeeds, is denied or expires; its attempts tell the trouble."""
    a, b = lab.pair()
    lab.fault(service="ecs", kind="error", account=PEER, times=None)
    lab.cross_account(lab.request(a, b, "tcp/1", expires_at=lab.iso(600)))
    assert lab.drain(3600) == {"denied": 1}
    assert lab.outcome()["reason"] == "expired"
    assert len(lab.records("attempt")) > 3
    assert lab.queued(after=3600) == []


def test_a_released_instance_that_was_never_seen_ends_quietly(lab: Lab) -> None:
    """Attack 17: no dead letter, and no record of a denial."""
    event = lab.event("i-neverseen", "Running")
    lab.auto_link(event)
    lab.auto_link(lab.event("i-neverseen", "Deleted"))
    lab.drain(900)
    assert lab.records("outcome") == []
    assert lab.queued(after=3600) == []


def test_an_instance_that_is_shown_late_is_linked(lab: Lab) -> None:
    """By the look that auto_link posted, whatever the platform's retry interval."""
    db = lab.group("*")
    app = lab.group()
    event = lab.event("i-late0000000000000001")
    assert lab.auto_link(event) == {}
    lab.instance(app, instance_id="i-late0000000000000001", tags={"link-peer": f"{db.id}:tcp/1"})
    lab.drain(60)
    assert lab.rules(db) == [f"{app.id} tcp/1"]


# request ids


def test_a_strangers_request_with_a_victims_id_changes_nothing(lab: Lab) -> None:
    """Attack 8: neither another end nor another direction takes the victim's rule."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/1"))
    assert lab.cross_account(lab.request(a, b, "tcp/1", until=lab.iso(60))) == {"denied": 1}
    assert lab.cross_account(lab.request(b, a, "tcp/1")) == {"denied": 1}
    assert {record["reason"] for record in lab.records(outcome="denied")} == {"id-in-use"}
    assert lab.reasons(b) == ["req:chg-1"]


# who asked


def with_queue(lab: Lab) -> None:
    lab.policy_account(PEER, queue=OWN)
    lab.cloud.mns.create_queue(HOME, OWN)


def test_an_account_with_a_queue_asks_only_through_it(lab: Lab) -> None:
    """Attack 19: a sender on the shared queue speaks for nobody who has a queue."""
    with_queue(lab)
    a, b = lab.pair()
    assert lab.cross_account(lab.request(b, a, "tcp/1")) == {"denied": 1}
    assert (lab.outcome()["reason"], lab.outcome()["queue"]) == ("not-allowed", "link-peer-requests")
    assert lab.cross_account(lab.request(b, a, "tcp/1"), queue=OWN) == {"applied": 1}
    assert lab.outcome()["queue"] == OWN


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


def test_a_request_that_came_through_an_own_queue_is_put_back_there(lab: Lab) -> None:
    with_queue(lab)
    a, b = lab.pair()
    lab.fault(service="ecs", kind="error", account=PEER, times=None)
    lab.cross_account(lab.request(b, a, "tcp/1"), queue=OWN)
    assert lab.queued(after=10) == []
    assert [message["attempt"] for message in lab.queued(OWN)] == [1]


def test_requests_cannot_keep_a_tag_out(lab: Lab) -> None:
    """Attack 19: room for the tag's claim is always kept in the description."""
    a, b = lab.pair()
    for n in range(20):
        lab.cross_account(lab.request(a, b, "tcp/1", request_id=f"chg-{n}-" + "x" * 40))
    assert lab.outcome()["reason"] == "quota"
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    lab.sweep()
    assert lab.reasons(b)[0].startswith("tag,req:")
