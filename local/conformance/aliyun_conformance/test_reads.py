"""What Describe and List calls answer."""

from __future__ import annotations

from typing import Any

import pytest

from aliyun_conformance.bench import Bench, address_of
from aliyun_conformance.question import Need
from aliyun_conformance.sdks import code_of
from aliyun_conformance.test_groups import references

UNKNOWN_GROUP, UNKNOWN_INSTANCE = "sg-bp1selftestgone00000", "i-bp1selftestgone000000"


@pytest.mark.real_cloud(19, expected="the known group, no error")
def test_one_unknown_group(bench: Bench) -> None:
    """One unknown group id among several is omitted."""
    b = bench.group()
    group_ids: list[str] = []
    assert code_of(lambda: group_ids.extend(g.security_group_id for g in bench.described(b, UNKNOWN_GROUP))) == ""
    assert group_ids == [b]


@pytest.mark.real_cloud(20, expected="an empty list, no error", cleanup="none")
def test_unknown_instance(bench: Bench) -> None:
    """Unknown instance ids are omitted."""
    instances: list[Any] = []
    assert code_of(lambda: instances.append(bench.instance_of(UNKNOWN_INSTANCE))) == ""
    assert instances == [None]


@pytest.mark.real_cloud(21, Need.ROLE, expected="an empty list, no error", cleanup="none")
def test_instances_without_permission(bench: Bench) -> None:
    """A caller without permission gets an empty list of instances, and no error."""
    # an error is handled too: the account cannot be read
    session = bench.session({"Effect": "Allow", "Action": ["ecs:DescribeRegions"], "Resource": ["*"]})
    instances: list[Any] = []
    code = code_of(lambda: instances.extend(session.ask("describe_instances", max_results=10).instances.instance or []))
    bench.saw(code or f"{len(instances)} instance(s), no error")
    assert (code, instances) == ("", [])


@pytest.mark.real_cloud(
    22,
    Need.INSTANCES,
    expected="`SecurityGroupIds` is the same each time",
    cleanup="release the instance, delete the groups",
)
def test_order_of_groups(bench: Bench) -> None:
    """The order of an instance's groups is stable."""
    instance = _newcomer(bench)["instance"]
    orders = {tuple(bench.instance_of(instance).security_group_ids.security_group_id) for _ in range(10)}
    bench.saw(f"{len(orders)} order(s) in 10 reads")
    assert len(orders) == 1


@pytest.mark.real_cloud(
    23,
    Need.INSTANCES,
    expected="within 5 minutes; the report says in which state",
    cleanup="release the instance, delete the groups",
)
def test_address_of_a_new_instance(bench: Bench) -> None:
    """A new instance has its private address within 5 minutes of its first event."""
    seconds, status = _newcomer(bench)["address"]
    text = "no address within 5 minutes" if seconds is None else f"after {seconds} s, in state {status}"
    bench.saw(text, {"seconds": seconds, "status": status})
    assert seconds is not None


@pytest.mark.real_cloud(
    24,
    Need.INSTANCES,
    expected="the first read that shows the instance shows its tags",
    cleanup="release the instance, delete the groups",
)
def test_tags_of_a_new_instance(bench: Bench) -> None:
    """The tags given to RunInstances are readable as soon as the instance is."""
    newcomer = _newcomer(bench)
    first_read, tagged = newcomer["shown"], newcomer["tags"]
    bench.saw(f"instance after {first_read[0]} s, tags after {tagged[0]} s", newcomer)
    assert first_read == tagged


