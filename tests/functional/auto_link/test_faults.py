"""auto_link when the platform misbehaves: each call of a delivery fails in every way, and the end is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from link_peer.domain.errors import Transient
from link_peer_local import inprocess, world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from link_peer_local.core.faults import KINDS, Killed
from pytest_mock import MockerFixture

from tests.functional.lab import PEER, Lab

Event = dict[str, Any]
State = dict[str, Any]


class Story:
    """One delivery on a world of its own, and what the world looks like after it."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab = lab
        self.app, self.db = lab.group(f"*@{PEER}", "*"), lab.group("*")
        self.event: Event = getattr(self, name)()

    def mutual(self) -> Event:
        """A link with a rule on each side."""
        return self.lab.event(self.lab.instance(self.app, tags={"link-peer": self.db.id}))

    def instances(self) -> Event:
        """The same between two addresses."""
        target = self.lab.instance(self.db, private_ip="10.2.0.20")
        tags = {"link-peer": target.id}
        return self.lab.event(self.lab.instance(self.app, tags=tags, private_ip="10.2.0.10"))

    def change(self) -> Event:
        """Rules that come, a rule that stays and rules that go."""
        instance = self.lab.instance(self.app, tags={"link-peer": f"{self.db.id} {self.db.id}:tcp/1+tcp/2"})
        self.lab.auto_link(self.lab.event(instance))
        self.lab.tag(instance, link_peer=f"{self.db.id}:tcp/2+tcp/3")
        return self.lab.tag_event(instance)

    def reasons(self) -> Event:
        """Markers that change: a request's rule gains the tag's reason, another of ours loses it."""
        instance = self.lab.instance(self.app, tags={"link-peer": f"{self.db.id}:tcp/1"})
        self.lab.auto_link(self.lab.event(instance))
        self.lab.cross_account(self.lab.request(self.app, self.db, "tcp/1", "tcp/2"))
        self.lab.tag(instance, link_peer=f"{self.db.id}:tcp/2")
        return self.lab.tag_event(instance)

    def deliver(self) -> None:
        self.lab.auto_link(self.event)

    def state(self) -> State:
        """Rules, reasons and the managed tag of both groups, with the groups' ids made comparable."""
        found: State = {}
        for name, group in (("app", self.app), ("db", self.db)):
            rules = [f"{rule} {_kept(raw)}" for rule, raw in self.lab.rules_of(group)]
            found[name] = sorted(r.replace(self.app.id, "app").replace(self.db.id, "db") for r in rules)
            found[f"{name} tags"] = self.lab.tags(group).get("link-managed.prod")
        return found


def _kept(raw: dict[str, Any]) -> str:
    """Priority and reasons."""
    return f"{raw['Priority']} {str(raw['Description']).partition('by=')[2].partition(' from=')[0]}"


Stories = Callable[[str], Story]


@pytest.fixture(name="story")
def _story(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Stories:
    """A fresh world for each story told."""

    def tell(name: str) -> Story:
        cloud = LocalCloud(VirtualClock())
        world.load(cloud)
        inprocess.install(mocker, cloud)
        return Story(Lab(cloud, monkeypatch, tmp_path), name)

    return tell


NAMES = ["mutual", "instances", "change", "reasons"]


def clean(story: Stories, name: str) -> tuple[State, int]:
    """How the world looks after a delivery in which nothing fails, and of how many calls it consists."""
    told = story(name)
    before = told.lab.cloud.faults.count()
    told.deliver()
    return told.state(), told.lab.cloud.faults.count() - before


def converge(told: Story) -> None:
    """The platform delivers again until it is acknowledged."""
    for _ in range(4):
        try:
            told.deliver()
        except Transient:
            told.lab.cloud.clock.advance(30)
        else:
            return
    pytest.fail("four deliveries were not enough")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["kill", "kill-after"])
def test_killed_at_any_call_the_redelivery_ends_where_a_clean_delivery_ends(
    story: Stories, name: str, kind: str
) -> None:
    """Whichever call it was, before or after it was carried out; and no rule stood without an intent on record."""
    wanted, calls = clean(story, name)
    assert calls >= 8
    for k in range(calls):
        told = story(name)
        before = told.state()
        intents = len(told.lab.records("intent"))
        told.lab.fault(kind=kind, skip=k)
        with pytest.raises(Killed):
            told.deliver()
        if told.state() != before:
            assert len(told.lab.records("intent")) > intents, f"a change without an intent, killed at call {k}"
        told.deliver()
        assert told.state() == wanted, f"killed at call {k} of {calls}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("mutual", kind) for kind in sorted(KINDS - {"slow", "kill", "kill-after"})),
        *(("change", kind) for kind in ("error", "reset-after", "throttle")),
    ],
)
def test_one_fault_at_any_call_does_not_change_the_end(story: Stories, name: str, kind: str) -> None:
    """Sat out, or given back to the platform: the world is as if nothing had been, and nothing is done twice."""
    wanted, calls = clean(story, name)
    for k in range(calls):
        told = story(name)
        told.lab.fault(kind=kind, skip=k)
        converge(told)
        assert told.state() == wanted, f"{kind} at call {k} of {calls}"


@pytest.mark.parametrize("kind", ["error-after", "html-after", "reset-after", "no-answer-after", "truncated-after"])
@pytest.mark.parametrize("name", NAMES)
def test_a_change_whose_answer_is_lost_is_not_made_twice(story: Stories, name: str, kind: str) -> None:
    """The group is read before anything is asked again: one delivery is enough, with as many changes as a clean one."""
    undisturbed = story(name)
    before = undisturbed.lab.changes()
    undisturbed.deliver()
    usual = undisturbed.lab.changes() - before
    for action in ("AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule"):
        told = story(name)
        before = told.lab.changes()
        told.lab.fault(service="ecs", action=action, kind=kind)
        told.deliver()
        assert told.state() == undisturbed.state()
        assert told.lab.changes() - before == usual, action


