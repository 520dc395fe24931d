"""auto_link under faults: any call of a delivery may fail in any way, and the final state is the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from link_peer.app import compose
from link_peer.domain.errors import Transient
from link_peer_local.core.clock import Clock
from link_peer_local.core.faults import KINDS, Call, Killed

from tests.functional.lab import HOME, MANAGED, PEER, Lab
from tests.functional.turns import AFTER, deaths, kinds_at

Event = dict[str, Any]
State = dict[str, Any]


class Case:
    """One delivery in its own world, and the state of that world afterwards."""

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
        """Some rules are added, one stays and some are removed."""
        instance = self.lab.instance(self.app, tags={"link-peer": f"{self.db.id} {self.db.id}:tcp/1+tcp/2"})
        self.lab.auto_link(self.lab.event(instance))
        self.lab.tag(instance, link_peer=f"{self.db.id}:tcp/2+tcp/3")
        return self.lab.tag_event(instance)

    def reasons(self) -> Event:
        """Markers change: a request's rule gains the tag's claim, another rule of ours loses it."""
        instance = self.lab.instance(self.app, tags={"link-peer": f"{self.db.id}:tcp/1"})
        self.lab.auto_link(self.lab.event(instance))
        self.lab.cross_account(self.lab.request(self.app, self.db, "tcp/1", "tcp/2"))
        self.lab.tag(instance, link_peer=f"{self.db.id}:tcp/2")
        return self.lab.tag_event(instance)

    def deliver(self) -> None:
        self.lab.auto_link(self.event)

    def state(self) -> State:
        """Rules, claims and the managed tag of both groups, with the group ids made comparable."""
        found: State = {}
        for name, group in (("app", self.app), ("db", self.db)):
            rules = [f"{rule} {_kept(raw)}" for rule, raw in self.lab.rules_of(group)]
            found[name] = sorted(r.replace(self.app.id, "app").replace(self.db.id, "db") for r in rules)
            found[f"{name} tags"] = self.lab.tags(group).get(MANAGED)
        return found


def _kept(raw: dict[str, Any]) -> str:
    """Priority and claims."""
    return f"{raw['Priority']} {str(raw['Description']).partition('by=')[2].partition(' from=')[0]}"


MakeCase = Callable[[str], Case]


@pytest.fixture(name="make_case")
def _make_case(make_lab: Callable[[], Lab]) -> MakeCase:
    """Builds a case in a new world."""
    return lambda name: Case(make_lab(), name)


NAMES = ["mutual", "instances", "change", "reasons"]
CHANGES = ["AuthorizeSecurityGroup", "RevokeSecurityGroup", "ModifySecurityGroupRule"]


def clean(make_case: MakeCase, name: str) -> tuple[State, list[Call]]:
    """The state after a delivery without faults, and its calls."""
    case = make_case(name)
    before = case.lab.calls()
    case.deliver()
    return case.state(), list(case.lab.cloud.faults.calls)[before:]


def converge(case: Case) -> None:
    """Delivers the event, then what the function put on the queue because of trouble."""
    case.deliver()
    case.lab.drain(60)
    assert case.lab.queued(after=600) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_delivery_killed_at_any_call_is_completed_by_the_redelivery(make_case: MakeCase, name: str) -> None:
    """Before the first call or after any; no rule is changed without an intent on record."""
    wanted, calls = clean(make_case, name)
    assert len(calls) >= 8
    for death in deaths(calls):
        case = make_case(name)
        before = case.state()
        intents = len(case.lab.records("intent"))
        case.lab.fault(**death)
        with pytest.raises(Killed):
            case.deliver()
        if case.state() != before:
            assert len(case.lab.records("intent")) > intents, f"a change without an intent, {death}"
        case.lab.forget()
        case.deliver()
        assert case.state() == wanted, death


@pytest.mark.parametrize("name", ["mutual", "change"])
def test_one_fault_at_any_call_does_not_change_the_final_state(make_case: MakeCase, name: str) -> None:
    """The event is acknowledged: the call is retried, or the instance looked at again. Nothing is done twice."""
    wanted, calls = clean(make_case, name)
    for k in range(len(calls)):
        for kind in kinds_at(k):
            case = make_case(name)
            case.lab.fault(kind=kind, skip=k)
            converge(case)
            assert case.state() == wanted, f"{kind} at call {k} of {len(calls)}"


@pytest.mark.parametrize("name", NAMES)
def test_a_change_whose_response_is_lost_is_not_repeated(make_case: MakeCase, name: str) -> None:
    """The group is read before the change is retried: one delivery suffices, with as many changes as a clean one."""
    undisturbed = make_case(name)
    before = undisturbed.lab.changes()
    undisturbed.deliver()
    usual = undisturbed.lab.changes() - before
    for turn, action in enumerate(CHANGES, start=NAMES.index(name)):
        kind = AFTER[turn % len(AFTER)]
        case = make_case(name)
        before = case.lab.changes()
        case.lab.fault(service="ecs", action=action, kind=kind)
        case.deliver()
        assert case.state() == undisturbed.state()
        assert case.lab.changes() - before == usual, action


@pytest.mark.parametrize("kind", ["error", "html", "reset", "no-answer", "truncated"])
@pytest.mark.parametrize("action", ["AuthorizeSecurityGroup", "TagResources"])
def test_a_change_that_keeps_failing_is_made_by_a_later_look(make_case: MakeCase, action: str, kind: str) -> None:
    """The event is acknowledged, with an attempt and no outcome on record, and so is each look while the fault lasts.
    Once it is over, the next look makes the change."""
    wanted, _ = clean(make_case, "mutual")
    case = make_case("mutual")
    case.lab.fault(service="ecs", action=action, kind=kind, times=None)
    case.deliver()
    assert case.lab.drain(60) == {}
    assert case.state()["app"] == case.state()["db"] == []
    assert case.lab.records() == []
    assert case.lab.records("attempt", function="auto_link")
    assert case.lab.records("attempt", function="cross_account")
    case.lab.cloud.faults.clear()
    assert case.lab.drain(60) == {"applied": 1}
    assert case.state() == wanted


def test_a_look_for_trouble_expires_after_an_hour(lab: Lab) -> None:
    """It is repeated until then, after delays that grow from ten seconds to ten minutes. The last one is final."""
    instance = lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    lab.fault(service="ecs", kind="throttle", times=None)
    lab.auto_link(lab.event(instance))
    expires = lab.iso_millis(3600)
    delays, looks = [], []
    while (due := lab.cloud.mns.next_visible_at(HOME, lab.cloud.world.queue)) is not None:
        delays.append(round(due - lab.cloud.clock.now()))
        (look,) = lab.queued(after=due - lab.cloud.clock.now())
        looks.append(look)
        lab.cross_account(look)
    assert delays == [10, 10, 20, 40, 80, 160, 320, *[600] * 5]
    assert [look.pop("attempt", 0) for look in looks] == list(range(12))
    assert looks == [lab.look(instance, expires)] * 12
    assert [record["reason"] for record in lab.records()] == ["expired"]


class PatientClock:
    """The cloud's clock, with a note of every wait of the functions (seconds)."""

    def __init__(self, clock: Clock) -> None:
        self.waits = [0.0]
        self.now = clock.now
        self._sleep = clock.sleep

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._sleep(seconds)


