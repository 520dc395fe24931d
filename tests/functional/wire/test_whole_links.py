"""A link is one decision: all of it exists or none, and a claim that a rule loses is recorded as a removal."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, Lab


@pytest.mark.knobs(group_sources="rules")
def test_a_link_that_outgrows_its_group_keeps_its_rules(lab: Lab) -> None:
    """tcp/1 is open, the tag now says tcp/1+tcp/2, and the group is full: tcp/1 stays open, and the record says why."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    for port in range(19):
        lab.authorize(
            db, SourceGroupId=lab.group().id, IpProtocol="tcp", PortRange=f"{port + 10}/{port + 10}", NicType="intranet"
        )
    lab.tag(instance, link_peer=f"{db.id}:tcp/1+tcp/2")

    assert lab.auto_link(lab.event(instance)) == {"failed": 1}

    assert [rule for rule in lab.rules(db) if rule.startswith(app.id)] == [f"{app.id} tcp/1"]
    assert [r["ports"] for r in lab.records(outcome="failed", reason="quota")] == ["tcp/1+tcp/2"]
    before = lab.changes()
    assert lab.sweep() == {"failed": 1}
    assert lab.changes() == before + 1  # it is tried again, since the API decides; and the managed tag stays as it is
    assert [rule for rule in lab.rules(db) if rule.startswith(app.id)] == [f"{app.id} tcp/1"]


def test_a_copy_of_our_rule_with_a_higher_priority_is_removed(lab: Lab) -> None:
    """It has a valid marker, and at priority 1 it would beat an operator's drop."""
    app, db = lab.group(), lab.group("*")
    lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    (ours,) = lab.raw_rules(db)
    lab.authorize(
        db,
        SourceGroupId=app.id,
        IpProtocol="tcp",
        PortRange="1/1",
        NicType="intranet",
        Priority="1",
        Description=ours["Description"],
    )

    lab.sweep()

    assert [rule["SecurityGroupRuleId"] for rule in lab.raw_rules(db)] == [ours["SecurityGroupRuleId"]]
    before = lab.changes()
    lab.sweep()
    assert lab.changes() == before


def test_withdrawn_consent_of_a_requests_rule_is_recorded_once(lab: Lab) -> None:
    """No one asks for it now, so the sweep records the removal and no denial."""
    app, db = lab.group(), lab.group("*")
    lab.instance(app)
    lab.cross_account(lab.request(app, db, "tcp/1"))
    lab.tag(db, link_accept=None)

    lab.sweep()

    assert not lab.rules(db)
    assert [r["outcome"] for r in lab.records(function="sweep", reason="no-consent")] == ["removed"]
    assert lab.records(function="sweep", reason="no-consent")[0]["to_account"] == HOME
