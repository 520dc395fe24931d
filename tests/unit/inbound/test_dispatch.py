"""Dispatch: which function handles what, and what the elements of one delivery do to each other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from link_peer.app import dispatch
from link_peer.domain.errors import RedeliveryNeeded, Throttled, Transient
from link_peer.domain.model import Link, Party
from link_peer.domain.policy import AccountPolicy, Limits
from link_peer.domain.request import Look, Message, Request, sync_request
from link_peer.domain.tags import parse_ports
from link_peer.inbound.requests import decode, encode
from link_peer.runtime.delivery import Delivery

from tests.unit.fakes import FakeClock, FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.views import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B, instance, key, managed, ours, policy

P1 = parse_ports("tcp/1")
GROUPS = [managed(APP, "*"), managed(DB, "*"), managed(CACHE, "*")]


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


def request(target: Party, name: str = "chg-1", **fields: Any) -> Request:
    return Request(name, "link", REGION, Link(APP, target, P1), NOW + 600, **fields)


def queue_of(delivered: Delivery) -> FakeQueue:
    queue = delivered.connections.queue
    assert isinstance(queue, FakeQueue)
    return queue


def posted(delivered: Delivery) -> list[tuple[Message, str, int]]:
    """What was put on queues: the message, the queue's name and the delay."""
    queue = queue_of(delivered)
    return [(message, name, delay) for message, (name, delay) in zip(queue.posted, queue.sent, strict=True)]


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


def test_a_bug_is_raised_before_a_transient_error() -> None:
    """Trouble is redelivered by itself; a bug must be seen."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout"), ZeroDivisionError("bug")]
    with pytest.raises(ZeroDivisionError):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)


def test_trouble_while_reading_puts_the_message_back() -> None:
    """The attempt names the request and says what the trouble was; the other message is carried out."""
    ecs, log, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    assert dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered) == {"applied": 1}
    (attempt,) = [record for record in log.records if record["record"] == "attempt"]
    assert (attempt["request_id"], attempt["action"], attempt["detail"]) == ("chg-1", "link", "timeout")
    assert (attempt["from"], attempt["to"], attempt["ports"]) == ("sg-app", "sg-db", "tcp/1")
    assert [rule.group for rule in ecs.existing] == [CACHE]
    assert posted(delivered) == [(request(DB, attempt=1), "", 10)]


def test_trouble_while_writing_is_recorded_once() -> None:
    """The applier has written the attempt; dispatch adds none. The message is put back."""
    ecs, log, delivered = world()
    ecs.errors["authorize"] = [Transient("503")] * 4
    assert dispatch.handle_elements([message(DB)], delivered) == {}
    assert log.kinds() == ["intent", "attempt"]
    assert posted(delivered) == [(request(DB, attempt=1), "", 10)]


@pytest.mark.parametrize(
    ("attempt", "delay"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (7, 600), (9_000, 600), (10_000, 600)]
)
def test_the_delay_of_a_message_that_is_put_back_grows_from_ten_seconds_to_ten_minutes(
    attempt: int, delay: int
) -> None:
    """Nothing of the message changes but its `attempt`, which ends at 10,000."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    asked = Request(
        "chg-1", "link", REGION, Link(APP, DB, P1), NOW + 600.5, int(NOW) + 9, "why", "who", attempt=attempt
    )
    dispatch.handle_elements([encode(asked).decode()], delivered)
    assert posted(delivered) == [(msgspec.structs.replace(asked, attempt=attempt + 1), "", delay)]
    again = decode(encode(posted(delivered)[0][0]), region=REGION, now=NOW)
    assert again == msgspec.structs.replace(asked, attempt=min(attempt + 1, 10_000))


def test_a_throttled_message_holds_up_no_other() -> None:
    """Nothing is slept out, and the rest of the batch is carried out at once."""
    clock = FakeClock()
    ecs, _, delivered = world(clock=clock)
    ecs.errors["groups"] = [Throttled("wait")] * 3
    found = [message(DB, f"chg-{number}") for number in range(3)]
    assert dispatch.handle_elements([*found, message(CACHE, "chg-9")], delivered) == {"applied": 1}
    assert clock.waits == []
    assert len(posted(delivered)) == 3


