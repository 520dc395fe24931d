"""One run of the sweep: order, time, cost and summary."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import sweep as function
from link_peer.domain.errors import Transient
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, MANAGED, PEER, Lab

pytestmark = pytest.mark.usefixtures("living_lab")


# order and idempotency


def order(lab: Lab, start: int) -> list[str]:
    """The actions of the calls since `start`, in order."""
    return [call.action for call in list(lab.cloud.faults.calls)[start:]]


@pytest.mark.parametrize("cause", ["until", "consent", "lock", "policy"])
def test_what_ended_is_closed_before_instances_are_read(lab: Lab, cause: str) -> None:
    """Wishes are read afterwards, however many there are."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b, "tcp/22", until=lab.iso(60)))
    lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    if cause == "until":
        lab.cloud.clock.advance(60)
    elif cause == "policy":
        lab.policy(deny={"ports": ["tcp/22"]})
    elif cause == "lock":
        lab.tag(b, link_lock="incident")
    else:
        lab.tag(b, link_accept=None)
    start = lab.calls()
    lab.sweep()
    actions = order(lab, start)
    assert lab.rules(b) == []
    assert actions.index("RevokeSecurityGroup") < actions.index("DescribeInstances")
    assert actions.index("RevokeSecurityGroup") < actions.index("AuthorizeSecurityGroup")


def test_a_second_sweep_changes_nothing(lab: Lab) -> None:
    """No changing call and no outcome, for tags, requests, instances and a denied link, which is counted only."""
    lab.linked()
    lab.linked(PEER, "")
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(
        lab.request(a, b),
        lab.request(a, b, "tcp/1", "udp/2", request_id="chg-2", until=lab.iso(86400)),
        lab.request(one, two, request_id="chg-3"),
    )
    lab.instance(a, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    lab.sweep()
    before, rules = lab.changes(), (lab.raw_rules(a), lab.raw_rules(b))
    assert lab.sweep() == {}
    assert lab.changes() == before
    assert json.loads(lab.summary()["counts"]) == {"denied no-consent": 1}
    assert (lab.raw_rules(a), lab.raw_rules(b)) == rules
    assert lab.summary()["outcome"] == "unchanged"


# errors and time


def test_a_transient_error_raises_after_the_other_links_are_done(lab: Lab) -> None:
    """The platform retries the run; the other links are settled meanwhile."""
    first, second = lab.group("*"), lab.group("*")
    for db in (first, second):
        lab.instance(lab.group(), tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="error", times=4)
    with pytest.raises(Transient):
        lab.sweep()
    assert sorted([len(lab.rules(first)), len(lab.rules(second))]) == [0, 1]
    assert lab.records("attempt")
    lab.sweep()
    assert len(lab.rules(first)) == len(lab.rules(second)) == 1


def test_without_the_audit_log_nothing_is_changed(lab: Lab) -> None:
    """No rule, and no managed tag."""
    instance, _, db = lab.linked()
    empty = lab.group(tags={MANAGED: "true"})
    lab.tag(instance, link_peer=None)
    before = lab.changes()
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        lab.sweep()
    assert lab.changes() == before
    assert (len(lab.rules(db)), lab.tags(empty)[MANAGED]) == (1, "true")


def test_groups_that_were_not_read_in_time_are_left_to_the_next_runs(lab: Lab) -> None:
    """Reading stops in time, and unread groups are not judged. Each run starts at another position, also on a new
    function instance, so a few runs cover every group."""
    lab.context.function.timeout = 100
    groups: list[tuple[Instance, Group]] = []
    app = lab.group()
    for _ in range(70):
        db = lab.group("*")
        groups.append((lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}), db))
    lab.sweep()
    assert all(lab.rules(db) for _, db in groups)
    groups.sort(key=lambda pair: pair[1].id)
    unwanted = [groups[k] for k in range(0, 70, 5)]
    for instance, _ in unwanted:
        lab.tag(instance, link_peer=None)
    left = [len(unwanted)]
    while left[-1] and len(left) < 5:
        lab.cloud.clock.advance(600)
        lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", kind="slow", seconds=1.0, times=64)
        lab.sweep()
        lab.cloud.faults.clear()
        left.append(sum(bool(lab.rules(db)) for _, db in unwanted))
        if len(left) == 2:
            assert re.search(f"2[0-9] groups of {HOME}: no time was left", lab.summary()["detail"])
    assert left[1] > left[-1] == 0


# the summary and the event


