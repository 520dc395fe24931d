"""The sweep under faults: after a fault at any call, or a concurrent delivery, the next run reaches the state of a
clean run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from link_peer.domain.errors import RedeliveryNeeded, Transient
from link_peer_local.core.faults import Call, Killed

from tests.functional.lab import HOME, MANAGED, PEER, Lab
from tests.functional.turns import deaths

LAST = 60  # more calls than a run makes


class Neglect:
    """A world with everything that a sweep repairs, and its expected final state: a tag's mutual link with one side
    missing (c, d) is completed, a request's (a, b) is removed."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.a, self.b = lab.pair()
        self.c, self.d = lab.pair()
        wanting = lab.instance(self.c, tags={"link-peer": f"{self.d.id}@{PEER}"})
        self.app, self.db, self.old = lab.group(), lab.group("*"), lab.group("*")
        one, two = lab.instance(self.a), lab.instance(self.b)
        self.ports = f"{self.app.id} tcp/1"
        instance = lab.instance(self.app, tags={"link-peer": f"{self.db.id}:tcp/1 {self.old.id}:tcp/2"})
        lab.auto_link(lab.event(instance), lab.event(wanting))
        lab.cross_account(*lab.queued())
        lab.cross_account(
            lab.request(self.a, self.b),
            lab.request(self.a, self.b, "tcp/7", request_id="chg-2", until=lab.iso(60)),
            lab.request(one, two, "tcp/8", request_id="chg-3"),
        )
        self.gone = one
        lab.cloud.clock.advance(1800)  # chg-2 is over
        lab.tag(instance, link_peer=f"{self.db.id}:tcp/1")  # the event was lost
        for group in (self.a, self.c, self.db):  # a person deletes a rule
            rule = next(r for r in lab.raw_rules(group) if r["IpProtocol"] in ("ALL", "TCP"))
            params = {"SecurityGroupId": group.id, "SecurityGroupRuleId.1": rule["SecurityGroupRuleId"]}
            lab.call(HOME, "RevokeSecurityGroup", params)
        lab.call(HOME, "DeleteInstance", {"InstanceId": one.id, "Force": "true"})  # this event was lost too

    def repaired(self) -> None:
        lab = self.lab
        assert (lab.rules(self.a), lab.rules(self.b)) == ([], [])
        assert lab.rules(self.c) == [f"{self.d.id} all"]
        assert lab.rules(self.d) == [f"{self.c.id} all"]
        assert lab.rules(self.db) == [self.ports]
        assert lab.rules(self.old) == []
        for group in (self.a, self.b, self.old):
            assert MANAGED not in lab.tags(group)
        for group in (self.c, self.d, self.db):
            assert lab.tags(group)[MANAGED] == "true"


def clean(lab: Lab) -> list[Call]:
    """The calls of a run without faults, which repairs everything and leaves the next one nothing to change."""
    neglect = Neglect(lab)
    start = lab.calls()
    lab.sweep()
    calls = list(lab.cloud.faults.calls)[start:]
    neglect.repaired()
    before = lab.changes()
    lab.sweep()
    assert lab.changes() == before
    return calls


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("kind", ["kill", "reset-after"])
def test_a_run_hit_by_a_fault_at_any_call_is_completed_by_the_next(
    make_lab: Callable[[], Lab], lab: Lab, kind: str
) -> None:
    """No rule that must stay is removed meanwhile."""
    calls = clean(lab)
    resets = [{"kind": kind, "skip": k} for k in range(len(calls))]
    for fault in deaths(calls) if kind == "kill" else resets:
        again = make_lab()
        neglect = Neglect(again)
        again.fault(**fault)
        with contextlib.suppress(Transient, Killed):
            again.sweep()
        assert not again.cloud.faults.waiting()
        assert f"{neglect.c.id} all" in again.rules(neglect.d)
        again.forget()
        again.sweep()
        neglect.repaired()


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("action", ["link", "unlink"])
def test_a_request_during_a_sweep_is_in_effect_on_both_sides_or_neither(
    make_lab: Callable[[], Lab], action: str
) -> None:
    """At every call: both sides or neither, as requested, and the sweep loses no claim, but for a claim that joins a
    marker between the read and the removal of the rule: the API has no compare-and-set. The other half goes then, once it
    is 30 minutes old."""
    losses: list[int] = []
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
        if not reached():
            break
        lost = next((g for g in (a, b) if action == "link" and lab.reasons(g) == []), None)
        if lost:
            revoked = [c for c in lab.cloud.faults.calls if c.action == "RevokeSecurityGroup"]
            assert lost.id in [call.params["SecurityGroupId"] for call in revoked], f"at call {k}"
            losses.append(k)
        lab.sweep()
        lab.cloud.clock.advance(1800)
        lab.sweep()
        expected = ["req:chg-2"] if action == "link" and not lost else []
        assert (lab.reasons(a), lab.reasons(b)) == (expected, expected), f"at call {k}"
        assert (MANAGED in lab.tags(a)) == bool(expected), f"at call {k}"
    assert k > 8
    assert len(losses) == (2 if action == "link" else 0)


@pytest.mark.knobs(request_tags=True)
def test_a_link_made_by_an_event_during_a_sweep_stays(make_lab: Callable[[], Lab]) -> None:
    """auto_link links a tag that the sweep has not read: the link exists after both."""
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
        assert lab.tags(db)[MANAGED] == "true", f"at call {k}"
    assert k > 2


def test_a_killed_run_leaves_its_intents(lab: Lab) -> None:
    """Intents without outcomes list the work to be completed."""
    neglect = Neglect(lab)
    lab.fault(service="ecs", action="AuthorizeSecurityGroup", kind="kill")
    with pytest.raises(Killed):
        lab.sweep()
    intents = {(r["from"], r["to"]) for r in lab.records("intent", function="sweep")}
    assert (neglect.app.id, neglect.db.id) in intents
    # what is closed first has its outcome already
    assert {record["outcome"] for record in lab.records(function="sweep")} == {"removed"}
    assert lab.records("summary", function="sweep") == []


def test_an_expiry_is_not_recorded_if_its_change_is_refused(lab: Lab) -> None:
    """One change of the marker adds the tag's claim and removes the request's."""
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


@pytest.mark.parametrize("fault", [{"code": "Forbidden.RAM", "status": 403}, {"kind": "error"}, {"kind": "throttle"}])
def test_what_went_is_recorded_though_a_later_call_for_the_same_group_fails(lab: Lab, fault: dict[str, Any]) -> None:
    """One call takes a hundred rules. Those of the others stay, and are recorded when they go."""
    lab.cloud.ecs.quotas.group_source_rules = 150
    db, source = lab.group(), lab.group()
    for port in range(1, 151):
        lab.forge(db, source, "tag", f"tcp/{port}")
    lab.fault(service="ecs", action="RevokeSecurityGroup", skip=1, times=None, **fault)
    with contextlib.suppress(RedeliveryNeeded):
        lab.sweep()

    def gone() -> set[str]:
        return {rule["rule_id"] for record in lab.records(outcome="removed") for rule in json.loads(record["rules"])}

    assert (len(lab.rules(db)), len(gone())) == (50, 100)
    assert gone().isdisjoint(rule["SecurityGroupRuleId"] for rule in lab.raw_rules(db))
    lab.cloud.faults.clear()
    lab.sweep()
    assert (lab.rules(db), len(gone())) == ([], 150)
