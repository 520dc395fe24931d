"""The ECS adapter in front of the local cloud: what it reads, in how many calls, and what it does not believe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aliyun_local.api import Caller, Fault, Group, LocalCloud
from link_peer.alicloud import ecs
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess
from link_peer.domain.model import ALL, Party, RuleKey

from tests.unit.alicloud.adapter import HOME, Adapter, ids

TAG = f"link-managed.prod.{HOME}"
UNKNOWN = "sg-bp1" + "z" * 17


@pytest.fixture(name="adapter")
def _adapter(local_cloud: LocalCloud) -> Adapter:
    return Adapter(local_cloud)


def test_groups_by_tag_are_found_beyond_the_limit_of_tag_filters(adapter: Adapter) -> None:
    """1,100 of them; a tag filter of DescribeSecurityGroups ends at 1,000."""
    tagged = adapter.groups(1_100, tags={TAG: "true"})
    adapter.groups(3, tags={TAG: "false"})
    adapter.groups(3, tags={"link-managed.test.1": "true"})
    assert {group.party.id for group in adapter.ecs.tagged_groups(TAG)} == ids(tagged)
    assert adapter.calls == {"ListTagResources": 22, "DescribeSecurityGroups": 11}


@pytest.mark.parametrize("finds", ["any", "secondary"])
def test_an_address_is_taken_by_an_instance_or_a_secondary_interface(adapter: Adapter, finds: str) -> None:
    """By its first address and by others; in that VPC alone. Whichever addresses `PrivateIpAddress.N` finds."""
    adapter.cloud.knobs.change({"interface_address": finds})
    [group] = adapter.groups(1)
    machine = adapter.cloud.ecs.create_instance(HOME, [group.id])
    interface = _interface(adapter, group)

    def is_taken(vpc: str, *ips: str) -> bool:
        return adapter.ecs.addresses_taken(vpc, ips) == set(ips)

    assert is_taken(adapter.vpc, machine.private_ip)
    assert is_taken(adapter.vpc, interface["PrivateIpAddress"])
    secondary_addresses = {s["PrivateIpAddress"] for s in interface["PrivateIpSets"]["PrivateIpSet"]} - {
        interface["PrivateIpAddress"]
    }
    assert is_taken(adapter.vpc, secondary_addresses.pop())
    before = adapter.calls["DescribeNetworkInterfaces"]
    assert not is_taken(adapter.vpc, "10.0.99.99")
    assert adapter.calls["DescribeNetworkInterfaces"] == before + 2
    assert not is_taken(adapter.cloud.world.vpcs[2]["id"], machine.private_ip)
    addresses = [machine.private_ip, interface["PrivateIpAddress"], "10.0.99.99"]
    before = adapter.calls["DescribeNetworkInterfaces"]
    assert adapter.ecs.addresses_taken(adapter.vpc, addresses) == set(addresses[:2])
    assert adapter.calls["DescribeNetworkInterfaces"] == before + 1


def test_addresses_are_asked_for_one_by_one_in_a_vpc_that_takes_more_calls_to_list(
    adapter: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing ends after two pages an address."""
    monkeypatch.setattr(ecs, "INTERFACES", 10)
    [group] = adapter.groups(1)
    machines = [adapter.cloud.ecs.create_instance(HOME, [group.id]) for _ in range(45)]
    addresses = [machines[0].private_ip, machines[44].private_ip, "10.0.99.99"]
    assert adapter.ecs.addresses_taken(adapter.vpc, addresses[1:]) == {addresses[1]}
    assert adapter.calls["DescribeNetworkInterfaces"] > 4
    assert adapter.ecs.addresses_taken(adapter.vpc, addresses) == set(addresses[:2])


@pytest.mark.parametrize("count", [100, 101, 201])
def test_every_instance_of_a_group_is_read(adapter: Adapter, count: int) -> None:
    """A page has 100."""
    [group, second_group] = adapter.groups(2)
    machines = {adapter.cloud.ecs.create_instance(HOME, [group.id]).id for _ in range(count)}
    adapter.cloud.ecs.create_instance(HOME, [second_group.id])
    assert {each.party.id for each in adapter.ecs.members(group.id)} == machines


def _interface(adapter: Adapter, group: Group) -> dict[str, object]:
    vswitch = adapter.cloud.world.vpcs[0]["vswitch_id"]
    params = {"VSwitchId": vswitch, "SecurityGroupId": group.id, "SecondaryPrivateIpAddressCount": "1"}
    caller = Caller(HOME, f"acs:ram::{HOME}:root")
    return adapter.cloud.ecs.call(caller, "CreateNetworkInterface", {"RegionId": "cn-qingdao", **params})


def test_groups_are_found_by_the_groups_that_their_rules_name(adapter: Adapter) -> None:
    """Ten groups are asked for in a call. Rules between addresses name no group."""
    groups = adapter.groups(12)
    names = [group.id for group in groups]
    for target, source in ((groups[0], groups[1]), (groups[2], groups[11])):
        rule = RuleKey(Party(HOME, target.id), f"{source.id}@{HOME}", "", _key("sg-a").port)
        adapter.ecs.authorize(target.id, [(rule, "d")])
    address = RuleKey(Party(HOME, names[3]), "10.0.0.1/32", "10.0.0.2/32", _key("sg-a").port)
    adapter.ecs.authorize(names[3], [(address, "d")])
    assert adapter.ecs.references(names) == [Party(HOME, names[0]), Party(HOME, names[2])]
    assert adapter.ecs.references(names[2:3]) == []
    assert adapter.ecs.references([]) == []