def _newcomer(bench: Bench) -> dict[str, Any]:
    """A new instance in three groups, watched from its launch: for each fact (seconds, status) of the first read with it."""

    def watch() -> dict[str, Any]:
        groups = [bench.keep(bench.group()) for _ in range(3)]
        instance = bench.keep(bench.instance(*groups, tags={"cloud-selftest.watch": "x"}))
        began = bench.clock.now()
        first_reads: dict[str, Any] = {"instance": instance, "shown": None, "tags": None, "address": None}

        def look() -> bool:
            description = bench.instance_of(instance)
            now = round(bench.clock.now() - began, 1)
            if description is None:
                return False
            facts = {
                "shown": True,
                "tags": bool(description.tags and description.tags.tag),
                "address": bool(address_of(description)),
            }
            for fact, true in facts.items():
                if true and first_reads[fact] is None:
                    first_reads[fact] = (now, str(description.status))
            return all(facts.values())

        bench.until(look, bool, 300)
        for fact in ("shown", "tags", "address"):
            first_reads[fact] = first_reads[fact] or (None, "")
        return first_reads

    newcomer: dict[str, Any] = bench.shared("newcomer", watch)
    return newcomer


@pytest.mark.real_cloud(25, expected="the group within 10 seconds (1,001 groups are left to a person)")
def test_tagged_groups_are_listed(bench: Bench) -> None:
    """ListTagResources shows a tag of a group within 10 seconds, and pages over more than 1,000 groups."""
    b = bench.group()
    tag = bench.models.ListTagResourcesRequestTag(key="cloud-selftest.list", value=bench.run)

    def listed() -> bool:
        body = bench.sdks.ask("list_tag_resources", resource_type="securitygroup", tag=[tag])
        return any(each.resource_id == b for each in body.tag_resources.tag_resource or [])

    bench.sdks.ecs.tag("securitygroup", b, **{"cloud-selftest.list": bench.run})
    added = bench.seconds_until(listed)
    by_id = bench.sdks.ask("list_tag_resources", resource_type="securitygroup", resource_id=[b]).tag_resources
    rows = [row for row in by_id.tag_resource or [] if row.tag_key == tag.key]
    assert [(row.resource_id, row.tag_value) for row in rows] == [(b, bench.run)]
    bench.sdks.ecs.untag("securitygroup", b, "cloud-selftest.list")
    removed = bench.seconds_until(lambda: not listed())
    bench.saw(f"listed after {added} s, gone after {removed} s")
    assert max(added, removed) <= 10


@pytest.mark.real_cloud(62, expected="B within 3 seconds (the other account is left to a person)")
def test_references(bench: Bench) -> None:
    """DescribeSecurityGroupReferences shows a rule as soon as DescribeSecurityGroupAttribute does."""
    a, b = bench.group(), bench.group()

    def referencing_groups() -> set[tuple[str, str]]:
        return references(bench, a).get(a, set())

    bench.authorize(b, {"source_group_id": a})
    seconds = bench.seconds_until(lambda: bool(referencing_groups()))
    bench.saw(
        f"after {seconds} s: {', '.join(f'{group} of {uid}' for uid, group in referencing_groups())}",
        {"seconds": seconds},
    )
    assert seconds <= 3
    assert referencing_groups() == {(bench.account, b)}


@pytest.mark.real_cloud(
    53,
    Need.INTERFACES,
    expected="each address finds the interface in one way at least (a shared VPC is left to a person)",
    cleanup="delete the interface and the group",
)
def test_interfaces_by_address(bench: Bench) -> None:
    """DescribeNetworkInterfaces finds an interface by its first address with `PrimaryIpAddress` or `PrivateIpAddress.1`, and by another one with `PrivateIpAddress.1`, within a VPC; the VPC's owner sees the interfaces of other accounts in it."""
    interface = bench.interface(bench.group(), secondary=1)
    sets = interface.private_ip_sets.private_ip_set
    addresses = [(str(each.private_ip_address), bool(each.primary)) for each in sets]

    def finds(**address: Any) -> bool:
        body = bench.sdks.ask("describe_network_interfaces", vpc_id=interface.vpc_id, max_results=10, **address)
        interfaces = body.network_interface_sets.network_interface_set or []
        return [each.network_interface_id for each in interfaces] == [interface.network_interface_id]

    ways: dict[str, list[str]] = {}
    for address, first in addresses:
        by: dict[str, dict[str, Any]] = {
            "PrimaryIpAddress": {"primary_ip_address": address},
            "PrivateIpAddress.1": {"private_ip_address": [address]},
        }
        ways["primary" if first else "secondary"] = [name for name, params in by.items() if finds(**params)]
    text = ", ".join(f"{kind} by {' and '.join(filters) or 'neither'}" for kind, filters in sorted(ways.items()))
    bench.saw(text, {"ways": ways})
    assert all(ways.values())


