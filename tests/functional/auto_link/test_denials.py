"""auto_link's denials: recorded with reason and advice, acknowledged, and nothing is written."""

from __future__ import annotations

import pytest

from tests.functional.lab import Lab


def denied(lab: Lab, reason: str) -> dict[str, str]:
    """The last outcome; it must be this denial, with nothing changed and nothing intended."""
    record = lab.outcome()
    assert (record["outcome"], record["reason"]) == ("denied", reason)
    assert record["detail"]
    assert lab.changes() == 0
    assert lab.records("intent") == []
    return record


@pytest.mark.parametrize("peer", ["sg-UPPER:tcp/1", "*", "sg-x\nsg-y", "sg-\u202edb", "sg-db\x00", "@" * 99], ids=ascii)
def test_an_invalid_peer_is_denied_alone(lab: Lab, peer: str) -> None:
    """`bad-tag` for that peer, quoted as written; the valid one beside it still links."""
    app, db = lab.group(), lab.group("*")
    instance = lab.instance(app, tags={"link-peer": f"{peer} {db.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "denied": 1}
    (bad,) = lab.records(outcome="denied")
    assert bad["reason"] == "bad-tag"
    assert "link-peer" in bad["detail"]
    assert bad["advice"]
    assert bad["link"]
    assert lab.rules(db) == [f"{app.id} tcp/3306"]


@pytest.mark.parametrize("action", ["DescribeInstances", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute"])
def test_a_home_account_that_refuses_reads_is_denied_and_unchanged(lab: Lab, action: str) -> None:
    """`no-access`: a redelivery would not add permissions. Existing rules stay."""
    app, db = lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.tag(instance, link_peer=f"{db.id}:tcp/2")
    lab.fault(service="ecs", action=action, kind="error", code="Forbidden.RAM", status=403, times=None)
    assert lab.auto_link(lab.tag_event(instance))["denied"] >= 1
    assert {record["reason"] for record in lab.records(outcome="denied")} == {"no-access"}
    assert lab.rules(db) == [f"{app.id} tcp/1"]