READS: dict[str, Callable[[Adapter], object]] = {
    "DescribeInstances": lambda a: a.ecs.all_instances(),
    "DescribeInstances by id": lambda a: a.ecs.instances(["i-1"]),
    "DescribeInstances of a group": lambda a: a.ecs.members(UNKNOWN),
    "DescribeInstances at all": lambda a: a.ecs.shows_instances(),
    "DescribeSecurityGroups": lambda a: a.ecs.all_groups(),
    "DescribeSecurityGroups by id": lambda a: a.ecs.groups([UNKNOWN]),
    "DescribeSecurityGroupAttribute": lambda a: a.ecs.rules(UNKNOWN),
    "DescribeSecurityGroupAttribute for access": lambda a: a.ecs.inner_access(UNKNOWN),
    "ListTagResources": lambda a: a.ecs.tagged_groups(TAG),
    "DescribeSecurityGroupReferences": lambda a: a.ecs.references([UNKNOWN]),
    "DescribeNetworkInterfaces": lambda a: a.ecs.addresses_taken(a.vpc, ["10.0.0.1"]),
    "DescribeNetworkInterfaces by id": lambda a: a.ecs.instances_of(["eni-1"]),
}
CHANGES: dict[str, Callable[[Adapter], object]] = {
    "AuthorizeSecurityGroup": lambda a: a.ecs.authorize("sg-a", [(_key("sg-a"), "d")]),
    "ModifySecurityGroupRule": lambda a: a.ecs.modify("sg-a", "sgr-1", "d"),
    "RevokeSecurityGroup": lambda a: a.ecs.revoke("sg-a", ["sgr-1"]),
    "TagResources": lambda a: a.ecs.tag(["sg-a"], [TAG]),
    "UntagResources": lambda a: a.ecs.untag("sg-a", [TAG]),
}


def _key(group: str) -> RuleKey:
    return RuleKey(Party(HOME, group), f"sg-b@{HOME}", "", ALL)


@pytest.mark.parametrize("operation", [*READS, *CHANGES])
def test_a_200_without_its_fields_is_ambiguous(adapter: Adapter, operation: str) -> None:
    """Never an empty page, and never a change that was made."""
    adapter.cloud.faults.add(Fault("ecs", operation.split()[0], "empty", times=None))
    with pytest.raises(Ambiguous, match="the response has no"):
        {**READS, **CHANGES}[operation](adapter)


def test_the_second_page_must_have_its_list_too(adapter: Adapter) -> None:
    """Half of the groups must not look like all of them."""
    adapter.groups(150)
    adapter.cloud.faults.add(Fault("ecs", "DescribeSecurityGroups", "empty", skip=1, times=None))
    with pytest.raises(Ambiguous):
        adapter.ecs.all_groups()


@pytest.mark.parametrize("count", [0, 1, 21])
def test_all_rules_of_a_group_are_read(adapter: Adapter, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Over every page; egress rules are left out."""
    monkeypatch.setattr(ecs, "RULES_PER_PAGE", 10)
    [group] = adapter.groups(1)
    keys = [RuleKey(Party(HOME, group.id), f"10.0.0.{n}/32", "10.1.0.1/32", ALL) for n in range(count)]
    if keys:
        adapter.ecs.authorize(group.id, [(key, "d") for key in keys])
    assert {rule.key for rule in adapter.ecs.rules(group.id)} == set(keys)


@pytest.mark.parametrize(
    ("read", "empty_answer"),
    [(lambda ecs: ecs.members(UNKNOWN), []), (lambda ecs: ecs.instance_page(group=UNKNOWN), ([], ""))],
)
def test_a_group_that_does_not_exist_has_no_members(
    adapter: Adapter, read: Callable[[Any], object], empty_answer: object
) -> None:
    """Where the API refuses its id, too; any other refusal is raised."""
    assert read(adapter.ecs) == empty_answer
    for code in ("InvalidSecurityGroupId.NotFound", "OperationDenied"):
        adapter.cloud.faults.add(Fault("ecs", "DescribeInstances", code=code, status=404))
    assert read(adapter.ecs) == empty_answer
    with pytest.raises(CloudError, match="OperationDenied"):
        read(adapter.ecs)


def test_an_account_shows_no_instances_only_where_a_dry_run_of_the_read_is_not_refused(adapter: Adapter) -> None:
    """The list itself is empty also where it may not be read."""
    assert not adapter.ecs.shows_instances()
    for code, error in (("Forbidden.RAM", NoAccess), ("OperationDenied", CloudError)):
        adapter.cloud.faults.add(Fault("ecs", "DescribeInstances", code=code, status=403, skip=1))
        with pytest.raises(error, match=code):
            adapter.ecs.shows_instances()


def test_keys_that_are_refused_after_their_renewal_are_not_renewed_again(adapter: Adapter) -> None:
    """Three calls: with the first keys, with the new ones, and once more with these."""
    code = "InvalidSecurityToken.Expired"
    adapter.cloud.faults.add(Fault("ecs", "DescribeInstances", code=code, status=403, times=None))
    for call_count in (2, 3):
        with pytest.raises(NoAccess, match=code):
            adapter.ecs.members(UNKNOWN)
        assert sum(call.action == "DescribeInstances" for call in adapter.cloud.faults.calls) == call_count
