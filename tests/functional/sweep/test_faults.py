"""sweep under faults: struck at any call, or crossed by another delivery, the next run ends where a clean one ends."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from link_peer.domain.errors import Transient
from link_peer_local.core.faults import Killed

from tests.functional.lab import HOME, PEER, Lab

LAST = 60  # more calls than a run makes


class Neglect:
    """A world in which everything has gone wrong that a sweep repairs, and where it must end."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.a, self.b = lab.pair()
        self.app, self.db, self.old = lab.group(), lab.group("*"), lab.group("*")
        one, two = lab.instance(self.a), lab.instance(self.b)
        self.ports = f"{self.app.id} tcp/1"
        instance = lab.instance(self.app, tags={"link-peer": f"{self.db.id}:tcp/1 {self.old.id}:tcp/2"})
        lab.auto_link(lab.event(instance))
        lab.cross_account(
            lab.request(self.a, self.b),
            lab.request(self.a, self.b, "tcp/7", request_id="chg-2", until=lab.iso(60)),
            lab.request(one, two, "tcp/8", request_id="chg-3"),
        )
        self.gone = one
        lab.cloud.clock.advance(60)  # chg-2 is over
        lab.tag(instance, link_peer=f"{self.db.id}:tcp/1")  # the event was lost
        for group in (self.a, self.db):  # a hand
            rule = next(r for r in lab.raw_rules(group) if r["IpProtocol"] in ("ALL", "TCP"))
            params = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
            lab.call(HOME, "RevokeSecurityGroup", params)
        lab.call(HOME, "DeleteInstance", {"InstanceId": one.id, "Force": "true"})  # so was this one

    def repaired(self) -> None:
        lab = self.lab
        assert lab.rules(self.a) == [f"{self.b.id} all"]
        assert lab.rules(self.b) == [f"{self.a.id} all"]
        assert lab.rules(self.db) == [self.ports]
        assert lab.rules(self.old) == []
        for group, holds in ((self.a, True), (self.b, True), (self.db, True), (self.old, False)):
            assert (lab.tags(group).get("link-managed.prod") == "true") == holds


def test_one_run_repairs_everything(lab: Lab) -> None:
    """The world of these tests, without faults; and the loops over its calls reach the last one."""
    neglect = Neglect(lab)
    start = lab.calls()
    lab.sweep()
    assert lab.calls() - start < LAST
    neglect.repaired()
    before = lab.changes()
    lab.sweep()
    assert lab.changes() == before


@pytest.mark.parametrize("kind", ["kill", "reset-after"])
def test_struck_at_any_call_the_next_run_ends_in_the_same_place(make_lab: Callable[[], Lab], kind: str) -> None:
    """At call k, for every k; nothing that must stay goes meanwhile."""
    for k in range(LAST):
        lab = make_lab()
        neglect = Neglect(lab)
        lab.fault(kind=kind, skip=k)
        with contextlib.suppress(Transient, Killed):
            lab.sweep()
        assert f"{neglect.a.id} all" in lab.rules(neglect.b)
        done = bool(lab.cloud.faults.waiting())
        lab.cloud.faults.clear()
        lab.sweep()
        neglect.repaired()
        if done:
            break
    else:
        raise AssertionError("LAST is too small")


@pytest.mark.parametrize("action", ["link", "unlink"])
def test_a_request_in_the_middle_of_a_sweep_holds_after_the_next(make_lab: Callable[[], Lab], action: str) -> None:
    """At every call: both sides or neither, as the request says, and no reason is lost to the sweep."""
    for k in range(LAST):
        lab = make_lab()
        a, b = lab.pair()
        lab.instance(a)
        lab.instance(b)
        lab.cross_account(lab.request(a, b, until=lab.iso(60)))
        lab.cloud.clock.advance(60)
        request = lab.request(a, b, request_id="chg-2", action=action)
        reached = lab.interrupt(k, lambda lab=lab, request=request: lab.cross_account(request))  # type: ignore[misc]
        lab.sweep()
        lab.sweep()
        if not reached():
            break
        expected = ["req:chg-2"] if action == "link" else []
        assert (lab.reasons(a), lab.reasons(b)) == (expected, expected), f"at call {k}"
        assert ("link-managed.prod" in lab.tags(a)) == bool(expected), f"at call {k}"
    assert k > 8


def test_an_event_in_the_middle_of_a_sweep_loses_nothing(make_lab: Callable[[], Lab]) -> None:
    """auto_link links a tag that the sweep has not seen: the link stands after both."""
    for k in range(LAST):
        lab = make_lab()
        app, db = lab.group(), lab.group("*")
        instance = lab.instance(app)

        def tagged(lab: Lab = lab, db: str = db.id, instance: str = instance.id) -> None:
            params = {"ResourceType": "instance", "ResourceId.1": instance, "Tag.1.Key": "link-peer"}
            lab.call(HOME, "TagResources", {**params, "Tag.1.Value": f"{db}:tcp/1"})
            lab.auto_link(lab.event(instance))

        reached = lab.interrupt(k, tagged)
        lab.sweep()
        if not reached():
            break
        assert lab.rules(db) == [f"{app.id} tcp/1"], f"at call {k}"
        assert lab.tags(db)["link-managed.prod"] == "true", f"at call {k}"
    assert k > 2


def test_a_run_that_was_killed_is_told_by_its_intents(lab: Lab) -> None:
    """An intent without an outcome is the list of what is to be finished."""
    neglect = Neglect(lab)
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="kill")
    with pytest.raises(Killed):
        lab.sweep()
    intents = {(r["from"], r["to"]) for r in lab.records("intent", function="sweep")}
    assert (neglect.app.id, neglect.db.id) in intents
    assert lab.records(function="sweep") == []


def test_the_other_account_is_swept_although_home_is_throttled(lab: Lab) -> None:
    """An API that is refused for longer than the run has time is a failed read of that account alone."""
    app, db = lab.group(account=PEER), lab.group("*", account=PEER)
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.fault(service="ecs", account=HOME, kind="throttle", times=None)
    lab.sweep()
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert HOME in json.dumps(lab.records("summary")[-1])


def test_an_end_is_not_told_where_the_change_that_brings_it_is_refused(lab: Lab) -> None:
    """The tag's reason comes and the request's goes, in one change of the marker."""
    app, db = lab.group(), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1", until=lab.iso(60)))
    lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(db)
    lab.cloud.clock.advance(61)
    lab.fault(service="ecs", action="ModifySecurityGroupRule", code="Forbidden.RAM", status=403, times=None)
    lab.fault(service="ecs", action="RevokeSecurityGroup", code="Forbidden.RAM", status=403, times=None)
    assert "removed" not in lab.sweep()
    assert lab.records(outcome="removed") == []
    assert lab.reasons(db)[0].startswith("req:chg-1~")
    lab.cloud.faults.clear()
    assert lab.sweep() == {"applied": 1, "removed": 1}
    assert lab.reasons(db) == ["tag"]
