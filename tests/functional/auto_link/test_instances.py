"""auto_link with instance peers: /32 rules between two addresses, which admit no other member of either group."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, Lab


def test_instances_of_one_group_can_be_linked(lab: Lab) -> None:
    """The group then holds two rules with different /32."""
    group = lab.group("*")
    target = lab.instance(group)
    instance = lab.instance(group, tags={"link-peer": target.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert len(lab.rules(group)) == 2


def test_the_record_says_if_instances_are_in_one_vpc(lab: Lab) -> None:
    target = lab.instance(lab.group("*"))
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{target.id}:icmp"})))
    assert lab.outcome()["reachability"] == "same-vpc"


def test_the_group_that_holds_the_rule_must_consent(lab: Lab) -> None:
    """The consent of another group of the target instance does not count."""
    first, second = lab.group(), lab.group("*")
    target = lab.instance(first, second)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    record = lab.outcome()
    assert record["reason"] == "no-consent"
    assert f"tag {first.id}@{HOME} link-accept={instance.id}:tcp/3306" in record["advice"]


def test_a_new_address_replaces_the_old_rule(lab: Lab) -> None:
    """Another instance may get the old address, so its rule is removed, and one for the new address added."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.started(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    instance.private_ip = "10.2.0.99"
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"10.2.0.99/32>{target.private_ip}/32 tcp/3306"]


@pytest.mark.knobs(request_tags=True)
def test_the_rule_follows_an_instance_that_changes_its_group(lab: Lab) -> None:
    """The new group gets the rule, if it consents; the old group loses it."""
    old, new = lab.group("*"), lab.group("*")
    target = lab.instance(old)
    instance = lab.started(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    for action, group in (("JoinSecurityGroup", new), ("LeaveSecurityGroup", old)):
        lab.call(HOME, action, {"InstanceId": target.id, "SecurityGroupId": group.id})

    lab.auto_link(lab.event(instance))
    assert lab.rules(old) == []
    assert lab.rules(new) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]
