"""cross_account under faults: wherever it is struck, what is delivered again ends where a clean delivery ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import cross_account
import pytest
from link_peer.domain.errors import Transient
from link_peer_local.core.faults import Killed

from tests.functional.lab import HOME, PEER, Lab

TROUBLE = ["throttle", "error", "html", "truncated", "reset", "no-answer"]
AFTER = ["error-after", "html-after", "truncated-after", "reset-after", "no-answer-after"]
MAX_DELIVERIES = 6


def run(lab: Lab, event: bytes) -> dict[str, int]:
    """One delivery of exactly this event."""
    answer: dict[str, int] = json.loads(cross_account.handler(event, lab.context))["outcomes"]
    return answer


def until_taken(lab: Lab, event: bytes) -> dict[str, int]:
    """Deliveries of one event until the function answers, as the stream does it."""
    for _ in range(MAX_DELIVERIES):
        try:
            return run(lab, event)
        except (Transient, Killed):
            lab.cloud.clock.advance(1)
    raise AssertionError("it never answered")


class Story:
    """A world and one message, and where they must end."""

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
        else:  # a tag went
            instance = lab.instance(self.a, tags={"link-peer": f"{self.b.id}@{PEER}"})
            lab.cross_account(lab.request(self.a, self.b, action="sync", request_id="tag-0"))
            lab.tag(instance, link_peer=None)
            request, self.end = lab.request(self.a, self.b, action="sync"), ("", "")
        self.event = json.dumps([lab.message(request)]).encode()
        self.request_id = request["request_id"]
        self.first = lab.calls()

    def ended_well(self) -> None:
        """Both sides as they must be, an intent before it, one distinct outcome, nothing half-open."""
        for group, expected in ((self.a, self.end[0]), (self.b, self.end[1])):
            assert self.lab.reasons(group) == ([expected] if expected else [])
            assert len(self.lab.raw_rules(group)) == bool(expected)
        records = self.lab.records(request_id=self.request_id)
        assert {record["outcome"] for record in records} <= {"applied", "removed", "unchanged"}
        assert len({record["key"] for record in records}) <= 2
        assert self.lab.records("intent", request_id=self.request_id)


STORIES = ["link", "join", "unlink", "sync", "desync"]
FIRST, LAST = 8, 24  # fewer and more calls than any story makes


def length(lab: Lab, story: Story) -> int:
    """How many calls a clean delivery makes."""
    run(lab, story.event)
    return lab.calls() - story.first


@pytest.mark.parametrize("name", STORIES)
def test_a_clean_delivery_ends_well_and_is_short(lab: Lab, name: str) -> None:
    """The stories' own ends, and that the loops over their calls reach the last one."""
    story = Story(lab, name)
    assert length(lab, story) <= LAST
    story.ended_well()


def strike_every_call(make_lab: Callable[[], Lab], name: str, kind: str) -> None:
    """A story for every call of it, with one fault there."""
    for k in range(LAST):
        lab = make_lab()
        story = Story(lab, name)
        lab.fault(kind=kind, skip=k)
        until_taken(lab, story.event)
        story.ended_well()
        if lab.cloud.faults.waiting():
            break
    else:
        raise AssertionError("LAST is too small")


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("kind", ["kill", "kill-after"])
def test_killed_at_any_call_the_redelivery_ends_in_the_same_place(
    make_lab: Callable[[], Lab], name: str, kind: str
) -> None:
    """The process ends at call k, for every k: before the change was made, or after it and before its answer."""
    strike_every_call(make_lab, name, kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("link", kind) for kind in (*TROUBLE, *AFTER)),
        *(("unlink", kind) for kind in ("throttle", "html", *AFTER[-2:])),
    ],
)
def test_trouble_at_any_call_ends_in_the_same_place(make_lab: Callable[[], Lab], name: str, kind: str) -> None:
    """One bad answer at call k, for every k: waited out, read back, or delivered again."""
    strike_every_call(make_lab, name, kind)


@pytest.mark.parametrize("kind", [*TROUBLE, *AFTER])
@pytest.mark.parametrize(
    "action", ["DescribeSecurityGroups", "DescribeSecurityGroupAttribute", "AuthorizeSecurityGroup", "TagResources"]
)
def test_lasting_trouble_raises_and_tells_no_outcome(lab: Lab, action: str, kind: str) -> None:
    """Every call of one kind fails in the other account: an attempt on record, no outcome; and once it is over, applied."""
    story = Story(lab, "link")
    lab.fault(service="ecs", action=action, account=PEER, kind=kind, times=None)
    applied = False
    try:
        applied = bool(run(lab, story.event).get("applied"))
    except Transient:
        assert lab.records(request_id="chg-1") == []
        assert lab.records("attempt", request_id="chg-1")
    # a change whose answer alone is lost is found by reading back; a read without answer never is
    assert not applied or kind in AFTER
    lab.cloud.faults.clear()
    until_taken(lab, story.event)
    story.ended_well()


def test_a_throttled_call_waits_for_the_next_minute(lab: Lab) -> None:
    """ECS refuses that API until then, so that trying sooner would be in vain."""
    story = Story(lab, "link")
    lab.cloud.clock.advance(10)
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="throttle")
    before = lab.cloud.clock.now()
    assert run(lab, story.event) == {"applied": 1}
    assert lab.cloud.clock.now() // 60 == before // 60 + 1


