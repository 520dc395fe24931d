"""auto_link if the platform refuses a change, or someone else makes one at the same time."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab


@pytest.mark.parametrize(
    ("code", "status"),
    [("Conflict.Unheard", 409), ("LastTokenProcessing", 403), ("ServiceUnavailable", 503), ("Throttling.Api", 429)],
)
def test_after_a_transient_error_code_the_instance_is_looked_at_again(lab: Lab, code: str, status: int) -> None:
    """Codes that the platform documents as temporary have no outcome."""
    app, db = lab.group(), lab.group("*")
    event = lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"}))
    fault = {"service": "ecs", "action": "AuthorizeSecurityGroup", "kind": "error", "code": code, "status": status}
    lab.fault(**fault, times=None)
    assert lab.auto_link(event) == {}
    assert lab.records() == []
    lab.cloud.faults.clear()
    assert lab.drain(60) == {"applied": 1}


@pytest.mark.parametrize(
    "code",
    [
        "InvalidParam.SecurityGroupRuleId",
        "InvalidSecurityGroupRule.RuleNotExist",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroupAuthItem.NotFound",
    ],
)
def test_a_rule_reported_as_missing_is_read_again(lab: Lab, code: str) -> None:
    """The error may be correct, or the rule may still exist and must be revoked again."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    for kind in ("error", "error-after"):
        lab.retag(instance, link_peer=f"{db.id}:tcp/1")
        lab.tag(instance, link_peer=None)
        lab.fault(service="ecs", action="RevokeSecurityGroup", kind=kind, code=code, status=400)
        assert lab.auto_link(lab.tag_event(instance)) == {"removed": 1}
        assert lab.rules(db) == []


# concurrent changes by others


def test_a_rule_that_a_person_adds_first_is_theirs(lab: Lab) -> None:
    """Authorizing an existing rule succeeds without adding one. The rule read back is theirs, and outlives the link."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.instance(app)
    theirs = {"IpProtocol": "TCP", "PortRange": "1/1", "Priority": "100", "SourceGroupId": app.id}
    lab.meanwhile("AuthorizeSecurityGroup", lambda: lab.authorize(db, **theirs))
    lab.auto_link(lab.event(instance))
    (rule,) = lab.raw_rules(db)
    assert rule["Description"] == ""
    lab.retag(instance, link_peer=None)
    assert lab.raw_rules(db) == [rule]
