"""Dispatch: which function handles what, and what the elements of one delivery do to each other."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import Limits
from link_peer.domain.request import Request
from link_peer.domain.tags import parse_ports
from link_peer.inbound import dispatch
from link_peer.inbound.requests import encode
from link_peer.runtime.delivery import Delivery

from tests.unit.fakes import FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.views import APP, CACHE, DB, HOME, NOW, PEER, REGION, A, group, instance, key, ours, policy

P1 = parse_ports("tcp/1")
GROUPS = [group(APP, "*"), group(DB, "*"), group(CACHE, "*")]


def message(target: Party, name: str = "chg-1", action: Any = "link") -> str:
    """A request for sg-app to reach `target` on TCP 1, or to look at the pair."""
    link = Link(APP, target, P1 if action == "link" else ())
    return encode(Request(name, action, REGION, link, NOW + 600)).decode()


def event(name: str = "i-a", **fields: Any) -> dict[str, Any]:
    """An ECS event of a running instance."""
    return {
        "id": f"event-{name}",
        "source": "acs.ecs",
        "type": "ecs:Instance:StateChange",
        "time": "2026-11-25T00:00:00Z",
        "region": REGION,
        "aliyunaccountid": HOME,
        "data": {"resourceId": name, "state": "Running"},
        **fields,
    }


def world(ecs: FakeEcs | None = None, **options: Any) -> tuple[FakeEcs, FakeLog, Delivery]:
    ecs, log = ecs or FakeEcs(GROUPS, [instance(A, APP, link_peer="sg-db:tcp/1")]), FakeLog()
    return ecs, log, delivery(ecs, log=log, **options)


@pytest.mark.parametrize(
    ("element", "function"),
    [
        ({"source": "acs.ecs", "type": "ecs:Instance:StateChange"}, "auto_link"),
        ({"product": "ECS", "name": "Instance:StateChange"}, "auto_link"),
        ({"triggerTime": "2026-11-25T00:00:00Z", "triggerName": "timer", "payload": ""}, "sweep"),
        ({"source": "acs.mns", "data": {}}, "cross_account"),
        ({"version": 1, "request_id": "chg-1"}, "cross_account"),
        ({}, "cross_account"),
        ("text", "cross_account"),
        (None, "cross_account"),
        (7, "cross_account"),
    ],
)
def test_the_function_that_handles_an_element(element: object, function: str) -> None:
    """What is no event and no timer is a message, whose denial names the problem."""
    assert dispatch.function_of(element) == function


def test_a_handler_answers_with_its_outcomes() -> None:
    assert json.loads(dispatch.answer(dispatch.Outcomes(applied=2))) == {"outcomes": {"applied": 2}}


# requests


def test_every_message_has_an_outcome_of_its_own() -> None:
    """One that does not match the schema is denied; the others are carried out."""
    ecs, log, delivered = world()
    outcomes = dispatch.handle_elements(["hello", message(DB), 7, message(CACHE, "chg-2")], delivered)
    assert outcomes == {"denied": 2, "applied": 2}
    assert sorted(str(rule.group) for rule in ecs.existing) == [str(CACHE), str(DB)]
    assert [r["reason"] for r in log.records if r.get("outcome") == "denied"] == ["bad-request"] * 2


def test_a_bug_in_one_message_does_not_cost_the_others() -> None:
    """They are carried out, and the bug is raised after the last one."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [ZeroDivisionError("bug")]
    with pytest.raises(ZeroDivisionError, match="bug"):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)
    assert [rule.group for rule in ecs.existing] == [CACHE]