@pytest.mark.real_cloud(60, expected="the known group, or `InvalidSecurityGroupId.Malformed`")
def test_one_malformed_id(bench: Bench) -> None:
    """A Describe call with one malformed id is refused as a whole with a code that names the id's field, or the id is omitted."""
    b = bench.group()
    group_ids: list[str] = []
    code = code_of(lambda: group_ids.extend(g.security_group_id for g in bench.described(b, f"sg-{'1' * 60}")))
    bench.saw(code or f"{len(group_ids)} group(s)")
    assert group_ids == [b] or code == "InvalidSecurityGroupId.Malformed"


@pytest.mark.real_cloud(75, expected="a page with TotalCount, or that code", cleanup="none")
def test_page_numbers(bench: Bench) -> None:
    """DescribeSecurityGroups with PageNumber answers, or refuses with `NotSupported.PageNumberAndPageSize`."""
    totals: list[Any] = []
    code = code_of(
        lambda: totals.append(bench.sdks.ask("describe_security_groups", page_number=1, page_size=10).total_count)
    )
    bench.saw(code or f"TotalCount {totals[0]}")
    assert code == "NotSupported.PageNumberAndPageSize" or totals not in ([], [None])


@pytest.mark.real_cloud(76, expected="`MissingParameter.RegionId`", cleanup="none")
def test_missing_region(bench: Bench) -> None:
    """A missing RegionId is refused with `MissingParameter.RegionId`."""
    assert code_of(lambda: bench.sdks.raw("ecs", "DescribeSecurityGroups")) == "MissingParameter.RegionId"


@pytest.mark.real_cloud(77, expected="`InvalidParameter.NextToken` or `InValidParameter.NextToken`", cleanup="none")
def test_unreadable_token(bench: Bench) -> None:
    """An unreadable NextToken is refused with `InvalidParameter.NextToken`, in some spelling."""
    code = code_of(lambda: bench.sdks.ask("describe_security_groups", max_results=10, next_token="nonsense"))  # noqa: S106
    bench.saw(code or "answered")
    assert code.lower() == "invalidparameter.nexttoken"


@pytest.mark.real_cloud(74, expected="the tag is there, then gone")
def test_older_tag_actions(bench: Bench) -> None:
    """AddTags, RemoveTags and DescribeTags still work for security groups, beside TagResources."""
    b, key = bench.group(), "cloud-selftest.older"
    tag = bench.models.AddTagsRequestTag(key=key, value=bench.run)
    tag_filter = bench.models.DescribeTagsRequestTag(key=key, value=bench.run)
    removed_tag = bench.models.RemoveTagsRequestTag(key=key)

    def has_key() -> bool:
        body = bench.sdks.ask("describe_tags", resource_type="securitygroup", resource_id=b, tag=[tag_filter])
        return any(each.tag_key == key for each in body.tags.tag or [])

    for call, call_tag, has_tag in (("add_tags", tag, True), ("remove_tags", removed_tag, False)):
        fields = {"resource_type": "securitygroup", "resource_id": b, "tag": [call_tag]}
        assert code_of(lambda call=call, fields=fields: bench.sdks.ask(call, **fields)) == ""  # type: ignore[misc]
        assert bench.until(has_key, lambda now, expected=has_tag: now is expected) is has_tag  # type: ignore[misc]