@pytest.mark.parametrize("kind", sorted(KINDS - {"slow", "kill", "kill-after"}))
@pytest.mark.parametrize("service", ["ecs", "sls"])
def test_no_wait_is_longer_than_five_seconds(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, service: str, kind: str
) -> None:
    """Whatever fails, and for however long: a handler that sleeps holds up what is behind it. (The time that a client
    waits for an answer is not counted.)"""
    instance = lab.instance(lab.group(), tags={"link-peer": f"{lab.group('*').id}:tcp/1"})
    lab.cloud.ecs.read_lag.rules = 300
    event = lab.event(instance)
    clock = PatientClock(lab.cloud.clock)
    monkeypatch.setattr(compose, "clock_for_functions", lambda: clock)
    for skip in (0, 1, 4):
        lab.fault(service=service, kind=kind, skip=skip, times=None)
        lab.auto_link(event)
        lab.cloud.faults.clear()
    assert max(clock.waits) <= 5


@pytest.mark.parametrize("kind", ["error", "reset", "no-answer"])
def test_an_outcome_that_could_not_be_written_is_recorded_by_the_look(lab: Lab, kind: str) -> None:
    """By then the rule exists, so the outcome is `unchanged`, and no second change is made."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="sls", kind=kind, skip=1, times=None)
    assert lab.auto_link(event) == {}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.cloud.faults.clear()
    assert lab.records() == []
    calls = lab.changes()
    assert lab.drain(60) == {"unchanged": 1}
    assert lab.changes() == calls


def test_a_denial_that_could_not_be_recorded_is_recorded_by_the_look(lab: Lab) -> None:
    """Otherwise it would be lost."""
    app, db = lab.group(), lab.group()
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="sls", kind="error", times=None)
    assert lab.auto_link(event) == {}
    lab.cloud.faults.clear()
    assert lab.drain(60) == {"denied": 1}


@pytest.mark.parametrize("kind", ["error", "throttle", "reset", "no-answer"])
@pytest.mark.parametrize("service", ["ecs", "sls"])
def test_an_event_in_trouble_is_redelivered_if_the_queue_is_unavailable(lab: Lab, service: str, kind: str) -> None:
    """Nothing else would look at the instance again, so the function raises."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service=service, kind="error", times=None)
    lab.fault(service="mns", kind=kind, times=None)
    with pytest.raises(Transient):
        lab.auto_link(event)
    lab.cloud.faults.clear()
    assert lab.auto_link(event) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.parametrize("lag", [30.0, 300.0])
def test_a_rule_that_is_never_shown_in_time_is_not_reported_as_applied(lab: Lab, lag: float) -> None:
    """The instance is looked at again. Once reads have caught up, the look finds the rule, written once."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.cloud.ecs.read_lag.rules = lag
    assert lab.auto_link(event) == {}
    assert lab.records() == []
    (look,) = lab.queued(after=lag)
    assert lab.cross_account(look) == {"unchanged": 1}
    assert lab.rules(db) == [f"{app.id} tcp/1"]


@pytest.mark.parametrize("lag", [0.5, 2.0])
def test_a_removal_that_is_shown_late_is_awaited(lab: Lab, lag: float) -> None:
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.tag(instance, link_peer=None)
    lab.cloud.clock.advance(10)
    lab.cloud.ecs.read_lag.rules = lag
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    lab.cloud.ecs.read_lag.rules = 0
    assert lab.rules(db) == []


def test_no_change_is_started_shortly_before_the_timeout(lab: Lab) -> None:
    """It could be cut off in the middle. A look is posted instead, with an attempt on record."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    lab.fault(service="ecs", action="DescribeSecurityGroupAttribute", kind="slow", seconds=110)
    assert lab.auto_link(event) == {}
    assert lab.rules(db) == []
    assert lab.records() == []
    assert lab.records("attempt")
    assert lab.drain(60) == {"applied": 1}
