"""auto_link at the events of an instance that moves between groups, or gets another address."""

from __future__ import annotations

import pytest
from link_peer_local.ecs.state import Group, Instance

from tests.functional.lab import HOME, Lab


def move(lab: Lab, instance: Instance, *groups: Group) -> dict[str, int]:
    """All its groups are replaced; another process, which remembers nothing, handles the event."""
    lab.forget()
    ids = {f"SecurityGroupIds.{n}": group.id for n, group in enumerate(groups, 1)}
    return lab.done(instance, "ModifyInstanceAttribute", **ids)


@pytest.mark.parametrize("ports", [":tcp/3306", ""], ids=["ports", "mutual"])
def test_a_move_opens_for_the_new_group_and_closes_what_nobody_of_the_old_one_asks_for(lab: Lab, ports: str) -> None:
    app, web, db = lab.group("*"), lab.group("*"), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}{ports}"})
    assert move(lab, instance, web) == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"{web.id} {ports[1:] or 'all'}"]
    assert (lab.rules(app), lab.rules(web)) == ([], [] if ports else [f"{db.id} all"])


def test_joining_and_leaving_are_moves(lab: Lab) -> None:
    """As the older calls do it. The first of the groups stands for the instance."""
    app, web, db = lab.group(), lab.group(), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}:tcp/1"})
    lab.done(instance, "JoinSecurityGroup", SecurityGroupId=web.id)
    assert lab.rules(db) == [f"{app.id} tcp/1"]
    lab.forget()
    assert lab.done(instance, "LeaveSecurityGroup", SecurityGroupId=app.id) == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"{web.id} tcp/1"]


def test_the_addresses_of_secondary_interfaces_cost_one_call(lab: Lab) -> None:
    """They come and go with containers, and no rule of ours has one. The event names only the interface."""
    instance = lab.instance(lab.group("*"), tags={"link-peer": "sg-none:tcp/1"})
    switch = {"VSwitchId": instance.vswitch_id, "SecurityGroupId": instance.states.at(lab.cloud.clock.now()).groups[0]}
    made = lab.call(HOME, "CreateNetworkInterface", switch)["NetworkInterfaceId"]
    before = lab.calls()
    assert (
        lab.done(instance, "AssignPrivateIpAddresses", NetworkInterfaceId=made, SecondaryPrivateIpAddressCount="1")
        == {}
    )
    assert lab.calls() == before + 1
    for action in ("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"):
        given = {"NetworkInterfaceId": instance.interface_id, "PrivateIpAddress.1": "10.2.0.77"}
        assert lab.done(instance, action, **given) == {"denied": 1}  # the instance was looked at


def test_an_interface_that_may_not_be_read_is_recorded_and_one_that_is_not_there_ends_quietly(lab: Lab) -> None:
    """Trouble of the moment is the platform's to deliver again: an interface is no party to look at."""
    event = lab.event("x", type="ecs:NetworkInterface:PrivateIPAssigned")
    event["data"] = {"eniId": "eni-gone"}
    assert lab.auto_link(event) == {}
    lab.cloud.ecs.permitted = lambda _caller, asked: asked.action != "ecs:DescribeNetworkInterfaces"
    assert lab.auto_link(event) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-access"
