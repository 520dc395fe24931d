"""auto_link with instance peers: /32 rules between two addresses, so that no other member of either group is opened."""

from __future__ import annotations

import pytest

from tests.functional.lab import HOME, Lab


def test_an_instance_peer_becomes_a_five_part_rule_on_its_group(lab: Lab) -> None:
    """The source is the one's /32, the destination the other's; the marker names both instances."""
    app, db = lab.group(), lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}

    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]
    assert lab.rules(app) == []
    (rule,) = lab.raw_rules(db)
    assert (rule["SourceGroupId"], rule["Policy"], int(rule["Priority"])) == ("", "Accept", 100)
    assert rule["Description"].endswith(f" by=tag from={instance.id} to={target.id}")
    record = lab.outcome()
    assert (record["from"], record["to"]) == (instance.id, target.id)


def test_a_mutual_link_of_instances_has_a_rule_on_each_side(lab: Lab) -> None:
    """ALL from the one /32 to the other, and back."""
    app, db = lab.group("*"), lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": target.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 all"]
    assert lab.rules(app) == [f"{target.private_ip}/32>{instance.private_ip}/32 all"]
    assert lab.raw_rules(app)[0]["Description"].endswith(f" from={target.id} to={instance.id}")


def test_instances_of_one_group_can_be_linked(lab: Lab) -> None:
    """Two rules of different /32s stand on the one group."""
    group = lab.group("*")
    target = lab.instance(group)
    instance = lab.instance(group, tags={"link-peer": target.id})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert len(lab.rules(group)) == 2


def test_instances_in_different_vpcs_are_linked_with_a_word_of_warning(lab: Lab) -> None:
    """A rule gives no route: `reachability` says so, and the advice names what does."""
    app, db = lab.group(), lab.group("*", vpc=lab.a)
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]
    record = lab.outcome()
    assert record["reachability"] == "different-vpc"
    for way in ("CEN", "VPC peering", "VPN Gateway", "Express Connect"):
        assert way in record["advice"]


def test_instances_in_one_vpc_are_told_to_be_so(lab: Lab) -> None:
    target = lab.instance(lab.group("*"))
    lab.auto_link(lab.event(lab.instance(lab.group(), tags={"link-peer": f"{target.id}:icmp"})))
    assert lab.outcome()["reachability"] == "same-vpc"


def test_instances_of_advanced_groups_can_be_linked(lab: Lab) -> None:
    """Advanced groups take no group source, but they take a /32."""
    app, db = lab.group(type="enterprise"), lab.group("*", type="enterprise")
    target = lab.instance(db)
    instance = lab.instance(app, tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"applied": 1}
    assert lab.rules(db) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]


def test_a_rule_for_an_instance_goes_to_its_first_group_that_is_not_managed(lab: Lab) -> None:
    managed, first, second = lab.group("*", managed=True), lab.group("*"), lab.group("*")
    target = lab.instance(managed, first, second)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    assert [len(lab.rules(group)) for group in (managed, first, second)] == [0, 1, 0]


def test_an_instance_with_managed_groups_only_takes_no_rule(lab: Lab) -> None:
    """A group that belongs to a cloud product refuses every change: denied before a call is made."""
    target = lab.instance(lab.group("*", managed=True))
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    assert lab.outcome()["reason"] == "managed-group"
    assert lab.changes() == 0


def test_consent_that_names_a_group_covers_the_instances_in_it(lab: Lab) -> None:
    app, other, db = lab.group(), lab.group(), lab.group()
    lab.tag(db, link_accept=f"{app.id}:tcp/3306")
    target = lab.instance(db)
    member = lab.instance(app, tags={"link-peer": f"{target.id}:tcp/3306"})
    stranger = lab.instance(other, tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(member)) == {"applied": 1}
    assert lab.auto_link(lab.event(stranger)) == {"denied": 1}
    assert lab.rules(db) == [f"{member.private_ip}/32>{target.private_ip}/32 tcp/3306"]


def test_consent_that_names_an_instance_covers_it_alone(lab: Lab) -> None:
    """Its /32, but never its group, and not its neighbour."""
    app, db = lab.group(), lab.group()
    target = lab.instance(db)
    named, neighbour = lab.instance(app), lab.instance(app)
    lab.tag(db, link_accept=f"{named.id}:tcp/3306")
    lab.tag(named, link_peer=f"{target.id}:tcp/3306 {db.id}:tcp/3306")
    lab.tag(neighbour, link_peer=f"{target.id}:tcp/3306")

    assert lab.auto_link(lab.event(named)) == {"applied": 1, "denied": 1}
    assert lab.auto_link(lab.event(neighbour)) == {"denied": 1}
    assert lab.rules(db) == [f"{named.private_ip}/32>{target.private_ip}/32 tcp/3306"]


def test_consent_is_that_of_the_group_which_takes_the_rule(lab: Lab) -> None:
    """Another group of the target instance that consents does not speak for the first."""
    first, second = lab.group(), lab.group("*")
    target = lab.instance(first, second)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    assert lab.auto_link(lab.event(instance)) == {"denied": 1}
    record = lab.outcome()
    assert record["reason"] == "no-consent"
    assert f"tag {first.id}@{HOME} link-accept={instance.id}:tcp/3306" in record["advice"]


def test_an_instance_that_names_itself_needs_nothing(lab: Lab) -> None:
    instance = lab.instance(lab.group("*"))
    lab.tag(instance, link_peer=instance.id)
    assert lab.auto_link(lab.event(instance)) == {"unchanged": 1}
    assert lab.outcome()["reason"] == "same-group"
    assert lab.changes() == 0


@pytest.mark.parametrize("classic_end", ["source", "target"])
def test_the_classic_network_is_refused(lab: Lab, classic_end: str) -> None:
    """It has no private address of a VPC: `classic-network`, whichever end it is."""
    classic = lab.cloud.ecs.create_group(HOME, "", tags={"link-accept": "*"})
    old = lab.cloud.ecs.create_instance(HOME, [classic.id], classic=True)
    new = lab.instance(lab.group("*"))
    source, target = (old, new) if classic_end == "source" else (new, old)
    lab.tag(source, link_peer=f"{target.id}:tcp/3306")
    assert lab.auto_link(lab.event(source)) == {"denied": 1}
    assert lab.outcome()["reason"] == "classic-network"
    assert lab.changes() == 0


def test_a_new_address_replaces_the_old_rule(lab: Lab) -> None:
    """Another instance may have the old address tomorrow: the rule goes, and one for the new address comes."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    instance.private_ip = "10.2.0.99"
    assert lab.auto_link(lab.event(instance)) == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"10.2.0.99/32>{target.private_ip}/32 tcp/3306"]


def test_an_instance_that_changed_its_group_takes_its_rule_along(lab: Lab) -> None:
    """The rule stands on the group that the target is in now, by that group's consent, and no longer on the old one."""
    old, new = lab.group("*"), lab.group("*")
    target = lab.instance(old)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/3306"})
    lab.auto_link(lab.event(instance))
    for action, group in (("JoinSecurityGroup", new), ("LeaveSecurityGroup", old)):
        lab.call(HOME, action, {"InstanceId": target.id, "SecurityGroupId": group.id})

    lab.auto_link(lab.event(instance))
    assert lab.rules(old) == []
    assert lab.rules(new) == [f"{instance.private_ip}/32>{target.private_ip}/32 tcp/3306"]
