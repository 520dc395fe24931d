"""cross_account under faults: wherever a fault hits, a later delivery reaches the state of a clean one.

What meets a transient error is put back on the queue and acknowledged; the platform delivers again what was killed, or
could not be put back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import cross_account
import pytest
from link_peer.domain.errors import Transient
from link_peer_local.core.faults import Call, Killed

from tests.functional.lab import HOME, PEER, Lab
from tests.functional.turns import deaths, kinds_at

TROUBLE = ["throttle", "error", "html", "truncated", "reset", "no-answer"]
AFTER = ["error-after", "html-after", "truncated-after", "reset-after", "no-answer-after"]
MAX_DELIVERIES = 6
LONGEST_DELAY = 600  # seconds until a message that was put back is shown again


def run(lab: Lab, event: bytes) -> dict[str, int]:
    """One delivery of exactly this event."""
    answer: dict[str, int] = json.loads(lab.run(cross_account.handler, event))["outcomes"]
    return answer


def until_taken(lab: Lab, event: bytes) -> dict[str, int]:
    """Delivers an event until the function answers, as the stream does, and then whatever was put back on the queue."""
    for _ in range(MAX_DELIVERIES):
        try:
            outcomes = Counter(run(lab, event))
        except (Transient, Killed):
            lab.forget()
            lab.cloud.clock.advance(1)
            continue
        if again := lab.queued(after=LONGEST_DELAY):
            event = json.dumps([lab.message(body) for body in again]).encode()
            continue
        return outcomes
    raise AssertionError("it never answered")


class Case:
    """A world, one message, and the expected final state."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.a, self.b = lab.pair()
        lab.instance(self.b)
        request: dict[str, Any]
        if name == "link":
            request, self.end = lab.request(self.a, self.b), ("req:chg-1", "req:chg-1")
        elif name == "join":
            lab.cross_account(lab.request(self.a, self.b, request_id="chg-0"))
            request, self.end = lab.request(self.a, self.b), ("req:chg-0,req:chg-1", "req:chg-0,req:chg-1")
        elif name == "unlink":
            lab.cross_account(lab.request(self.a, self.b))
            request, self.end = lab.request(self.a, self.b, action="unlink", request_id="chg-2"), ("", "")
        elif name == "sync":
            lab.instance(self.a, tags={"link-peer": f"{self.b.id}@{PEER}"})
            request, self.end = lab.request(self.a, self.b, action="sync"), ("tag", "tag")
        else:  # "desync": the tag was removed
            instance = lab.instance(self.a, tags={"link-peer": f"{self.b.id}@{PEER}"})
            lab.cross_account(lab.request(self.a, self.b, action="sync", request_id="tag-0"))
            lab.tag(instance, link_peer=None)
            request, self.end = lab.request(self.a, self.b, action="sync"), ("", "")
        self.event = json.dumps([lab.message(request)]).encode()
        self.request_id = request["request_id"]
        self.first = lab.calls()

    def ended_well(self) -> None:
        """Both sides are as expected, with an intent, an outcome (and one more where a delivery died after it was
        written), and nothing half-open."""
        for group, expected in ((self.a, self.end[0]), (self.b, self.end[1])):
            assert self.lab.reasons(group) == ([expected] if expected else [])
            assert len(self.lab.raw_rules(group)) == bool(expected)
        records = self.lab.records(request_id=self.request_id)
        assert {record["outcome"] for record in records} <= {"applied", "removed", "unchanged"}
        assert len({record["key"] for record in records}) <= 2
        assert self.lab.records("intent", request_id=self.request_id)


CASES = ["link", "join", "unlink", "sync", "desync"]
FIRST, LAST = 8, 24  # fewer and more calls than any case makes


def clean(lab: Lab, name: str) -> list[Call]:
    """The calls of a delivery without faults, which reaches the expected state."""
    case = Case(lab, name)
    run(lab, case.event)
    case.ended_well()
    return list(lab.cloud.faults.calls)[case.first :]


@pytest.mark.parametrize("name", CASES)
def test_a_delivery_killed_at_any_call_is_completed_by_the_redelivery(
    make_lab: Callable[[], Lab], lab: Lab, name: str
) -> None:
    """The process dies before the first call or after any: the change may be made, without a response."""
    for death in deaths(clean(lab, name)):
        again = make_lab()
        case = Case(again, name)
        again.fault(**death)
        until_taken(again, case.event)
        case.ended_well()
        assert not again.cloud.faults.waiting()


@pytest.mark.parametrize("name", ["link", "unlink"])
def test_a_fault_at_any_call_does_not_change_the_final_state(make_lab: Callable[[], Lab], lab: Lab, name: str) -> None:
    """One bad response: retried, read back or redelivered."""
    for k in range(len(clean(lab, name))):
        for kind in kinds_at(k):
            again = make_lab()
            case = Case(again, name)
            again.fault(kind=kind, skip=k)
            until_taken(again, case.event)
            case.ended_well()
            assert not again.cloud.faults.waiting()