def test_a_message_that_cannot_be_put_back_is_redelivered() -> None:
    """The attempt is recorded, and the function raises. The other messages are carried out."""
    ecs, log, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    queue_of(delivered).errors = [Transient("queue down")] * 4
    with pytest.raises(RedeliveryNeeded, match="1 messages must be redelivered: timeout"):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)
    assert log.kinds().count("attempt") == 1
    assert [rule.group for rule in ecs.existing] == [CACHE]


def test_posting_is_tried_again() -> None:
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    queue_of(delivered).errors = [Transient("queue down")] * 2
    assert dispatch.handle_elements([message(DB)], delivered) == {}
    assert len(posted(delivered)) == 1


def test_a_message_is_put_back_although_the_audit_log_is_down() -> None:
    """Nothing is changed without an intent, and nothing is lost."""
    ecs, log, delivered = world()
    log.errors = [Transient("log down")] * 20
    assert dispatch.handle_elements([message(DB)], delivered) == {}
    assert ecs.changes() == []
    assert posted(delivered) == [(request(DB, attempt=1), "", 10)]


def test_trouble_that_no_record_shows_is_raised_as_such() -> None:
    """Neither the log nor the queue takes anything: not even an attempt can be written."""
    ecs, log, delivered = world()
    log.errors = [Transient("log down")] * 20
    queue_of(delivered).errors = [Transient("queue down")] * 20
    with pytest.raises(Transient) as raised:
        dispatch.handle_elements([message(DB)], delivered)
    assert not isinstance(raised.value, RedeliveryNeeded)
    assert ecs.changes() == []


BOUND = policy(accounts={HOME: AccountPolicy("a", queue="requests-a"), PEER: POLICY.accounts[PEER]})


def arrived(body: str, name: str) -> dict[str, Any]:
    """An element of the stream, through the queue with this name."""
    subject = f"acs:mns:{REGION}:{HOME}:queues/{name}"
    return {"specversion": "1.0", "id": "m-1", "subject": subject, "data": {"messageBody": body}}


@pytest.mark.parametrize(("name", "back"), [("requests-a", "requests-a"), ("someone-else", "")])
def test_a_message_is_put_back_on_its_own_queue(name: str, back: str) -> None:
    """Where the policy knows that queue; else on the shared one."""
    ecs, log, delivered = world(policy=BOUND if back else POLICY)
    ecs.errors["groups"] = [Transient("timeout")]
    dispatch.handle_elements([arrived(message(DB), name)], delivered)
    assert posted(delivered) == [(request(DB, attempt=1), back, 10)]
    assert {(record["queue"], record["event_id"]) for record in log.records} == {(name, "m-1")}


def test_a_request_through_the_wrong_queue_is_denied_before_anything_is_read() -> None:
    """The envelope proves the queue, the message nothing. Every record names it."""
    _, log, delivered = world(policy=BOUND)
    found = [message(DB), arrived(message(DB, "chg-2"), "requests-a"), arrived(message(DB, "chg-3"), "requests")]
    assert dispatch.handle_elements(found, delivered) == {"denied": 2, "applied": 1}
    outcomes = {
        r["request_id"]: (r["outcome"], r["reason"], r["queue"]) for r in log.records if r["record"] == "outcome"
    }
    assert outcomes == {
        "chg-1": ("denied", "not-allowed", ""),
        "chg-2": ("applied", "", "requests-a"),
        "chg-3": ("denied", "not-allowed", "requests"),
    }
    denied, _, delivered = world(policy=BOUND)
    dispatch.handle_elements([message(DB)], delivered)
    assert denied.calls == []


@pytest.mark.parametrize("body", [b"not JSON", b"\xff", b""])
def test_data_that_is_not_json_is_one_denied_message(body: bytes) -> None:
    """Its denial names the problem, and nothing is redelivered."""
    _, log, delivered = world()
    assert dispatch.handle_messages(body, delivered) == {"denied": 1}
    assert log.records[0]["reason"] == "bad-request"
    assert log.records[0]["event_id"].startswith("unreadable-")


