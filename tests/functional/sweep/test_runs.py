"""One run of the sweep: order, time, cost and summary."""

from __future__ import annotations

import json
from collections import Counter
from unittest import mock

import pytest
import sweep as function
from aliyun_local.api import readings
from link_peer.domain.errors import Transient
from link_peer.engine import converge
from link_peer.planning.rota import RUN_SECONDS

from tests.functional.lab import HOME, MANAGED, PEER, POLICY, Lab

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
    instance, two = lab.instance(a), lab.instance(b)
    lab.cross_account(
        lab.request(a, b),
        lab.request(a, b, "tcp/1", "udp/2", request_id="chg-2", until=lab.iso(86400)),
        lab.request(instance, two, request_id="chg-3"),
    )
    lab.instance(a, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    lab.sweep()
    before, rules = lab.changes(), (lab.raw_rules(a), lab.raw_rules(b))
    assert lab.sweep() == {}
    assert lab.changes() == before
    assert json.loads(lab.summary()["counts"]) == {"denied no-consent": 1}
    assert (lab.raw_rules(a), lab.raw_rules(b)) == rules
    assert lab.summary()["outcome"] == "unchanged"


def test_what_opens_takes_the_plan_of_what_was_to_be_removed_before(lab: Lab) -> None:
    """Once nothing changed in between: of each account, one plan for each look at what ended, one for what is to be
    read, and one for the changes."""
    for account in (HOME, PEER):
        lab.linked(account)
    lab.sweep()
    with mock.patch.object(converge, "make_plan", wraps=converge.make_plan) as plans:
        lab.sweep()
    assert plans.call_count == 4 * len((HOME, PEER))


def test_another_account_is_listed_first_in_each_run(lab: Lab) -> None:
    """So that none is always the last when the time is over. A sweep of one account lists that one alone."""
    first_listed = set()
    for _ in range(1 if lab.by_account else 4):
        start = lab.calls()
        lab.sweep()
        listings = [call for call in list(lab.cloud.faults.calls)[start:] if call.action == "DescribeInstances"]
        first_listed.add(listings[0].account)
        lab.cloud.clock.advance(RUN_SECONDS)
    assert first_listed == ({HOME} if lab.by_account else {HOME, PEER})


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


# the summary and the event


@pytest.mark.knobs(request_tags=True)
def test_the_summary_reports_work_and_cost(lab: Lab) -> None:
    """One of the run, and one of each account: as which role it was entered, counts, calls, seconds, what was skipped
    and why."""
    instance, _, old = lab.linked()
    lab.tag(instance, link_peer=None)
    app, db = lab.group(), lab.group("*")
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app, tags={"link-peer": f"{lab.group().id}:tcp/1"})
    runs = len(lab.records("summary"))
    start = lab.calls()
    lab.sweep()
    assert len(lab.records("summary")) == runs + 3  # of the run, and of two accounts
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
        "instances": "5",
        "event_id": f"sweep-{lab.iso()}",
    }
    assert {name: record[name] for name in expected} == expected
    assert json.loads(record["counts"]) == {"applied": 1, "denied no-consent": 1, "removed": 1}
    [home] = lab.records("summary", account=HOME)[-1:]
    assert len(home["api_requests"].split(",")) == 1  # the managed tag of the empty group was removed
    entered = {HOME: "own role", PEER: POLICY["accounts"][PEER]["role"]}
    assert {s["account"]: s["entered_as"] for s in lab.records("summary", scope="account")} == entered
    [run] = lab.records("summary", scope="timer")[-1:]
    assert [run[name] for name in ("accounts", "waiting", "dead_letters")] == ["2", "0", "0"]
    assert float(record["seconds"]) >= 0
    call_counts: dict[str, int] = {}
    for call in list(lab.cloud.faults.calls)[start:]:
        if call.service in ("ecs", "sts"):
            call_counts[call.action] = call_counts.get(call.action, 0) + 1
    summaries = lab.records("summary", scope="account")[-2:]
    assert sum((Counter(json.loads(summary["api_calls"])) for summary in summaries), Counter()) == call_counts


