"""cross_account's input: each message of a batch has its own outcome, however malformed the others are."""

from __future__ import annotations

import json
from typing import Any

import cross_account
import pytest
from aliyun_local.api import Group
from link_peer.app import dispatch
from link_peer.domain.errors import Transient

from tests.functional.lab import Lab


def run(lab: Lab, event: Any) -> dict[str, int]:
    """Runs the function on exactly this event."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    answer: dict[str, int] = json.loads(lab.run(cross_account.handler, body))["outcomes"]
    return answer


# invalid requests: tests/unit/inbound/test_requests.py has all the ways to be one, test_hostile_handlers whole batches


def test_a_bug_in_one_message_does_not_affect_the_others(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised as it is, after the others are done: a bug must not look like a transient error."""
    a, b = lab.pair()
    carry_out = dispatch.reconcile_pair

    def faulty(delivery: Any, request: Any, *arguments: Any) -> None:
        if request.request_id == "chg-bug":
            raise KeyError("a bug")
        carry_out(delivery, request, *arguments)

    monkeypatch.setattr(dispatch, "reconcile_pair", faulty)
    with pytest.raises(KeyError):
        lab.cross_account(lab.request(a, b, request_id="chg-bug"), lab.request(a, b, "tcp/1"))
    assert lab.rules(b) == [f"{a.id} tcp/1"]


# batches


def _three(lab: Lab) -> tuple[Group, Group, list[dict[str, Any]]]:
    a, b = lab.pair()
    return a, b, [lab.request(a, b, f"tcp/{n}", request_id=f"chg-{n}") for n in (1, 2, 3)]


def test_only_the_message_that_meets_trouble_is_put_back(lab: Lab) -> None:
    """The batch is acknowledged; the other messages are done, and nothing is done twice."""
    a, b, requests = _three(lab)
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", skip=1, times=4)
    assert lab.cross_account(*requests) == {"applied": 2}
    assert lab.rules(b) == [f"{a.id} tcp/1", f"{a.id} tcp/3"]
    assert [record["request_id"] for record in lab.records()] == ["chg-1", "chg-3"]
    assert [record["request_id"] for record in lab.records("attempt")] == ["chg-2"]
    lab.cloud.faults.clear()
    before = lab.changes()
    (again,) = lab.queued(after=10)
    assert again == {**requests[1], "attempt": 1}
    assert lab.cross_account(again) == {"applied": 1}
    assert lab.changes() == before + 1
    assert lab.rules(b) == [f"{a.id} tcp/{n}" for n in (1, 2, 3)]
    assert [record["request_id"] for record in lab.records()] == ["chg-1", "chg-3", "chg-2"]


def test_a_message_that_cannot_be_put_back_raises_after_the_others_are_done(lab: Lab) -> None:
    """The whole batch is redelivered, and the others find their work done."""
    a, b, requests = _three(lab)
    batch = [lab.message(request) for request in requests]
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", skip=1, times=4)
    lab.fault(service="mns", kind="error", times=None)
    with pytest.raises(Transient, match="1 messages"):
        run(lab, batch)
    assert lab.rules(b) == [f"{a.id} tcp/1", f"{a.id} tcp/3"]
    assert [record["request_id"] for record in lab.records("attempt")] == ["chg-2"]
    lab.cloud.faults.clear()
    before = lab.changes()
    assert run(lab, batch) == {"applied": 3}
    assert lab.changes() == before + 1


def test_an_unknown_error_code_does_not_affect_the_other_messages(lab: Lab) -> None:
    """A message that meets an unknown code is put back until it expires; the other messages are carried out."""
    a, b, requests = _three(lab)
    bad = lab.request(lab.instance(a), lab.instance(b), "tcp/9", request_id="chg-9", expires_at=lab.iso(60))
    lab.fault(service="ecs", action="DescribeInstances", kind="error", code="InvalidStatus.Odd", status=400, times=None)
    assert lab.cross_account(requests[0], bad, requests[1]) == {"applied": 2}
    assert lab.rules(b) == [f"{a.id} tcp/1", f"{a.id} tcp/2"]
    assert [record["request_id"] for record in lab.records("attempt")] == ["chg-9"]
    assert lab.drain(900) == {"denied": 1}
    assert (lab.outcome()["request_id"], lab.outcome()["reason"]) == ("chg-9", "expired")