@pytest.mark.parametrize(("limit", "left", "held"), [(2, 0, 0), (1, 2, 1)])
def test_syncs_that_together_remove_too_much_remove_nothing(limit: int, left: int, held: int) -> None:
    """Each by itself is due to remove one rule. One summary is recorded for the delivery, and each message has an outcome
    of its own."""
    rules = [ours(key(DB, APP, "tcp/1")), ours(key(CACHE, APP, "tcp/1"))]
    ecs = FakeEcs(GROUPS, [instance(A, APP)], rules)
    _, log, delivered = world(ecs, policy=policy(limits=Limits(removals_per_run=limit)))
    outcomes = dispatch.handle_elements([message(DB, "tag-1", "sync"), message(CACHE, "tag-2", "sync")], delivered)
    assert len(ecs.existing) == left
    summaries = [(r["action"], r["reason"]) for r in log.records if r["record"] == "summary"]
    assert summaries == [("sync", "removals-held")] * held
    assert outcomes == ({"failed": 2} if held else {"removed": 2})
    named = {(r["request_id"], r["reason"]) for r in log.records if r["record"] == "outcome"}
    assert named == {(name, "removals-held" if held else "") for name in ("tag-1", "tag-2")}


def test_a_bug_while_removals_are_counted_costs_no_message() -> None:
    """Each is carried out, and counted then."""
    ecs = FakeEcs(GROUPS, [instance(A, APP)], [ours(key(DB, APP, "tcp/1")), ours(key(CACHE, APP, "tcp/1"))])
    _, _, delivered = world(ecs, policy=policy(limits=Limits(removals_per_run=1)))
    ecs.errors["groups"] = [ZeroDivisionError("bug")]
    outcomes = dispatch.handle_elements([message(DB, "tag-1", "sync"), message(CACHE, "tag-2", "sync")], delivered)
    assert outcomes == {"removed": 1, "failed": 1}
    assert len(ecs.existing) == 1


@pytest.mark.parametrize("lanes", [1, 8])
def test_messages_side_by_side_have_the_outcomes_of_a_batch_in_order(lanes: int) -> None:
    """What cannot be read, a look, and requests that share a group or none."""
    ecs, log, delivered = world(lanes=lanes)
    elsewhere = encode(Request("chg-9", "link", REGION, Link(CACHE, DB, P1), NOW + 600)).decode()
    found = [message(DB), "hello", elsewhere, encode(look()).decode(), message(CACHE, "chg-2"), message(DB, "chg-3")]
    assert dispatch.handle_elements(found, delivered) == {"applied": 5, "denied": 1}
    assert sorted(str(rule.group) for rule in ecs.existing) == [str(CACHE), str(DB), str(DB)]
    (rule,) = [rule for rule in ecs.existing if rule.key == key(DB, APP, "tcp/1")]
    assert "by=tag,req:chg-1,req:chg-3" in rule.description
    assert [r["record"] for r in log.records if r.get("request_id") == "chg-9"] == ["intent", "outcome"]


def test_a_sync_over_the_limit_has_an_outcome_of_its_own() -> None:
    """Not in a batch."""
    ecs = FakeEcs(GROUPS, [instance(A, APP)], [ours(key(DB, APP, "tcp/1"))])
    _, log, delivered = world(ecs, policy=policy(limits=Limits(removals_per_run=0)))
    assert dispatch.handle_elements([message(DB, "tag-1", "sync")], delivered) == {"failed": 1}
    assert (len(ecs.existing), log.outcomes()) == (1, [("failed", "removals-held")])


# looks


def look(party: Party = A, expires: float = NOW + 300, attempt: int = 0) -> Look:
    return Look(f"look-{party.id}", REGION, party, expires, attempt)


def handle_look(delivered: Delivery, *looks: Look) -> Any:
    return dispatch.handle_elements([encode(one).decode() for one in looks], delivered)