def test_a_bug_is_raised_before_trouble_of_the_moment() -> None:
    """Trouble is redelivered by itself; a bug must be seen."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout"), ZeroDivisionError("bug")]
    with pytest.raises(ZeroDivisionError):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)


def test_trouble_while_reading_is_recorded_once() -> None:
    """The attempt names the request and says what the trouble was; the other message is carried out."""
    ecs, log, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    with pytest.raises(RedeliveryNeeded, match="1 messages must be redelivered: timeout"):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)
    (attempt,) = [record for record in log.records if record["record"] == "attempt"]
    assert (attempt["request_id"], attempt["action"], attempt["detail"]) == ("chg-1", "link", "timeout")
    assert [rule.group for rule in ecs.existing] == [CACHE]


def test_trouble_while_writing_is_recorded_once() -> None:
    """The applier has written the attempt; dispatch adds none."""
    ecs, log, delivered = world()
    ecs.errors["authorize"] = [Transient("503")] * 4
    with pytest.raises(RedeliveryNeeded):
        dispatch.handle_elements([message(DB)], delivered)
    assert log.kinds() == ["intent", "attempt"]


def test_trouble_that_no_record_shows_is_raised_as_such() -> None:
    """The audit log is down: not even an attempt can be written."""
    ecs, log, delivered = world()
    log.errors = [Transient("log down")] * 20
    with pytest.raises(Transient) as raised:
        dispatch.handle_elements([message(DB)], delivered)
    assert not isinstance(raised.value, RedeliveryNeeded)
    assert ecs.changes() == []


@pytest.mark.parametrize("body", [b"not JSON", b"\xff", b""])
def test_data_that_is_not_json_is_one_denied_message(body: bytes) -> None:
    """Its denial names the problem, and nothing is redelivered."""
    _, log, delivered = world()
    assert dispatch.handle_messages(body, delivered) == {"denied": 1}
    assert log.records[0]["reason"] == "bad-request"
    assert log.records[0]["event_id"].startswith("unreadable-")


@pytest.mark.parametrize(("limit", "left", "held"), [(2, 0, 0), (1, 2, 1)])
def test_syncs_that_together_remove_too_much_remove_nothing(limit: int, left: int, held: int) -> None:
    """Each by itself is due to remove one rule. One summary is recorded for the delivery."""
    rules = [ours(key(DB, APP, "tcp/1")), ours(key(CACHE, APP, "tcp/1"))]
    ecs = FakeEcs(GROUPS, [instance(A, APP)], rules)
    _, log, delivered = world(ecs, policy=policy(limits=Limits(removals_per_run=limit)))
    dispatch.handle_elements([message(DB, "tag-1", "sync"), message(CACHE, "tag-2", "sync")], delivered)
    assert len(ecs.existing) == left
    assert [r["reason"] for r in log.records if r["record"] == "summary"] == ["removals-held"] * held


# events


def test_an_event_that_cannot_be_parsed_does_not_cost_the_others() -> None:
    """It is denied with its own event id."""
    ecs, log, delivered = world()
    outcomes = dispatch.handle_event_elements([event("db-1"), event("i-a")], delivered)
    assert outcomes == {"denied": 1, "applied": 1}
    assert [rule.key for rule in ecs.existing] == [key(DB, APP, "tcp/1")]
    (denied,) = [record for record in log.records if record.get("reason") == "bad-event"]
    assert denied["event_id"] == "event-db-1"


def test_bytes_that_are_no_event_are_denied() -> None:
    """Nothing is read for them."""
    ecs, log, delivered = world()
    assert dispatch.handle_events(b"not JSON", delivered) == {"denied": 1}
    assert (log.records[0]["reason"], ecs.calls) == ("bad-event", [])


def test_events_that_do_not_concern_us_have_no_outcome() -> None:
    """Such as a state that changes no link."""
    ecs, log, delivered = world()
    elsewhere = event(data={"resourceId": "i-a", "state": "Stopping"})
    assert dispatch.handle_events(json.dumps(elsewhere).encode(), delivered) == {}
    assert (log.records, ecs.calls) == ([], [])


def test_trouble_with_an_event_is_recorded_once() -> None:
    ecs, log, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    with pytest.raises(RedeliveryNeeded, match="timeout"):
        dispatch.handle_events(json.dumps(event()).encode(), delivered)
    assert log.kinds() == ["attempt"]


def test_a_record_names_the_event_of_its_instance() -> None:
    """One delivery may have several events."""
    b = Party(HOME, "i-b")
    ecs = FakeEcs(GROUPS, [instance(A, APP, link_peer="sg-db:tcp/1"), instance(b, CACHE, link_peer="sg-db:tcp/2")])
    _, log, delivered = world(ecs)
    dispatch.handle_event_elements([event("i-a"), event("i-b")], delivered)
    assert {(r["instance"], r["event_id"]) for r in log.records if r["record"] == "outcome"} == {
        (str(A), "event-i-a"),
        (str(b), "event-i-b"),
    }


def test_a_peer_in_another_account_is_put_on_the_queue() -> None:
    """The intent is recorded first."""
    ecs = FakeEcs(GROUPS, [instance(A, APP, link_peer=f"sg-ledger@{PEER}:tcp/1")])
    _, log, delivered = world(ecs)
    dispatch.handle_event_elements([event()], delivered)
    queue = delivered.queue
    assert isinstance(queue, FakeQueue)
    assert [(r.action, r.link) for r in queue.posted] == [("sync", Link(APP, Party(PEER, "sg-ledger")))]
    assert log.kinds() == ["intent"]


# the timer


@pytest.mark.parametrize(
    ("timer", "event_id"),
    [
        (b'{"triggerTime": "2026-11-25T00:00:00Z"}', "sweep-2026-11-25T00:00:00Z"),
        (b"{}", f"sweep-{int(NOW)}"),
        (b"not JSON", f"sweep-{int(NOW)}"),
        (b'{"triggerTime": 7}', f"sweep-{int(NOW)}"),
        (b'{"triggerTime": "' + b"x" * 65 + b'"}', f"sweep-{int(NOW)}"),
    ],
)
def test_a_sweep_is_named_for_its_time(timer: bytes, event_id: str) -> None:
    """The timer's own where it can be read, else that of the clock."""
    _, log, delivered = world()
    dispatch.handle_timer(timer, delivered)
    assert {record["event_id"] for record in log.records} == {event_id}


def test_trouble_with_a_change_redelivers_the_sweep() -> None:
    """After its summary; the applier has recorded the attempt."""
    ecs, log, delivered = world()
    ecs.errors["authorize"] = [Transient("503")] * 4
    with pytest.raises(RedeliveryNeeded, match="503"):
        dispatch.handle_timer(b"{}", delivered)
    assert log.kinds().count("attempt") == 1
    assert log.kinds()[-1] == "summary"


def test_a_sweep_that_cannot_record_its_intents_changes_nothing() -> None:
    ecs, log, delivered = world()
    log.errors = [Transient("log down")] * 20
    with pytest.raises(Transient):
        dispatch.handle_timer(b"{}", delivered)
    assert ecs.changes() == []
