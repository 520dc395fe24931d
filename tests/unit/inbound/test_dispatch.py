"""Dispatch: which function handles what, and what the elements of one delivery do to each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from link_peer.app import dispatch, sweeps
from link_peer.domain.errors import Transient
from link_peer.domain.model import Link, Party, RuleKey
from link_peer.domain.policy import AccountPolicy
from link_peer.domain.request import Look, Message, Request
from link_peer.domain.tags import parse_ports
from link_peer.inbound.requests import decode, encode
from link_peer.runtime.delivery import Delivery

from tests.unit.fakes import FakeEcs, FakeLog, FakeQueue, delivery
from tests.unit.small_world import APP, CACHE, DB, HOME, NOW, PEER, POLICY, REGION, A, B
from tests.unit.snapshots import instance, key, managed, ours, policy

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


# requests


def test_a_bug_is_raised_before_a_transient_error() -> None:
    """Trouble is redelivered by itself; a bug must be seen."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout"), ZeroDivisionError("bug")]
    with pytest.raises(ZeroDivisionError):
        dispatch.handle_elements([message(DB), message(CACHE, "chg-2")], delivered)


@pytest.mark.parametrize(
    ("attempt", "delay"), [(0, 10), (1, 20), (2, 40), (5, 320), (6, 600), (7, 600), (9_000, 600), (10_000, 600)]
)
def test_the_delay_of_a_message_that_is_put_back_grows_from_ten_seconds_to_ten_minutes(
    attempt: int, delay: int
) -> None:
    """Nothing of the message changes but its `attempt`, which ends at 10,000."""
    ecs, _, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")]
    request = Request(
        "chg-1", "link", REGION, Link(APP, DB, P1), NOW + 600.5, int(NOW) + 9, "why", "who", attempt=attempt
    )
    dispatch.handle_elements([encode(request).decode()], delivered)
    assert posted(delivered) == [(msgspec.structs.replace(request, attempt=attempt + 1), "", delay)]
    again = decode(encode(posted(delivered)[0][0]), region=REGION, now=NOW)
    assert again == msgspec.structs.replace(request, attempt=min(attempt + 1, 10_000))


BOUND = policy(accounts={HOME: AccountPolicy("a", queue="requests-a"), PEER: POLICY.accounts[PEER]})


def arrived(body: str, name: str) -> dict[str, Any]:
    """An element of the stream, through the queue with this name."""
    subject = f"acs:mns:{REGION}:{HOME}:queues/{name}"
    return {"specversion": "1.0", "id": "m-1", "subject": subject, "data": {"messageBody": body}}


@pytest.mark.parametrize(("name", "back"), [("requests-a", "requests-a"), ("someone-else", "")])
def test_a_message_is_put_back_on_its_own_queue(name: str, back: str) -> None:
    """Where the policy knows that queue; else on the shared one. Its attempt says what it asks for, and what the
    trouble was."""
    ecs, log, delivered = world(policy=BOUND if back else POLICY)
    ecs.errors["groups"] = [Transient("timeout")]
    dispatch.handle_elements([arrived(message(DB), name)], delivered)
    assert posted(delivered) == [(request(DB, attempt=1), back, 10)]
    (record,) = log.records
    fields = [record[field] for field in ("record", "queue", "event_id", "action", "from", "to", "ports", "detail")]
    assert fields == ["attempt", name, "m-1", "link", "sg-app", "sg-db", "tcp/1", "timeout"]


@pytest.mark.parametrize("handle", [dispatch.handle_elements, dispatch.handle_event_elements])
def test_what_has_no_id_is_identified_by_its_content(handle: Callable[..., object]) -> None:
    _, log, delivered = world()
    assert handle(["nonsense", "other nonsense", "nonsense"], delivered) == {"denied": 3}
    ids = [record["event_id"] for record in log.records]
    assert sorted(Counter(ids).values()) == [1, 2]
    assert all(unreadable_id.startswith("unreadable-") for unreadable_id in ids)


