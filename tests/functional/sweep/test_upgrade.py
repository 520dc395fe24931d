"""An upgrade changes no rule: what version 0.1.0 wrote is recognised, kept while it is wanted, and closed as before.

The markers are literal, as 0.1.0 wrote them. If one of these tests must change, an upgrade breaks what stands.
"""

from __future__ import annotations

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, MANAGED, Lab

APP, DB = "sg-bp1upgradeapp00000000", "sg-bp1upgradedb000000000"
WEB, STORE = "i-bp1upgradeweb00000000", "i-bp1upgradestore000000"
MARKER = f"link-peer/2 dep=prod home={HOME} id="
BY_TAG = f"{MARKER}f79218e45d8d7da3 by=tag"
BY_REQUEST = f"{MARKER}8bd3d5cd03df7bd7 by=req:chg-1042~20991231T000000Z"
BETWEEN_INSTANCES = f"{MARKER}f5dd471e57a0722f by=tag from={WEB} to={STORE}"


@pytest.fixture(name="groups")
def _groups(lab: Lab) -> tuple[Group, Group]:
    """The group that asks, and one with three rules of 0.1.0: by tag, by request, and between two instances."""
    app = lab.group(group_id=APP)
    tags = {MANAGED: "true", f"{MANAGED}.instances": "true"}
    db = lab.group(f"{APP}:tcp/3306", f"{APP}:tcp/8080", f"{WEB}:tcp/443", group_id=DB, tags=tags)
    wish = f"{DB}:tcp/3306 {STORE}:tcp/443"
    lab.instance(app, tags={"link-peer": wish}, instance_id=WEB, private_ip="10.2.0.10")
    lab.instance(db, instance_id=STORE, private_ip="10.2.0.20")
    ours = {"Policy": "accept", "Priority": "100", "NicType": "intranet", "IpProtocol": "TCP"}
    addresses = {"SourceCidrIp": "10.2.0.10/32", "DestCidrIp": "10.2.0.20/32"}
    lab.authorize(db, **ours, SourceGroupId=APP, PortRange="3306/3306", Description=BY_TAG)
    lab.authorize(db, **ours, SourceGroupId=APP, PortRange="8080/8080", Description=BY_REQUEST)
    lab.authorize(db, **ours, **addresses, PortRange="443/443", Description=BETWEEN_INSTANCES)
    return app, db


def test_the_first_sweep_after_an_upgrade_changes_nothing(lab: Lab, groups: tuple[Group, Group]) -> None:
    """Not one write, and no rule of the version before counts as unreadable."""
    _, db = groups
    before = lab.raw_rules(db)
    assert len(before) == 3
    lab.sweep()
    assert lab.raw_rules(db) == before
    assert lab.changes() == 0
    assert lab.summary()["outcome"] == "unchanged"
    assert lab.summary().get("damaged_markers", "") == ""


def test_what_the_version_before_opened_is_closed_as_ever(lab: Lab, groups: tuple[Group, Group]) -> None:
    """By tag, by unlink, and by a lock."""
    app, db = groups
    lab.cross_account(lab.request(app, db, action="unlink"))
    assert [rule["Description"] for rule in lab.raw_rules(db)] == [BY_TAG, BETWEEN_INSTANCES]
    lab.tag(db, link_lock="true")
    lab.sweep()
    assert lab.raw_rules(db) == []
