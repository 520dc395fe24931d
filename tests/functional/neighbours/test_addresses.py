"""A /32 means the instance that was consented to, although its owner picks the address."""

from __future__ import annotations

from aliyun_local.api import Instance

from tests.functional.lab import HOME, PEER, Lab


def addressed(lab: Lab, account: str, ip: str, *accepts: str) -> Instance:
    """An instance with this address, in a VPC of its own."""
    vpc = lab.cloud.ecs.create_vpc(account, f"{ip.rsplit('.', 1)[0]}.0/24").id
    return lab.instance(lab.group(*accepts, account=account, vpc=vpc), private_ip=ip)


def requested(lab: Lab, ip: str) -> tuple[Instance, Instance]:
    """An instance of the other account with this address, and one of home that has consented to it."""
    source = addressed(lab, PEER, ip)
    return source, lab.instance(lab.group(f"{source.id}@{PEER}"))


def test_a_public_address_is_denied(lab: Lab) -> None:
    """Attack 2: a VPC may have a custom range, so a "private" address may be a public one."""
    source, target = requested(lab, "8.8.8.8")
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"denied": 1}
    assert lab.outcome()["reason"] == "address-conflict"
    assert lab.changes() == 0


def test_an_address_of_the_targets_vpc_is_denied_across_vpcs(lab: Lab) -> None:
    """Attack 2: the rule would admit the machine of the target's own VPC that has the address."""
    lab.policy_account(PEER, ranges=["10.77.0.0/16"])
    source = addressed(lab, PEER, "10.77.0.7")
    target = addressed(lab, HOME, "10.77.0.8", f"{source.id}@{PEER}")
    neighbour = lab.group(vpc=target.vpc_id)
    lab.instance(neighbour, private_ip="10.77.0.7")
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"denied": 1}
    assert lab.outcome()["reason"] == "address-conflict"
    assert lab.changes() == 0


def test_one_address_cannot_be_two_instances(lab: Lab) -> None:
    """Attack 4: the rule exists for the first instance, so the second one's link is denied, and the first one's unlink
    closes it."""
    lab.policy_account(PEER, ranges=["10.77.0.0/16"])
    group = lab.group(f"*@{PEER}")
    target = lab.instance(group)
    first, second = addressed(lab, PEER, "10.77.0.7"), addressed(lab, PEER, "10.77.0.7")
    assert lab.cross_account(lab.request(first, target, "tcp/1")) == {"applied": 1}
    assert lab.cross_account(lab.request(second, target, "tcp/1", request_id="chg-2")) == {"denied": 1}
    assert (lab.outcome()["reason"], first.id in lab.outcome()["detail"]) == ("address-conflict", True)
    assert lab.reasons(group) == ["req:chg-1"]
    lab.cross_account(lab.request(first, target, action="unlink", request_id="chg-3"))
    assert lab.rules(group) == []


def test_a_standing_link_whose_address_is_not_allowed_any_more_is_removed(lab: Lab) -> None:
    """The sweep judges addresses again."""
    source, target = requested(lab, "10.20.0.5")
    lab.policy_account(PEER, ranges=["10.20.0.0/16"])
    assert lab.cross_account(lab.request(source, target, "tcp/1")) == {"applied": 1}
    lab.policy_account(PEER, ranges=["10.30.0.0/16"])
    lab.sweep()
    assert [record["reason"] for record in lab.records("outcome", outcome="removed")] == ["address-conflict"]