@pytest.mark.parametrize("element_id", [7, "", None, ["e-1"]])
def test_an_event_whose_id_is_no_text_is_identified_by_its_content(element_id: object) -> None:
    _, log, delivered = world()
    assert dispatch.handle_event_elements([{"id": element_id}], delivered) == {"denied": 1}
    (record,) = log.records
    assert record["event_id"].startswith("unreadable-")


# equal messages of one batch

ASKED = [
    *(Request("tag-", "sync", REGION, Link(*ends), NOW + 600) for ends in ((APP, DB), (DB, APP), (APP, CACHE))),
    Request("chg-", "link", REGION, Link(APP, DB, P1), NOW + 600),
    Request("chg-", "unlink", REGION, Link(APP, DB, P1), NOW + 600),
    *(Look("look-", REGION, party, NOW + 600) for party in (A, DB)),
]
STANDING = [key(DB, APP, "tcp/1"), key(DB, APP), key(APP, DB), key(CACHE, APP, "tcp/9")]


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.lists(st.tuples(st.sampled_from(ASKED), st.integers(0, 3)), min_size=2, max_size=8),
    st.sets(st.sampled_from(["sg-db", "sg-db:tcp/1", "sg-cache"])),
    st.sets(st.sampled_from(STANDING)),
    st.booleans(),
)
def test_a_batch_leads_to_the_same_rules_as_its_messages_one_by_one(
    sent: list[tuple[Message, int]], wishes: set[str], standing: set[RuleKey], lock: bool
) -> None:
    """Whatever their ids and attempts. Each has an outcome of its own, but for a look that finds nothing to decide."""
    elements = [
        {
            **arrived(
                encode(msgspec.structs.replace(message, request_id=f"{message.request_id}{n}", attempt=n)).decode(), ""
            ),
            "id": f"m-{at}",
        }
        for at, (message, n) in enumerate(sent)
    ]

    def carried_out(*batches: list[dict[str, Any]]) -> tuple[set[tuple[RuleKey | None, str]], FakeLog]:
        groups = [managed(APP, "*"), managed(DB, "*", lock=lock), managed(CACHE, "*")]
        asking = instance(A, APP, link_peer=" ".join(sorted(wishes)))
        ecs, log, delivered = world(FakeEcs(groups, [asking], [ours(key) for key in standing]))
        for batch in batches:
            dispatch.handle_elements(batch, delivered)
        return {(rule.key, rule.description) for rule in ecs.existing}, log

    together, log = carried_out(elements)
    assert together == carried_out(*([element] for element in elements))[0]
    recorded = {record["event_id"] for record in log.records if record["record"] == "outcome"}
    assert recorded >= {f"m-{at}" for at, (message, _) in enumerate(sent) if isinstance(message, Request)}


def test_equal_looks_and_syncs_are_carried_out_once_and_recorded_each() -> None:
    """The others say which one stands for them, and that they are denied where it is. Messages of other queues,
    directions and actions are not equal."""
    ecs, log, delivered = world(
        FakeEcs([managed(APP, "*"), managed(DB, "")], [instance(A, APP, link_peer="sg-db:tcp/1")])
    )
    turned = encode(Request("tag-3", "sync", REGION, Link(DB, APP), NOW + 600)).decode()
    bodies = [
        (message(DB, "tag-1", "sync"), "q"),
        (message(DB, "tag-2", "sync"), "q"),
        (message(DB, "tag-4", "sync"), "p"),
    ]
    elements = [{**arrived(body, queue), "id": f"m-{at}"} for at, (body, queue) in enumerate([*bodies, (turned, "q")])]
    assert dispatch.handle_elements(elements, delivered) == {"denied": 3, "unchanged": 1}
    request_ids_by_event_id = {
        record["event_id"]: (record["request_id"], record["reason"], "same as message m-0" in record["detail"])
        for record in log.records
    }
    assert request_ids_by_event_id == {
        "m-0": ("tag-1", "no-consent", False),
        "m-1": ("tag-2", "no-consent", True),
        "m-2": ("tag-4", "no-consent", False),
        "m-3": ("tag-3", "", False),
    }
    reads = len(ecs.calls)
    assert handle_look(delivered, look(), look(expires=NOW + 900, attempt=3)) == {"denied": 2}
    assert len([call for call in ecs.calls[reads:] if call == "instances i-a"]) == 1