@pytest.mark.parametrize("counts", readings()["queue_counts"])
def test_the_summary_counts_the_dead_letters(lab: Lab, counts: str) -> None:
    """In two calls, those that somebody has received or delayed too while the platform counts, else those that can be
    received; the alert `link-peer-dead-letters` reads the number. Where they cannot be counted, it says why."""
    lab.cloud.knobs.change({"queue_counts": counts})
    queue = lab.cloud.world.dead_letter_queue
    for delay in (0, 0, 600):
        lab.cloud.mns.send(HOME, queue, "undeliverable", delay=delay)
    assert len(lab.cloud.mns.receive(HOME, queue, max_n=1)) == 1
    start = lab.calls()
    lab.sweep()
    assert lab.records("summary", scope="timer")[-1]["dead_letters"] == {"real": "3", "zero": "1"}[counts]
    asked_actions = [call.action for call in list(lab.cloud.faults.calls)[start:] if call.service == "mns"]
    assert asked_actions == ["BatchPeekMessage", "GetQueueAttributes"]
    lab.cloud.mns.delete_queue(HOME, queue)
    lab.sweep()
    run = lab.records("summary", scope="timer")[-1]
    assert ("dead_letters" in run, run["detail"]) == (False, "dead letters were not counted: QueueNotExist")


NONE = {"refusal", "trouble", "damaged_markers", "api_requests", "detail", "reason", "advice", "progress"}
"""What an account's summary has only where there is something to say."""


@pytest.mark.parametrize("queue", ["", "link-peer-sweeps"])
def test_a_summary_is_of_a_run_or_of_an_account(lab: Lab, monkeypatch: pytest.MonkeyPatch, queue: str) -> None:
    """Never of both, with or without a queue of sweeps: neither has a field that only the other can fill."""
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", queue)
    lab.cross_account(lab.request(*lab.pair(), "tcp/1"))
    lab.sweep()
    for body in lab.queued(queue) if queue else ():
        lab.run(function.handler, json.dumps([lab.message(body, queue)]).encode())
    runs, accounts = (lab.records("summary", scope=scope) for scope in ("timer", "account"))
    assert len(runs) + len(accounts) == len(lab.records("summary"))
    assert {account["account"] for account in accounts} == {HOME, PEER}
    run_fields = {"accounts", "waiting", "dead_letters"}
    assert all(run_fields <= run.keys() for run in runs)
    assert all(run_fields.isdisjoint(account) for account in accounts)
    [fields] = {frozenset(account.keys() - NONE) for account in accounts}
    assert {"entered_as", "instances", "groups", "changed", "removed", "held", "denied", "counts"} <= fields
    assert all({"account", "entered_as", "changed", "counts"}.isdisjoint(run) for run in runs)


def test_the_timers_messages_go_round_by_account(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the queue of sweeps: each account is swept by a delivery of its own, with a link between them."""
    queue = "link-peer-sweeps"
    monkeypatch.setenv("LINK_PEER_SWEEP_QUEUE", queue)
    a, b = lab.pair()
    lab.instance(a, tags={"link-peer": f"{b.id}@{PEER}:tcp/1"})
    lab.sweep()
    [run] = lab.records("summary")
    assert (lab.rules(b), run["scope"], run["accounts"], run["waiting"]) == ([], "timer", "2", "0")
    bodies = lab.queued(queue)
    assert {body["account"] for body in bodies} == {HOME, PEER}
    event = json.dumps([lab.message(body, queue) for body in bodies]).encode()
    assert json.loads(lab.run(function.handler, event)) == {"outcomes": {"applied": 1}}
    assert lab.rules(b) == [f"{a.id} tcp/1"]
    progress = {summary["account"]: summary["progress"] for summary in lab.records("summary", scope="account")}
    assert progress.keys() == {HOME, PEER}
    assert all("all listed" in text for text in progress.values())
