"""The sweep corrects drift: edits by people, changed addresses, a changed policy and deleted groups."""

from __future__ import annotations

import json

import pytest
from link_peer_local.ecs.state import Group

from tests.functional.lab import HOME, MANAGED, PEER, POLICY, Lab

pytestmark = pytest.mark.usefixtures("living_lab", "by_account")


# addresses


def test_an_instance_rule_is_removed_if_another_instance_has_its_address(lab: Lab) -> None:
    """Otherwise an instance that no one consented to would be admitted."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two))
    lab.release(one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    newcomer = lab.instance(a)
    assert newcomer.private_ip == one.private_ip
    lab.sweep()
    assert (lab.rules(a), lab.rules(b)) == ([], [])


def test_an_instance_rule_is_removed_if_its_instance_is_released(lab: Lab) -> None:
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    lab.release(two)
    lab.sweep()
    assert lab.rules(b) == []
    assert lab.records(outcome="removed")[0]["reason"] == "instance-gone"


def test_the_rule_of_a_tag_follows_an_instance_whose_address_changes(lab: Lab) -> None:
    """The rule of the old address is removed and one for the new address added."""
    a, b = lab.group("*"), lab.group("*")
    two = lab.instance(b)
    one = lab.started(a, tags={"link-peer": f"{two.id}:tcp/1"})
    old, one.private_ip = one.private_ip, "10.2.9.9"
    lab.sweep()
    assert lab.rules(b) == [f"10.2.9.9/32>{two.private_ip}/32 tcp/1"]
    assert old not in str(lab.rules(b))


def test_a_requests_rule_ends_if_its_instance_has_another_address(lab: Lab) -> None:
    """The rule of the old address is removed. The sweep opens nothing for a request: post it again."""
    a, b = lab.group("*"), lab.group("*")
    one, two = lab.instance(a), lab.instance(b)
    request = lab.request(one, two, "tcp/1")
    lab.cross_account(request)
    one.private_ip = "10.2.9.9"
    lab.sweep()
    assert lab.rules(b) == []
    (record,) = lab.records(outcome="removed")
    assert (record["from"], record["to"]) == (one.id, two.id)
    assert lab.cross_account(request) == {"applied": 1}
    assert lab.rules(b) == [f"10.2.9.9/32>{two.private_ip}/32 tcp/1"]


def test_a_request_of_the_new_instance_at_an_address_replaces_the_marker(lab: Lab) -> None:
    """The marker names the new instance, and the claim for the released one is removed."""
    a, b = lab.pair()
    one, two = lab.instance(a), lab.instance(b)
    lab.cross_account(lab.request(one, two, "tcp/1"))
    lab.release(one)
    lab.cloud.ecs.ip_pool = [one.private_ip]
    successor = lab.instance(a)
    assert lab.cross_account(lab.request(successor, two, "tcp/1", request_id="chg-2")) == {"applied": 1}
    lab.sweep()
    (rule,) = lab.raw_rules(b)
    assert f"by=req:chg-2 from={successor.id} to={two.id}@{PEER}" in rule["Description"]


# the policy


def test_a_pair_removed_from_the_allow_list_is_closed(lab: Lab) -> None:
    a, b = lab.group(), lab.group(account=PEER)
    lab.policy(allow=[{"from": f"{a.id}@{HOME}", "to": f"{b.id}@{PEER}"}])
    lab.cross_account(lab.request(a, b, "tcp/1"))
    lab.sweep()
    assert len(lab.rules(b)) == 1
    lab.policy()
    lab.sweep()
    assert lab.rules(b) == []


def test_an_account_removed_from_the_policy_is_no_longer_admitted(lab: Lab) -> None:
    """Its rules at home are removed. Those in the account itself stay, because link-peer may not enter it."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.policy(accounts={HOME: POLICY["accounts"][HOME]})
    lab.sweep()
    assert lab.rules(a) == []
    assert len(lab.rules(b)) == 1
    assert lab.records(outcome="removed")[0]["reason"] == "unknown-account"


# groups


@pytest.mark.parametrize("by_account", ["one delivery"], indirect=True)  # its summary is that of all accounts
def test_a_tag_for_a_deleted_peer_group_is_denied(lab: Lab) -> None:
    """The platform does not delete a group that a rule names. Here a person removed the rule first, and the tag
    still asks. The summary counts the denial at each run; auto_link records it at the next event."""
    instance, app, db = lab.linked()
    lab.revoke(db)
    lab.call(HOME, "DeleteSecurityGroup", {"SecurityGroupId": db.id})
    for _ in range(2):
        lab.sweep()
        assert lab.summary()["denied"] == "1"
        assert json.loads(lab.summary()["counts"]) == {"denied peer-not-found": 1}
    assert lab.records(outcome="denied") == []
    lab.auto_link(lab.event(instance))
    record = lab.outcome()
    assert (record["reason"], record["from"], record["to"]) == ("peer-not-found", app.id, db.id)


def test_the_remaining_half_of_a_link_is_removed_if_the_peer_group_is_deleted(lab: Lab) -> None:
    """The peer's rule was deleted with its group, and ours names a group that does not exist."""
    a, b = lab.pair()
    lab.cross_account(lab.request(a, b))
    lab.revoke(b)
    rules = a.rules.at(lab.cloud.clock.now())
    a.rules.change(lab.cloud.clock.now(), lambda _: ())
    lab.call(PEER, "DeleteSecurityGroup", {"SecurityGroupId": b.id})
    a.rules.change(lab.cloud.clock.now(), lambda _: rules)  # a forced deletion, which a cloud product's console allows
    lab.sweep()
    assert lab.rules(a) == []
    assert lab.records(outcome="removed")[0]["reason"] == "peer-not-found"


# the managed tag


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("by_account", ["one delivery"], indirect=True)  # its summary is that of all accounts
def test_a_refusal_to_remove_managed_tags_is_asked_for_once_and_told(lab: Lab) -> None:
    """The account's other groups keep their tags without a call."""
    linked = [lab.linked() for _ in range(2)]
    for instance, _, _ in linked:
        lab.tag(instance, link_peer=None)
    lab.fault(service="ecs", action="UntagResources", code="Forbidden.RAM", status=403, times=None)
    before = lab.cloud.faults.count("ecs", "UntagResources")
    lab.sweep()
    assert lab.cloud.faults.count("ecs", "UntagResources") == before + 1
    assert [(lab.rules(db), lab.tags(db)[MANAGED]) for _, _, db in linked] == [([], "true")] * 2
    summary = lab.summary()
    assert f"managed tags of {HOME} are refused (Forbidden.RAM)" in summary["detail"]
    assert len(summary["api_requests"].split(",")) == 1
    assert summary["api_requests"]


def test_the_managed_tag_of_another_deployment_stays(lab: Lab) -> None:
    group = lab.group(tags={"link-managed.test.1000000000000001": "true"})
    lab.sweep()
    assert lab.tags(group) == {"link-managed.test.1000000000000001": "true"}


# after an upgrade


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