def test_a_throttled_call_that_has_not_the_time_raises(lab: Lab) -> None:
    """Rather than being killed in the middle."""
    story = Story(lab, "link")
    lab.context.function.timeout = 20
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="throttle")
    with pytest.raises(Transient, match=r"Throttling\.User"):
        run(lab, story.event)
    assert run(lab, story.event) == {"applied": 1}


@pytest.mark.parametrize("lag", [0.5, 2.0])
def test_a_read_that_lags_behind_the_write_is_waited_for(lab: Lab, lag: float) -> None:
    """Absent is not failed: nothing is written twice, and `applied` is said only when the rules are shown."""
    story = Story(lab, "link")
    lab.cloud.ecs.read_lag.rules = lag
    assert run(lab, story.event) == {"applied": 1}
    assert lab.cloud.faults.count("ecs", "AuthorizeSecurityGroup") == 2
    lab.cloud.clock.advance(lag)
    story.ended_well()


def test_every_attempt_has_a_fresh_token(lab: Lab) -> None:
    """A remembered one may answer for a rule that has been revoked since."""
    story = Story(lab, "link")
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="reset", times=3)
    run(lab, story.event)
    tokens = [c.params["ClientToken"] for c in lab.cloud.faults.calls if c.action == "AuthorizeSecurityGroup"]
    assert len(tokens) == len(set(tokens)) == 5


# the audit log


def test_while_the_log_is_down_nothing_is_changed(lab: Lab) -> None:
    story = Story(lab, "link")
    before = lab.changes()
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient, match="audit log"):
        run(lab, story.event)
    assert lab.changes() == before
    lab.cloud.faults.clear()
    until_taken(lab, story.event)
    story.ended_well()


def test_a_denial_that_cannot_be_recorded_comes_again(lab: Lab) -> None:
    """A message must not vanish without a trace, however bad it is."""
    lab.fault(service="sls", kind="error", times=None)
    event = json.dumps([lab.message("no request")]).encode()
    with pytest.raises(Transient, match="audit log"):
        run(lab, event)
    lab.cloud.faults.clear()
    assert run(lab, event) == {"denied": 1}


@pytest.mark.parametrize("kind", ["error", "no-answer-after"])
def test_a_log_that_goes_down_after_the_change_gets_its_outcome_at_the_redelivery(lab: Lab, kind: str) -> None:
    """The redelivery finds the rules and writes the outcome; copies of it have one key."""
    story = Story(lab, "link")
    lab.fault(service="sls", kind=kind, skip=1, times=4)
    with pytest.raises(Transient, match="audit log"):
        run(lab, story.event)
    assert run(lab, story.event) == {"applied": 1}
    story.ended_well()
    assert len({record["key"] for record in lab.records()}) == 1


@pytest.mark.parametrize("kind", [*TROUBLE, *AFTER])
def test_a_log_that_is_down_for_a_moment_costs_no_redelivery(lab: Lab, kind: str) -> None:
    """The write is tried again; a copy of a record that was there already has its key."""
    story = Story(lab, "link")
    lab.fault(service="sls", kind=kind, skip=1)
    assert run(lab, story.event) == {"applied": 1}
    story.ended_well()
    assert len({record["key"] for record in lab.records()}) == 1


# two deliveries at once


@pytest.mark.parametrize("second", ["the same", "another", "turned round"])
def test_a_second_link_in_the_middle_of_the_first_is_harmless(make_lab: Callable[[], Lab], second: str) -> None:
    """At every call: one rule a side, and no reason lost."""
    for k in range(LAST):
        lab = make_lab()
        story = Story(lab, "link")
        a, b = (story.b, story.a) if second == "turned round" else (story.a, story.b)
        fields = {} if second == "the same" else {"request_id": "chg-2"}
        event = json.dumps([lab.message(lab.request(a, b, **fields))]).encode()
        reached = lab.interrupt(k, lambda lab=lab, event=event: run(lab, event))  # type: ignore[misc]
        assert run(lab, story.event) == {"applied": 1}
        if not reached():
            break
        expected = "req:chg-1" if second == "the same" else "req:chg-1,req:chg-2"
        assert (lab.reasons(story.a), lab.reasons(story.b)) == ([expected], [expected]), f"at call {k}"
    assert FIRST < k < LAST


def test_an_unlink_in_the_middle_of_a_link_leaves_nothing_half_open_after_a_sweep(
    make_lab: Callable[[], Lab],
) -> None:
    """Whichever wins, wins on both sides, at the latest when the sweep has come by."""
    for k in range(LAST):
        lab = make_lab()
        story = Story(lab, "link")
        event = json.dumps([lab.message(lab.request(story.a, story.b, action="unlink", request_id="chg-2"))]).encode()
        reached = lab.interrupt(k, lambda lab=lab, event=event: run(lab, event))  # type: ignore[misc]
        until_taken(lab, story.event)
        if not reached():
            break
        lab.sweep()
        assert lab.reasons(story.a) == lab.reasons(story.b), f"at call {k}"
    assert FIRST < k < LAST


def test_a_tag_in_the_middle_of_a_sync_loses_nothing(make_lab: Callable[[], Lab]) -> None:
    """The tag and its own sync come while an earlier sync of the pair is under way: the rule stands after both."""
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
