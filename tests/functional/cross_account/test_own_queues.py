"""The accounts' own queues, where they are too many for a trigger each: a timer has the function read them all."""

from __future__ import annotations

import json
from typing import Any

import cross_account
import pytest
from aliyun_local.api import Fault, QueueAttributes
from link_peer.app import collect
from link_peer.domain.errors import Transient

from tests.functional.lab import HOME, PEER, Lab

MANY = 70
"""More than are read at a time."""


def uid(number: int) -> str:
    return str(1000000000000100 + number)


def own_queue(account: str) -> str:
    return f"link-peer-requests-{account}"


@pytest.fixture(name="lab")
def _own_queues(lab: Lab) -> Lab:
    """Many accounts with queues of their own, of which only the peer exists."""
    accounts: dict[str, Any] = {
        account: {"role": f"acs:ram::{account}:role/link-peer", "external_id": "x1"}
        for account in map(uid, range(MANY))
    }
    known_accounts = lab._written["accounts"]
    accounts_with_queue = {**accounts, **known_accounts, PEER: {**known_accounts[PEER], "queue": own_queue(PEER)}}
    lab.policy(
        accounts={
            a: {"name": a, **({"queue": own_queue(a)} if a != HOME else {}), **of}
            for a, of in accounts_with_queue.items()
        }
    )
    for account in (PEER, *accounts):
        lab.cloud.mns.create_queue(HOME, own_queue(account), QueueAttributes(visibility_timeout=180))
    return lab


def read_them(lab: Lab) -> dict[str, int]:
    """The timer fires."""
    event = {"triggerTime": lab.iso(), "triggerName": "own-queues", "payload": "own-queues"}
    answer: dict[str, int] = json.loads(lab.run(cross_account.handler, json.dumps(event).encode()))["outcomes"]
    return answer


def send(lab: Lab, queue: str, body: Any) -> None:
    lab.cloud.mns.send(HOME, queue, body if isinstance(body, str) else json.dumps(body))


def message_count(lab: Lab) -> int:
    return sum(len(queue.entries) for queue in lab.cloud.mns.queues(HOME))


def test_a_queue_proves_who_asks_as_it_does_behind_a_trigger(lab: Lab) -> None:
    """The record names it, what is not true of its account is denied, and nothing is left on it. Of what is no request,
    too."""
    a, b = lab.pair()
    send(lab, own_queue(PEER), lab.request(b, a, "tcp/1", request_id="mine"))
    send(lab, own_queue(uid(1)), lab.request(b, a, "tcp/2", request_id="forged"))
    for body in ("plain", "{}", "/w=="):
        send(lab, own_queue(uid(2)), body)
    assert read_them(lab) == {"applied": 1, "denied": 4}
    assert lab.rules(a) == [f"{b.id} tcp/1"]
    story_by_request = {r.get("request_id"): (r["queue"], r["actor"], r.get("reason", "")) for r in lab.records()}
    assert story_by_request["mine"] == (own_queue(PEER), PEER, "")
    assert story_by_request["forged"] == (own_queue(uid(1)), uid(1), "not-allowed")
    assert message_count(lab) == 0


def test_no_account_has_the_function_to_itself(lab: Lab) -> None:
    """Four of its messages are taken before those of every other queue were, and all of them in the end."""
    a, b = lab.pair()
    for _ in range(20):
        send(lab, own_queue(uid(1)), "{}")
    send(lab, own_queue(PEER), lab.request(b, a, "tcp/1"))
    assert read_them(lab) == {"applied": 1, "denied": 20}
    order = [record["queue"] for record in lab.records()]
    assert order.index(own_queue(PEER)) <= 2 * collect.MOST


def test_a_message_that_always_fails_holds_up_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came with it comes again without it; after a hundred times it is a dead letter."""
    a, b = lab.pair()
    send(lab, own_queue(PEER), lab.request(b, a, "tcp/1"))
    send(lab, own_queue(PEER), "bug")
    handle = collect.handle_elements

    def failing(elements: list[Any], delivery: Any) -> Any:
        result = handle([element for element in elements if element["data"]["messageBody"] != "bug"], delivery)
        if any(element["data"]["messageBody"] == "bug" for element in elements):
            raise ZeroDivisionError
        return result

    monkeypatch.setattr(collect, "handle_elements", failing)
    for messages in (2, 1):
        with pytest.raises(ZeroDivisionError):
            read_them(lab)
        lab.cloud.clock.sleep(181)
        assert message_count(lab) == messages
    monkeypatch.setattr(collect, "ATTEMPTS", 3)
    assert read_them(lab) == {}
    [letter] = lab.cloud.mns.peek(HOME, "link-peer-dead-letters")
    assert message_count(lab) == 1
    assert letter.body


@pytest.mark.parametrize("action", ["BatchReceiveMessage", "BatchDeleteMessage"])
def test_trouble_with_one_queue_costs_no_other(lab: Lab, action: str) -> None:
    """A queue that is missing, or that gives no answer: the others are read, and the function raises."""
    a, b = lab.pair()
    lab.cloud.mns.delete_queue(HOME, own_queue(uid(3)))
    lab.cloud.faults.add(Fault("mns", action, times=1))
    send(lab, own_queue(PEER), lab.request(b, a, "tcp/1"))
    send(lab, own_queue(uid(1)), "{}")
    for again in (1, 0):
        with pytest.raises(Transient, match="must be redelivered"):
            read_them(lab)
        assert message_count(lab) <= again
        lab.cloud.clock.sleep(181)
    assert lab.rules(a) == [f"{b.id} tcp/1"]


@pytest.mark.parametrize("event", [b"[]", b'[{"triggerTime": 1, "triggerName": "x"}]', b'"triggerTime"', b"{"])
def test_only_an_object_of_the_timer_is_the_timers(event: bytes) -> None:
    """What a queue's stream pushes is an array, whatever its messages say."""
    assert not collect.asked_by_timer(event)


def test_what_one_batch_has_posted_limits_no_other(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery posts few messages, and none twice; so would all batches of the timer together."""
    bodies: list[Any] = []
    monkeypatch.setattr(collect, "handle_elements", lambda _elements, delivery: bodies.append(delivery.output) or {})
    for number in range(collect.MOST + 1):
        for _ in range(collect.MOST):
            send(lab, own_queue(uid(number)), "{}")
    read_them(lab)
    assert len(bodies) == len({id(output) for output in bodies}) == 2
