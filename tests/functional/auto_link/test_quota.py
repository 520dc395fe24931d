"""auto_link and quotas: detected before the write where possible, otherwise rolled back."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, MANAGED, Lab


@pytest.mark.knobs(group_sources="rules")
def test_a_link_that_does_not_fit_is_not_opened_in_part(lab: Lab) -> None:
    """A link is one decision: all of its rules or none."""
    app, db = lab.group(), lab.group("*")
    lab.fill(db, 18)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1+tcp/2+tcp/3"})
    assert lab.auto_link(lab.event(instance)) == {"failed": 1}
    assert len(lab.rules(db)) == 18
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/1+tcp/2") == {"applied": 1}
    assert len(lab.rules(db)) == 20


@pytest.mark.knobs(group_sources="rules")
def test_two_links_compete_for_the_last_free_rule(lab: Lab) -> None:
    """The first gets it, the second fails."""
    app, db = lab.group(), lab.group("*")
    lab.fill(db, 19)
    tags = {"link-peer": f"{db.id}:tcp/1 {db.id}:tcp/2"}
    assert lab.auto_link(lab.event(lab.instance(app, tags=tags))) == {"applied": 1, "failed": 1}
    assert len(lab.rules(db)) == 20


def test_a_removal_makes_room_for_an_addition(lab: Lab) -> None:
    """In a full group, changing a tag still works: the old rule is removed first."""
    app, db = lab.group(), lab.group("*")
    lab.fill(db, 19)
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.retag(instance, link_peer=f"{db.id}:tcp/2") == {"applied": 1, "removed": 1}
    assert f"{app.id} tcp/2" in lab.rules(db)
    assert len(lab.rules(db)) == 20


@pytest.mark.parametrize("instances", [False, True])
def test_a_quota_hit_on_the_second_side_rolls_back_the_first(lab: Lab, instances: bool) -> None:
    """The quota of all rules cannot be checked in advance. Both sides or neither, and one outcome, `failed`."""
    app, db = lab.group("*"), lab.group("*")
    for port in (1, 2, 3):
        lab.authorize(app, IpProtocol="TCP", PortRange=f"{port}/{port}", SourceCidrIp="10.9.0.0/16")
    lab.cloud.ecs.quotas.rules_per_group = 3
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": target.id if instances else db.id})
    outcomes = lab.auto_link(lab.event(instance))
    assert outcomes["failed"] == 1
    assert "applied" not in outcomes
    assert lab.rules(db) == []
    assert len(lab.rules(app)) == 3
    (record,) = lab.records(outcome="failed")
    assert record["reason"] == "quota"


def test_a_rollback_keeps_a_rule_that_another_claim_holds(lab: Lab) -> None:
    """A request holds a rule on db; the mutual tag link fails on app's side: the request's rule stays."""
    app, db = lab.group("*"), lab.group("*")
    lab.cross_account(lab.request(app, db, "tcp/1"))
    for port in (1, 2, 3):
        lab.authorize(app, IpProtocol="TCP", PortRange=f"{port}/{port}", SourceCidrIp="10.9.0.0/16")
    lab.cloud.ecs.quotas.rules_per_group = 3
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": db.id})))["failed"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    assert lab.reasons(db) == ["req:chg-1"]


def test_a_failed_link_is_retried_by_the_next_event(lab: Lab) -> None:
    """Now there is room: the failure is not remembered."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.quotas.rules_per_group = 0
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    assert lab.auto_link(event) == {"failed": 1}
    lab.cloud.ecs.quotas.rules_per_group = 200
    assert lab.auto_link(event) == {"applied": 1}


def test_a_link_keeps_a_rule_that_it_shares_with_a_failed_link(lab: Lab) -> None:
    """Two links share a port and the longer does not fit: the shorter one's rule stays."""
    app, db = lab.group(), lab.group("*")
    lab.cloud.ecs.quotas.rules_per_group = 1
    tags = {"link-peer": f"{db.id}:tcp/1 {db.id}:tcp/1+tcp/2"}
    outcomes = lab.auto_link(lab.event(lab.instance(app, tags=tags)))
    assert outcomes["failed"] == 1
    assert lab.rules(db) == [f"{app.id} tcp/1"]


def test_a_claim_that_does_not_fit_the_description_fails(lab: Lab) -> None:
    """512 characters at most: the rule and its existing claims stay. (Only a marker that was written by hand is so long:
    ours keep room for a tag.)"""
    app, db = lab.group(), lab.group("*")
    lab.tag(db, **{MANAGED: "true"})
    marker = f"link-peer/2 dep=prod home={HOME} id={lab.rule_id(db, app, 'tcp/1')} by="
    marker += ",".join(f"req:change-request-number-{n:06d}" for n in range(13))
    lab.authorize(
        db,
        IpProtocol="TCP",
        PortRange="1/1",
        Priority="100",
        SourceGroupId=app.id,
        Description=marker.ljust(512, "x"),
    )
    before = lab.raw_rules(db)
    assert len(before[0]["Description"]) == 512
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))) == {"failed": 1}
    assert lab.outcome()["reason"] == "quota"
    assert lab.raw_rules(db) == before


def test_requests_leave_room_for_the_tags_claim(lab: Lab) -> None:
    """A request whose claim fits, but would leave no room for `tag`, fails; the tag's claim then fits."""
    app, db = lab.group(), lab.group("*")
    room = 512 - len(f"link-peer/2 dep=prod home={HOME} id={lab.rule_id(db, app, 'tcp/1')} by=")
    ids = [f"chg-{n}-".ljust(43, "x") for n in range(room // 48)]  # each takes 48 characters, with `req:` and a comma
    for request_id in ids:
        assert lab.cross_account(lab.request(app, db, "tcp/1", request_id=request_id)) == {"applied": 1}
    (rule,) = lab.raw_rules(db)
    left = 512 - len(rule["Description"])
    assert len(",req:a") < left < 50
    last = "z" * (left - len(",req:"))
    assert lab.cross_account(lab.request(app, db, "tcp/1", request_id=last)) == {"failed": 1}
    assert lab.outcome()["reason"] == "quota"
    assert lab.raw_rules(db) == [rule]

    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))) == {"applied": 1}
    assert lab.reasons(db)[0].split(",")[0] == "tag"


def test_a_group_without_room_for_the_managed_tag_gets_its_rule_all_the_same(lab: Lab) -> None:
    """The marker says whose it is. The record says that the tag is missing, and every sweep finds the rule."""
    app, db = lab.group(), lab.group("*")
    for number in range(19):
        lab.tag(db, **{f"other_{number}": "x"})
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert "managed tags of " in lab.outcome()["detail"]
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.tag(db, link_accept=None)
    assert lab.sweep() == {"removed": 1}