@pytest.mark.parametrize("kind", [*TROUBLE, *AFTER])
@pytest.mark.parametrize(
    "action", ["DescribeSecurityGroups", "DescribeSecurityGroupAttribute", "AuthorizeSecurityGroup", "TagResources"]
)
def test_a_request_that_meets_a_lasting_fault_is_put_back_without_an_outcome(lab: Lab, action: str, kind: str) -> None:
    """Every call of one action fails in the other account: an attempt and no outcome on record; once the fault is
    over, the link is applied."""
    case = Case(lab, "link")
    lab.fault(service="ecs", action=action, account=PEER, kind=kind, times=None)
    outcomes = run(lab, case.event)
    # a change that only lost its response is found by the read-back; a read that failed is not
    assert outcomes == {} or (outcomes == {"applied": 1} and kind in AFTER)
    assert len(lab.records(request_id="chg-1")) == len(outcomes)
    assert bool(lab.records("attempt", request_id="chg-1")) == (not outcomes)
    lab.cloud.faults.clear()
    assert lab.drain(60) == ({} if outcomes else {"applied": 1})
    case.ended_well()


# the audit log


def test_without_the_audit_log_and_the_queue_the_message_is_redelivered(lab: Lab) -> None:
    """Then the function raises, and says why."""
    case = Case(lab, "link")
    before = lab.changes()
    lab.fault(service="sls", kind="error", times=None)
    lab.fault(service="mns", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        run(lab, case.event)
    assert lab.changes() == before
    lab.cloud.faults.clear()
    assert run(lab, case.event) == {"applied": 1}
    case.ended_well()


def test_a_denial_that_cannot_be_recorded_is_redelivered(lab: Lab) -> None:
    """No message may disappear without a record, however malformed it is. It is no request that could be put back."""
    lab.fault(service="sls", kind="error", times=None)
    event = json.dumps([lab.message("no request")]).encode()
    with pytest.raises(Transient, match="audit log"):
        run(lab, event)
    lab.cloud.faults.clear()
    assert run(lab, event) == {"denied": 1}


@pytest.mark.parametrize("kind", ["error", "no-answer-after"])
def test_an_outcome_that_could_not_be_written_is_recorded_by_the_next_delivery(lab: Lab, kind: str) -> None:
    """It finds the rules and writes the outcome; copies that one write stored have one key."""
    case = Case(lab, "link")
    lab.fault(service="sls", kind=kind, skip=1, times=4)
    assert run(lab, case.event) == {}
    stored = lab.records()
    assert len(stored) == (4 if kind == "no-answer-after" else 0)
    assert len({record["key"] for record in stored}) == bool(stored)
    before = lab.changes()
    assert lab.drain(60) == {"applied": 1}
    assert lab.changes() == before
    case.ended_well()
    assert len({record["key"] for record in lab.records()}) == 1 + bool(stored)


# concurrent deliveries


@pytest.mark.parametrize("second", ["the same", "another", "turned round"])
def test_a_link_delivered_during_another_loses_no_claim(make_lab: Callable[[], Lab], second: str) -> None:
    """At every call of the first: one rule per side afterwards, with both claims."""
    for k in range(LAST):
        lab = make_lab()
        case = Case(lab, "link")
        a, b = (case.b, case.a) if second == "turned round" else (case.a, case.b)
        fields = {} if second == "the same" else {"request_id": "chg-2"}
        event = json.dumps([lab.message(lab.request(a, b, **fields))]).encode()
        reached = lab.interrupt(k, lambda lab=lab, event=event: run(lab, event))  # type: ignore[misc]
        assert run(lab, case.event) == {"applied": 1}
        if not reached():
            break
        expected = "req:chg-1" if second == "the same" else "req:chg-1,req:chg-2"
        assert (lab.reasons(case.a), lab.reasons(case.b)) == ([expected], [expected]), f"at call {k}"
    assert FIRST < k < LAST


def test_an_unlink_delivered_during_a_link_leaves_nothing_half_open_for_longer_than_a_sweep_allows(
    make_lab: Callable[[], Lab],
) -> None:
    """Whichever wins, it wins on both sides: a half that is left is removed after 30 minutes, and never completed."""
    for k in range(LAST):
        lab = make_lab()
        case = Case(lab, "link")
        event = json.dumps([lab.message(lab.request(case.a, case.b, action="unlink", request_id="chg-2"))]).encode()
        reached = lab.interrupt(k, lambda lab=lab, event=event: run(lab, event))  # type: ignore[misc]
        until_taken(lab, case.event)
        if not reached():
            break
        open_before = (bool(lab.rules(case.a)), bool(lab.rules(case.b)))
        lab.cloud.clock.advance(1800)
        lab.sweep()
        assert lab.reasons(case.a) == lab.reasons(case.b), f"at call {k}"
        assert bool(lab.rules(case.a)) == all(open_before), f"at call {k}"
    assert FIRST < k < LAST


def test_a_tag_set_during_a_sync_is_linked(make_lab: Callable[[], Lab]) -> None:
    """The tag and its own sync arrive during an earlier sync of the pair: the rule exists after both."""
    for k in range(LAST):
        lab = make_lab()
        a, b = lab.pair()
        instance = lab.instance(a)
        lab.instance(b)
        sync = json.dumps([lab.message(lab.request(a, b, action="sync"))]).encode()

        def tagged(lab: Lab = lab, sync: bytes = sync, instance: str = instance.id, b: str = b.id) -> None:
            params = {"ResourceType": "instance", "ResourceId.1": instance, "Tag.1.Key": "link-peer"}
            lab.call(HOME, "TagResources", {**params, "Tag.1.Value": f"{b}@{PEER}:tcp/1"})
            run(lab, sync)

        reached = lab.interrupt(k, tagged)
        until_taken(lab, sync)
        if not reached():
            break
        assert lab.rules(b) == [f"{a.id} tcp/1"], f"at call {k}"
    assert k > 4
