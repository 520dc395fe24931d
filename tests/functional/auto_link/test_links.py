"""auto_link: an event adds the rules that the instance's tags ask for, and moves them with its groups. A pair with
another account is put on the queue."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from aliyun_local.api import Instance
from link_peer.domain.errors import CloudError

from tests.functional.lab import HOME, PEER, REGION, Lab


def test_the_rule_has_the_specified_fields(lab: Lab) -> None:
    """Intranet, accept, priority 100, the owner's uid, and a marker whose id matches this rule."""
    app, db = lab.group(), lab.group("*")
    lab.auto_link(lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/8000-8010"})))

    (rule,) = lab.raw_rules(db)
    assert (rule["NicType"], rule["Policy"], int(rule["Priority"])) == ("intranet", "Accept", 100)
    assert (rule["IpProtocol"], rule["PortRange"]) == ("TCP", "8000/8010")
    assert (rule["SourceGroupId"], rule["SourceCidrIp"], rule["DestCidrIp"]) == (app.id, "", "")
    assert (
        rule["Description"]
        == f"link-peer/2 dep=prod home=1000000000000001 id={lab.rule_id(db, app, 'tcp/8000-8010')} by=tag"
    )


@pytest.mark.parametrize("end", ["source", "target"])
def test_an_instance_link_waits_for_the_address_of_a_new_instance(lab: Lab, end: str) -> None:
    """The instance is looked at again for five minutes, and the last look denies `no-private-ip`; no rule is ever
    written with an empty address."""
    db = lab.group("*")
    target = lab.instance(db)
    instance = lab.instance(lab.group(), tags={"link-peer": f"{target.id}:tcp/1"})
    late = instance if end == "source" else target
    late.ip_visible_from = lab.cloud.clock.now() + 3600
    assert lab.auto_link(lab.event(instance)) == {}
    assert lab.rules(db) == []
    assert "no private address" in lab.records("attempt")[-1]["detail"]

    assert lab.drain(290) == {}
    assert lab.drain(400) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-private-ip"
    assert late.id in lab.outcome()["detail"]
    assert lab.changes() == 0


# peers in another account


def sync_of(lab: Lab, source: Instance, target: Instance) -> dict[str, Any]:
    """The request as specified: its id is the pair's link id, as mutual and not swapped; it expires in an hour."""
    text = f"{REGION}|{source.account}/{source.id}|{target.account}/{target.id}|mutual"
    return {
        "version": 1,
        "request_id": f"tag-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        "action": "sync",
        "region": REGION,
        "from": {"account": source.account, "party": source.id},
        "to": {"account": target.account, "party": target.id},
        "expires_at": lab.iso_millis(3600),
    }


def without_claims(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without who posted it and why, which have no effect."""
    return [{k: v for k, v in r.items() if k not in ("requested_by", "reason")} for r in requests]


@pytest.mark.knobs(request_tags=True)
@pytest.mark.parametrize("ends", ["untagged", "released"])
def test_instances_of_two_accounts_and_vpcs_are_linked_until_the_tag_goes(lab: Lab, ends: str) -> None:
    """The sync is of the two instances. To remove the link, the rule for the instance at home triggers a sync, also
    once it is released; not that of its neighbour."""
    lab.policy_account(HOME, ranges=["10.0.0.0/16", "10.2.0.0/16"])
    lab.policy_account(PEER, ranges=["10.1.0.0/16"])
    app, ledger = lab.group(f"*@{PEER}"), lab.group(f"*@{HOME}", account=PEER, vpc=lab.b)
    far, other_instance = lab.instance(ledger), lab.instance(ledger)
    lab.started(app, tags={"link-peer": f"{other_instance.id}@{PEER}"})
    lab.cross_account(*lab.queued())
    near = lab.started(app, tags={"link-peer": f"{far.id}@{PEER}"})
    requests = lab.queued()
    assert without_claims(requests) == [sync_of(lab, near, far)]
    assert lab.cross_account(*requests) == {"applied": 1}
    rule_text = f"{near.private_ip}/32>{far.private_ip}/32 all"
    assert rule_text in lab.rules(ledger)
    assert (len(lab.rules(ledger)), len(lab.rules(app)), lab.outcome()["reachability"]) == (2, 2, "different-vpc")

    if ends == "untagged":
        lab.retag(near, link_peer=None)
    else:
        lab.release(near)
        lab.auto_link(lab.event(near, "Deleted"))
    requests = lab.queued()
    assert without_claims(requests) == [sync_of(lab, near, far)]
    assert lab.cross_account(*requests) == {"removed": 1}
    assert rule_text not in lab.rules(ledger)
    assert (len(lab.rules(ledger)), len(lab.rules(app))) == (1, 1)


# moves and addresses


@pytest.mark.parametrize("ports", [":tcp/3306", ""], ids=["ports", "mutual"])
def test_a_move_opens_for_the_new_group_and_closes_what_nobody_of_the_old_one_asks_for(lab: Lab, ports: str) -> None:
    app, web, db = lab.group("*"), lab.group("*"), lab.group("*")
    instance = lab.started(app, tags={"link-peer": f"{db.id}{ports}"})
    lab.forget()  # another process, which remembers nothing
    moved = lab.call_and_deliver(instance, "ModifyInstanceAttribute", **{"SecurityGroupIds.1": web.id})
    assert moved == {"applied": 1, "removed": 1}
    assert lab.rules(db) == [f"{web.id} {ports[1:] or 'all'}"]
    assert (lab.rules(app), lab.rules(web)) == ([], [] if ports else [f"{db.id} all"])


def test_the_addresses_of_secondary_interfaces_cost_one_call(lab: Lab) -> None:
    """They come and go with containers, and no rule of ours has one. The event names only the interface."""
    instance = lab.instance(lab.group("*"), tags={"link-peer": "sg-none:tcp/1"})
    switch = {"VSwitchId": instance.vswitch_id, "SecurityGroupId": instance.states.at(lab.cloud.clock.now()).groups[0]}
    interface_id = lab.call(HOME, "CreateNetworkInterface", switch)["NetworkInterfaceId"]
    before = lab.calls()
    assert (
        lab.call_and_deliver(
            instance, "AssignPrivateIpAddresses", NetworkInterfaceId=interface_id, SecondaryPrivateIpAddressCount="1"
        )
        == {}
    )
    assert lab.calls() == before + 1
    for action in ("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses"):
        addition = {"NetworkInterfaceId": instance.interface_id, "PrivateIpAddress.1": "10.2.0.77"}
        assert lab.call_and_deliver(instance, action, **addition) == {"denied": 1}  # the instance was looked at


def test_an_interface_that_may_not_be_read_is_recorded_and_one_that_is_not_there_ends_quietly(lab: Lab) -> None:
    """Any other error raises, so that the platform delivers the event again: a `look` cannot name an interface."""
    event = lab.event("x", type="ecs:NetworkInterface:PrivateIPAssigned")
    event["data"] = {"eniId": "eni-gone"}
    assert lab.auto_link(event) == {}
    refused = {"service": "ecs", "action": "DescribeNetworkInterfaces", "kind": "error", "status": 400}
    lab.fault(**refused, code="InvalidParameter")
    assert lab.auto_link(event) == {}
    lab.fault(**refused, code="OperationDenied")
    with pytest.raises(CloudError):
        lab.auto_link(event)
    lab.cloud.ecs.permitted = lambda _caller, access: access.action != "ecs:DescribeNetworkInterfaces"
    assert lab.auto_link(event) == {"denied": 1}
    assert lab.outcome()["reason"] == "no-access"
