"""auto_link and other people's rules: a rule that a person made is never changed or removed."""

from __future__ import annotations

from typing import Any

from link_peer_local.ecs.state import Group

from tests.functional.lab import Lab

PORT = {"IpProtocol": "TCP", "PortRange": "3306/3306"}


def by_hand(lab: Lab, target: Group, source: Group, **fields: str) -> dict[str, Any]:
    """Adds a rule as a person, and returns it as read back."""
    rule_id = lab.authorize(target, SourceGroupId=source.id, **{**PORT, **fields})
    return next(rule for rule in lab.raw_rules(target) if rule["SecurityGroupRuleId"] == rule_id)


def test_a_persons_rule_outlives_the_link(lab: Lab) -> None:
    """The tag, the consent and the instance are removed; the rule was never ours."""
    app, db = lab.group(), lab.group("*")
    before = by_hand(lab, db, app)
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/3306"})
    lab.instance(app)
    lab.auto_link(lab.event(instance))
    lab.tag(instance, link_peer=None)
    lab.tag(db, link_accept=None)
    lab.auto_link(lab.tag_event(instance))
    lab.release(instance)
    lab.auto_link(lab.event(instance, "Deleted"))
    assert lab.raw_rules(db) == [before]


def test_a_mutual_link_with_one_side_made_by_hand_is_completed(lab: Lab) -> None:
    app, db = lab.group("*"), lab.group("*")
    by_hand(lab, db, app, IpProtocol="ALL", PortRange="-1/-1")
    instance = lab.instance(app, tags={"link-peer": db.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.reasons(app) == ["tag"]
    assert lab.reasons(db) == []