def test_a_message_whose_equal_is_put_back_is_done() -> None:
    """It goes on as that one, which expires last, and after the shorter wait: anybody may post one with many
    attempts."""
    ecs, log, delivered = world()
    ecs.errors["instances"] = [Transient("timeout")]
    handle_look(delivered, look(), look(expires=NOW + 900, attempt=9_000))
    assert posted(delivered) == [(look(expires=NOW + 900, attempt=1), "", 10)]
    assert sorted(log.kinds()) == ["attempt", "outcome"]


def test_a_message_that_cannot_be_recorded_with_its_equal_is_put_back() -> None:
    _, log, delivered = world(FakeEcs(GROUPS, [instance(A, APP)]))
    log.errors = [Transient("503")] * 4
    handle_look(delivered, look(), look())
    assert posted(delivered) == [(look(attempt=1), "", 10)]


# looks


def look(party: Party = A, expires: float = NOW + 300, attempt: int = 0) -> Look:
    return Look(f"look-{party.id}", REGION, party, expires, attempt)


def handle_look(delivered: Delivery, *looks: Look) -> Any:
    return dispatch.handle_elements([encode(look).decode() for look in looks], delivered)


@pytest.mark.parametrize(
    ("look", "reason"),
    [
        (look(Party(PEER, "i-x")), "not-allowed"),
        (msgspec.structs.replace(look(), region="cn-beijing"), "different-region"),
    ],
)
def test_a_look_at_another_accounts_party_or_of_another_region_is_denied(look: Look, reason: str) -> None:
    """auto_link decides about home. Nothing is read; the record names the party."""
    ecs, log, delivered = world()
    assert handle_look(delivered, look) == {"denied": 1}
    (record,) = log.records
    assert (ecs.calls, record["reason"], record["instance"]) == ([], reason, str(look.party))


# events


def test_a_bad_id_in_a_tag_event_is_recorded_and_costs_no_other() -> None:
    """Denied for that id alone."""
    ecs, log, delivered = world()
    data = {"eventName": "TagResources", "referencedResources": {"ACS::ECS::Instance": ["i-a", "i-BAD"]}}
    element = event("trail-1", type="ecs:ActionTrail:ApiCall", data=data, id="trail-1")
    assert dispatch.handle_event_elements([element], delivered) == {"denied": 1, "applied": 1}
    assert len(ecs.existing) == 1
    (denied,) = [record for record in log.records if record.get("reason") == "bad-event"]
    assert (denied["event_id"], "i-BAD" in denied["detail"]) == ("trail-1", True)


def test_trouble_with_events_is_on_record_for_each_instance_which_is_looked_at_again() -> None:
    ecs, log, delivered = world()
    ecs.errors["groups"] = [Transient("timeout")] * 4
    assert dispatch.handle_event_elements([event("i-a"), event("i-b")], delivered) == {}
    records = [tuple(record[field] for field in ("record", "action", "instance", "detail")) for record in log.records]
    assert records == [("attempt", "look", f"{name}@{HOME}", "timeout") for name in ("i-a", "i-b")]
    assert [(message.party, delay) for message, _, delay in posted(delivered)] == [(A, 10), (B, 10)]  # type: ignore[union-attr]


# the timer


@pytest.mark.parametrize(
    ("timer", "event_id"),
    [
        (b'{"triggerTime": "2026-11-25T00:00:00Z"}', "sweep-2026-11-25T00:00:00Z"),
        (b"{}", f"sweep-{int(NOW)}"),
        (b"[]", f"sweep-{int(NOW)}"),
        (b"not JSON", f"sweep-{int(NOW)}"),
        (b'{"triggerTime": 7}', f"sweep-{int(NOW)}"),
        (b'{"triggerTime": "' + b"x" * 65 + b'"}', f"sweep-{int(NOW)}"),
    ],
)
def test_a_sweep_is_named_for_its_time(timer: bytes, event_id: str) -> None:
    """The timer's own where it can be read, else that of the clock."""
    _, log, delivered = world()
    sweeps.handle_sweep(timer, delivered)
    assert {record["event_id"] for record in log.records} == {event_id}