@pytest.mark.knobs(request_tags=True)
def test_the_summary_reports_work_and_cost(lab: Lab) -> None:
    """One per run: counts, calls, seconds, what was skipped and why."""
    instance, _, old = lab.linked()
    lab.tag(instance, link_peer=None)
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    runs = len(lab.records("summary"))
    start = lab.calls()
    lab.sweep()
    assert len(lab.records("summary")) == runs + 1
    assert MANAGED not in lab.tags(old)
    record = lab.summary()
    expected = {
        "function": "sweep",
        "deployment": "prod",
        "outcome": "applied",
        "changed": "2",  # a rule added and a rule removed; the managed tag of its group is no outcome
        "removed": "1",
        "held": "0",
        "denied": "1",
        "dead_letters": "0",
        "instances": "5",
        "event_id": f"sweep-{lab.iso()}",
    }
    assert {name: record[name] for name in expected} == expected
    assert json.loads(record["counts"]) == {"applied": 1, "denied no-consent": 1, "removed": 1}
    assert len(record["api_requests"].split(",")) == 1  # the managed tag of the empty group was removed
    assert float(record["seconds"]) >= 0
    made: dict[str, int] = {}
    for call in list(lab.cloud.faults.calls)[start:]:
        if call.service in ("ecs", "sts"):
            made[call.action] = made.get(call.action, 0) + 1
    assert record["api_calls"] == json.dumps(made, sort_keys=True)


def test_the_summary_counts_the_dead_letters(lab: Lab) -> None:
    """In one call, those that somebody has received or delayed too; the alert `link-peer-dead-letters` reads the number."""
    queue = lab.cloud.world.dead_letter_queue
    for delay in (0, 0, 600):
        lab.cloud.mns.send(HOME, queue, "undeliverable", delay=delay)
    assert len(lab.cloud.mns.receive(HOME, queue, max_n=1)) == 1
    start = lab.calls()
    lab.sweep()
    assert lab.summary()["dead_letters"] == "3"
    assert [c.action for c in list(lab.cloud.faults.calls)[start:] if c.service == "mns"] == ["GetQueueAttributes"]


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"code": "AccessDenied", "status": 403}, "AccessDenied"),
        ({"code": "QueueNotExist", "status": 404}, "QueueNotExist"),
        ({"kind": "reset"}, "the connection was closed"),
        ({"kind": "html"}, "RespDataDamaged"),
    ],
)
def test_a_sweep_does_not_fail_if_dead_letters_cannot_be_counted(lab: Lab, fault: dict[str, Any], why: str) -> None:
    """It does its work, and says so in its summary."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="mns", **{"kind": "error", **fault})
    assert lab.sweep() == {"applied": 1}
    summary = lab.summary()
    assert "dead_letters" not in summary
    said = summary["detail"].partition("dead letters were not counted: ")[2]
    assert said.endswith(why)
    assert said


def test_the_cost_does_not_grow_with_instances_without_tags(lab: Lab) -> None:
    """Instances are read a hundred per page, groups by tag, and the rules of each managed group once."""
    lab.linked()
    app = lab.group()
    for _ in range(150):
        lab.instance(app)
    start = lab.calls()
    lab.sweep()
    calls = [call.action for call in list(lab.cloud.faults.calls)[start:] if call.service == "ecs"]
    assert calls.count("DescribeInstances") == 3
    assert calls.count("DescribeSecurityGroupAttribute") == 1
    assert len(calls) <= 8


@pytest.mark.parametrize(
    "event", [b"", b"null", b"{}", b"[]", b'{"triggerTime": 7}', b'{"triggerTime": "' + b"x" * 99 + b'"}']
)
def test_any_timer_event_starts_a_sweep(lab: Lab, event: bytes) -> None:
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    answer: dict[str, Any] = json.loads(lab.run(function.handler, event))
    assert answer == {"outcomes": {"applied": 1}}


def test_the_timers_messages_go_round_by_account(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the queue of sweeps: each account is swept by a delivery of its own, with a link between them."""
    queue = "link-peer-sweeps"
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", queue)
    a, b = lab.pair()
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    lab.sweep()
    assert (lab.rules(b), lab.summary()["progress"]) == ([], "a message was posted for each of 2 of 2 accounts")
    bodies = lab.queued(queue)
    assert {body["account"] for body in bodies} == {HOME, PEER}
    event = json.dumps([lab.message(body, queue) for body in bodies]).encode()
    assert json.loads(lab.run(function.handler, event)) == {"outcomes": {"applied": 1}}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
    found = {r["from_account"]: r["progress"] for r in lab.records("summary") if "from_account" in r}
    assert found.keys() == {HOME, PEER}
    assert all("all listed" in progress for progress in found.values())