def test_a_look_does_what_an_event_of_the_party_would() -> None:
    """Its records name the look as their request."""
    ecs, log, delivered = world()
    assert handle_look(delivered, look()) == {"applied": 1}
    assert [rule.key for rule in ecs.existing] == [key(DB, APP, "tcp/1")]
    assert {record["request_id"] for record in log.records} == {"look-i-a"}


def test_a_look_at_another_accounts_party_is_denied() -> None:
    """auto_link decides about home. Nothing is read."""
    ecs, log, delivered = world()
    assert handle_look(delivered, look(Party(PEER, "i-x"))) == {"denied": 1}
    assert (ecs.calls, log.records[0]["reason"], log.records[0]["from_account"]) == ([], "not-allowed", PEER)


def test_a_look_at_what_is_not_shown_yet_is_put_back() -> None:
    """With an attempt record, until it expires."""
    _, log, delivered = world(FakeEcs(GROUPS))
    assert handle_look(delivered, look(attempt=3)) == {}
    assert posted(delivered) == [(look(attempt=4), "", 80)]
    assert log.kinds() == ["attempt"]


@pytest.mark.parametrize("expires", [NOW, NOW - 1, NOW - 10**6])
def test_an_expired_look_at_an_instance_that_was_never_seen_ends_quietly(expires: float) -> None:
    """It was released before it was ever shown. No record, no message, no error."""
    _, log, delivered = world(FakeEcs(GROUPS))
    assert handle_look(delivered, look(expires=expires)) == {}
    assert (posted(delivered), log.records) == ([], [])


def test_an_expired_look_is_carried_out_once_more() -> None:
    ecs, _, delivered = world()
    assert handle_look(delivered, look(expires=NOW - 10**6)) == {"applied": 1}
    assert len(ecs.existing) == 1


def test_an_expired_look_that_meets_trouble_is_denied_expired() -> None:
    """It is final: nothing is put back. Its attempt tells the trouble."""
    ecs, log, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    assert handle_look(delivered, look(expires=NOW)) == {"denied": 1}
    assert posted(delivered) == []
    assert (log.records[0]["record"], log.records[0]["detail"]) == ("attempt", "timeout")
    assert (log.records[-1]["reason"], log.records[-1]["instance"]) == ("expired", str(A))


def test_a_look_that_meets_trouble_is_put_back() -> None:
    ecs, log, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    assert handle_look(delivered, look()) == {}
    assert posted(delivered) == [(look(attempt=1), "", 10)]
    assert [record["detail"] for record in log.records] == ["timeout"]


@pytest.mark.parametrize(("expires", "outcomes"), [(NOW + 1, {}), (NOW, {"denied": 1})])
def test_a_peer_that_is_not_shown_is_denied_once_the_look_expires(expires: float, outcomes: dict[str, int]) -> None:
    """Until then the instance is looked at again."""
    ecs = FakeEcs(GROUPS, [instance(A, APP, ip="10.0.0.1", link_peer="i-b:tcp/1")])
    _, log, delivered = world(ecs)
    assert handle_look(delivered, look(expires=expires)) == outcomes
    assert len(posted(delivered)) == (0 if outcomes else 1)
    assert [reason for _, reason in log.outcomes()] == (["instance-gone"] if outcomes else [])


def test_a_look_that_matches_no_schema_is_denied() -> None:
    """Such as one with a wish."""
    _, log, delivered = world()
    body = json.dumps({**json.loads(encode(look())), "ports": ["tcp/1"]})
    assert dispatch.handle_elements([body], delivered) == {"denied": 1}
    assert (log.records[0]["reason"], log.records[0]["action"]) == ("bad-request", "look")


def test_a_look_of_another_region_is_denied() -> None:
    """Its record names the party."""
    _, log, delivered = world()
    elsewhere = msgspec.structs.replace(look(), region="cn-beijing")
    assert handle_look(delivered, elsewhere) == {"denied": 1}
    assert (log.records[0]["reason"], log.records[0]["instance"]) == ("different-region", str(A))


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


