"""auto_link and the rules of others: a person's rule is never changed or removed, whatever it looks like."""

from __future__ import annotations

from typing import Any

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, Lab

PORT = {"IpProtocol": "TCP", "PortRange": "3306/3306"}


def by_hand(lab: Lab, target: Group, source: Group, **fields: str) -> dict[str, Any]:
    """A rule that a person made, as it reads back."""
    rule_id = lab.authorize(target, SourceGroupId=source.id, **{**PORT, **fields})
    return next(rule for rule in lab.raw_rules(target) if rule["SecurityGroupRuleId"] == rule_id)


@pytest.mark.parametrize(
    "fields", [{}, {"Priority": "100"}, {"Priority": "50", "Description": "made for the audit"}, {"IpProtocol": "tcp"}]
)
def test_an_equal_rule_of_a_persons_counts_as_present(lab: Lab, fields: dict[str, str]) -> None:
    """Equal but for priority and description: `unchanged`, `human-rule`, not one changing call."""
    app, db = lab.group(), lab.group("*")
    before = by_hand(lab, db, app, **fields)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    assert lab.outcome()["reason"] == "human-rule"
    assert lab.raw_rules(db) == [before]
    assert lab.changes() == 0


def test_a_persons_rule_outlives_the_link(lab: Lab) -> None:
    """The tag goes, the instance goes, the consent goes: the rule was never ours."""
    app, db = lab.group(), lab.group("*")
    before = by_hand(lab, db, app)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.instance(app)
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.tag(db, link_accept=None)
    lab.auto_link(lab.tag_event(instance))
    lab.call(HOME, "DeleteInstance", {"InstanceId": instance.id, "Force": "true"})
    lab.auto_link(lab.event(instance, "Deleted"))
    assert lab.raw_rules(db) == [before]


def test_only_the_missing_ports_are_written_beside_a_persons_rule(lab: Lab) -> None:
    """And only those are taken back."""
    app, db = lab.group(), lab.group("*")
    before = by_hand(lab, db, app)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306+tcp/3307"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/3306", f"{app.id} tcp/3307"]
    lab.tag(instance, link_peer=None)
    assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
    assert lab.raw_rules(db) == [before]


def test_a_mutual_link_with_one_side_made_by_hand_is_completed(lab: Lab) -> None:
    app, db = lab.group("*"), lab.group("*")
    by_hand(lab, db, app, IpProtocol="ALL", PortRange="-1/-1")
    instance = lab.instance(app, tags={"link-peer": db.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.reasons(app) == ["tag"]
    assert lab.reasons(db) == []


def test_an_operators_drop_outlives_a_link_and_wins(lab: Lab) -> None:
    """It does not count as present, it stays, and priority 100 of ours never beats it."""
    app, db = lab.group(), lab.group("*")
    drop = by_hand(lab, db, app, Policy="drop", Priority="100")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert len(lab.rules(db)) == 2
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.raw_rules(db) == [drop]


@pytest.mark.parametrize("forgery", ["other-id", "other-deployment", "copied", "with-tail", "unknown-version", "ends"])
def test_a_rule_that_only_looks_like_ours_is_not(lab: Lab, forgery: str) -> None:
    """Nobody wants these rules, and they stay: the marker must be of this deployment, and of this very rule."""
    app, db = lab.group(), lab.group("*")
    right = lab.rule_id(db, app, "tcp/3306")
    marker = {
        "other-id": "link-peer/1 dep=prod id=0123456789abcdef by=tag",
        "other-deployment": f"link-peer/1 dep=test id={right} by=tag",
        "copied": f"link-peer/1 dep=prod id={lab.rule_id(db, app, 'tcp/3307')} by=tag",
        "with-tail": f"link-peer/1 dep=prod id={right} by=tag (do not remove)",
        "unknown-version": f"link-peer/2 dep=prod id={right} by=tag",
        "ends": f"link-peer/1 dep=prod id={right} by=tag from=i-a to=i-b",
    }[forgery]
    lab.tag(db, **{"link-managed.prod": "true"})
    before = by_hand(lab, db, app, Priority="100", Description=marker)
    instance = lab.instance(app)
    assert lab.auto_link(lab.tag_event(instance)) == {}
    assert lab.raw_rules(db) == [before]

    lab.tag(instance, link_peer=f"{db.id}:tcp/3306")
    assert lab.auto_link(lab.tag_event(instance)) == {"unchanged": 1}
    assert lab.outcome()["reason"] == "human-rule"
    assert lab.raw_rules(db) == [before]


def test_two_deployments_leave_each_others_rules_alone(lab: Lab) -> None:
    """One account, two functions: each removes what it wrote."""
    app, db = lab.group(), lab.group("*")
    one = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.auto_link(lab.event(one))
    lab.policy(deployment="test")
    lab.tag(one, link_peer=None)
    assert lab.auto_link(lab.tag_event(one)) == {}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.policy()
    assert lab.auto_link(lab.tag_event(one)) == {"removed": 1}


def test_a_priority_that_a_hand_set_on_our_rule_is_put_back(lab: Lab) -> None:
    """An accept of ours with priority 1 would beat an operator's drop."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    (rule,) = lab.raw_rules(db)
    lab.modify(db, rule, Priority="1")
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    (after,) = lab.raw_rules(db)
    assert int(after["Priority"]) == 100
    assert after["SecurityGroupRuleId"] == rule["SecurityGroupRuleId"]


def test_a_rule_of_ours_that_a_person_changed_is_theirs(lab: Lab) -> None:
    """Another port under our old marker is no rule of ours: it stays, and the link gets its rule again."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    (rule,) = lab.raw_rules(db)
    lab.modify(db, rule, PortRange="3307/3307")
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/3307"]


def test_a_rule_of_ours_whose_description_a_person_took_over_stays_for_ever(lab: Lab) -> None:
    """To adopt a rule, write another description: it counts as present, and no tag's end removes it."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    lab.modify(db, lab.raw_rules(db)[0], Description="kept by the database team")
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    lab.tag(instance, link_peer=None)
    lab.auto_link(lab.tag_event(instance))
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


def test_a_rule_of_ours_that_a_person_deleted_comes_back(lab: Lab) -> None:
    """The tag still asks for it: to close it, take the tag or the consent away, or write a drop."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    params = {"SecurityGroupId": db.id, "SecurityGroupRuleId.1": lab.raw_rules(db)[0]["SecurityGroupRuleId"]}
    lab.call(HOME, "RevokeSecurityGroup", params)
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


@pytest.mark.parametrize(
    "wide", [{"SourceCidrIp": "0.0.0.0/0"}, {"SourceCidrIp": "10.0.0.0/8"}, {"Ipv6SourceCidrIp": "::/0"}]
)
def test_wider_rules_of_a_persons_do_not_stand_for_a_link(lab: Lab, wide: dict[str, str]) -> None:
    """They are not equal to it, and may go tomorrow."""
    app, db = lab.group(), lab.group("*")
    lab.authorize(db, **PORT, **wide)
    assert lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"}))) == {"applied": 1}
    assert len(lab.raw_rules(db)) == 2