@pytest.mark.parametrize("kind", ["error", "html", "reset", "no-answer", "truncated"])
@pytest.mark.parametrize("action", ["AuthorizeSecurityGroup", "TagResources"])
def test_a_change_that_keeps_failing_is_given_back(story: Stories, action: str, kind: str) -> None:
    """Raised for the platform, with an attempt and no outcome; when the trouble is over the redelivery does it."""
    wanted, _ = clean(story, "mutual")
    told = story("mutual")
    told.lab.fault(service="ecs", action=action, kind=kind, times=None)
    with pytest.raises(Transient):
        told.deliver()
    assert told.state()["app"] == told.state()["db"] == []
    assert told.lab.records() == []
    assert told.lab.records("attempt")
    told.lab.cloud.faults.clear()
    told.deliver()
    assert told.state() == wanted


def test_throttling_is_sat_out_until_the_next_minute(lab: Lab) -> None:
    """ECS refuses a throttled call until the minute is over: asking earlier only costs."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.clock.advance(20)
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="throttle")
    begun = lab.cloud.clock.now()
    assert lab.auto_link(event) == {"applied": 1}
    assert 40 <= lab.cloud.clock.now() - begun < 50


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "AuthorizeSecurityGroup"])
def test_throttling_is_given_back_when_the_minute_is_longer_than_the_functions_time(lab: Lab, action: str) -> None:
    """At once: waiting would only be cut off, and be paid for."""
    app, db = lab.group(), lab.group("*")
    lab.context.function.timeout = 30
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="ecs", action=action, kind="throttle")
    begun = lab.cloud.clock.now()
    with pytest.raises(Transient, match="Throttling"):
        lab.auto_link(event)
    assert lab.cloud.clock.now() - begun < 1
    assert lab.rules(db) == []
    lab.cloud.clock.advance(60)
    assert lab.auto_link(event) == {"applied": 1}


@pytest.mark.parametrize("kind", ["error", "throttle", "html", "reset", "no-answer"])
def test_without_the_audit_log_nothing_is_changed(lab: Lab, kind: str) -> None:
    """The intent cannot be written: not even a tag is set, and the event comes again."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="sls", kind=kind, times=None)
    with pytest.raises(Transient):
        lab.auto_link(event)
    assert lab.changes() == 0
    lab.cloud.faults.clear()
    assert lab.auto_link(event) == {"applied": 1}


@pytest.mark.parametrize("kind", ["error", "reset", "no-answer"])
def test_an_outcome_that_could_not_be_written_is_told_at_the_redelivery(lab: Lab, kind: str) -> None:
    """The rule stands already, so it is `unchanged` then: an outcome all the same, and no second change."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="sls", kind=kind, skip=1, times=None)
    with pytest.raises(Transient):
        lab.auto_link(event)
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.cloud.faults.clear()
    assert lab.records() == []
    calls = lab.changes()
    assert lab.auto_link(event) == {"unchanged": 1}
    assert lab.changes() == calls


def test_a_denial_that_could_not_be_written_comes_again(lab: Lab) -> None:
    """It would be lost otherwise."""
    app, db = lab.group(), lab.group()
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="sls", kind="error", times=None)
    with pytest.raises(Transient):
        lab.auto_link(event)
    lab.cloud.faults.clear()
    assert lab.auto_link(event) == {"denied": 1}


@pytest.mark.parametrize("lag", [0.5, 2.0])
def test_a_rule_that_reads_back_late_is_waited_for(lab: Lab, lag: float) -> None:
    """Absent is not failed: it is read again, not written again."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.cloud.ecs.read_lag.rules = lag
    assert lab.auto_link(event) == {"applied": 1}
    assert lab.cloud.faults.count("ecs", "AuthorizeSecurityGroup") == 1


@pytest.mark.parametrize("lag", [30.0, 300.0])
def test_a_rule_that_does_not_read_back_in_time_is_never_called_applied(lab: Lab, lag: float) -> None:
    """Raised; once the reads have caught up the redelivery finds it, written once."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.cloud.ecs.read_lag.rules = lag
    with pytest.raises(Transient):
        lab.auto_link(event)
    assert lab.records() == []
    lab.cloud.clock.advance(lag)
    assert lab.auto_link(event) == {"unchanged": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.parametrize("lag", [0.5, 2.0])
def test_a_removal_that_reads_back_late_is_waited_for(lab: Lab, lag: float) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.cloud.clock.advance(10)
    lab.cloud.ecs.read_lag.rules = lag
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    lab.cloud.ecs.read_lag.rules = 0
    assert lab.rules(db) == []


def test_a_link_that_comes_goes_and_comes_again_stands(lab: Lab) -> None:
    """A remembered ClientToken would answer "done" for the rule that has been revoked since."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app)
    for _ in range(3):
        lab.tag(instance, link_peer=f"{db.id}:tcp/1")
        assert lab.auto_link(lab.tag_event(instance)) == {"applied": 1}
        assert lab.rules(db) == [f"{app.id} tcp/1"]
        lab.tag(instance, link_peer=None)
        assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
        assert lab.rules(db) == []


def test_no_change_is_begun_when_the_functions_time_is_nearly_over(lab: Lab) -> None:
    """It would be cut off in the middle: given back with an attempt instead."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", kind="slow", seconds=110)
    with pytest.raises(Transient):
        lab.auto_link(event)
    assert lab.rules(db) == []
    assert lab.records() == []
    assert lab.records("attempt")
    assert lab.auto_link(event) == {"applied": 1}