def test_trouble_with_an_event_is_recorded_once_and_looked_at_again() -> None:
    """A look is posted for each instance of the delivery, for up to an hour. Nothing is raised."""
    ecs, log, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    events = json.dumps([event(), event("i-b")]).encode()
    assert dispatch.handle_events(events, delivered) == {}
    assert log.kinds() == ["attempt", "attempt"]
    looks = [look(party, NOW + 3600) for party in (A, B)]
    assert posted(delivered) == [(one, "", 10) for one in looks]


def test_trouble_with_a_change_is_looked_at_again() -> None:
    """The applier has recorded the attempt."""
    ecs, log, delivered = world()
    ecs.errors["authorize"] = [Transient("503")] * 4
    assert dispatch.handle_events(json.dumps(event()).encode(), delivered) == {}
    assert log.kinds() == ["intent", "attempt"]
    assert posted(delivered) == [(look(A, NOW + 3600), "", 10)]


def test_an_event_whose_look_cannot_be_posted_is_redelivered() -> None:
    ecs, _, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    queue_of(delivered).errors = [Transient("queue down")] * 4
    with pytest.raises(RedeliveryNeeded, match="timeout; and queue down"):
        dispatch.handle_events(json.dumps(event()).encode(), delivered)


@pytest.mark.parametrize("age", [0, 299])
def test_an_instance_that_is_not_shown_yet_is_looked_at_again(age: float) -> None:
    """Until five minutes after the event's time, whenever it came."""
    _, log, delivered = world(FakeEcs(GROUPS), clock=FakeClock(NOW + age))
    assert dispatch.handle_events(json.dumps(event()).encode(), delivered) == {}
    assert posted(delivered) == [(look(A, NOW + 300), "", 10)]
    assert [(r["record"], r["instance"]) for r in log.records] == [("attempt", str(A))]


@pytest.mark.parametrize("age", [300, 10**6])
def test_an_instance_of_an_old_event_that_is_not_shown_is_gone(age: float) -> None:
    """Nothing is posted."""
    _, log, delivered = world(FakeEcs(GROUPS), clock=FakeClock(NOW + age))
    assert dispatch.handle_events(json.dumps(event()).encode(), delivered) == {"denied": 1}
    assert (posted(delivered), log.outcomes()) == ([], [("denied", "instance-gone")])


def tagged(*names: str, kind: str = "securitygroup") -> dict[str, Any]:
    """ActionTrail's record of a call that changed tags."""
    data = {"eventName": "TagResources", "referencedResources": {f"ACS::ECS::{kind}": list(names)}}
    return {**event(), "id": "trail-1", "type": "ecs:ActionTrail:ApiCall", "data": data}


def test_the_tags_of_a_group_are_looked_at() -> None:
    """Each group by itself: trouble with one does not cost the other, and is looked at again."""
    locked = [managed(APP, "*"), managed(DB, "*", lock=True), managed(CACHE, "*", lock=True)]
    ecs = FakeEcs(locked, rules=[ours(key(DB, APP, "tcp/1")), ours(key(CACHE, APP, "tcp/1"))])
    ecs.errors["groups"] = [Transient("timeout")]
    _, log, delivered = world(ecs)
    assert dispatch.handle_event_elements([tagged("sg-db", "sg-cache")], delivered) == {"removed": 1}
    assert [rule.group for rule in ecs.existing] == [DB]
    assert posted(delivered) == [(look(DB, NOW + 3600), "", 10)]
    assert [(r["action"], r["from"], r["event_id"]) for r in log.records if r["record"] == "attempt"] == [
        ("look", "sg-db", "trail-1")
    ]


def test_a_bad_id_in_a_tag_event_is_recorded_and_costs_no_other() -> None:
    """Denied for that id alone."""
    ecs, log, delivered = world()
    found = tagged("i-a", "i-BAD", kind="instance")
    assert dispatch.handle_event_elements([found], delivered) == {"denied": 1, "applied": 1}
    assert len(ecs.existing) == 1
    (denied,) = [record for record in log.records if record.get("reason") == "bad-event"]
    assert (denied["event_id"], "i-BAD" in denied["detail"]) == ("trail-1", True)


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
    sync = sync_request(Link(APP, Party(PEER, "sg-ledger")), REGION, NOW)
    assert posted(delivered) == [(sync, "", 0)]
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
