"""Security groups through the official SDK: create, list, delete, references."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, REGION, ask, refusal, refused
from ecs_helpers import authorize, client, new_group, permission


def listed(ecs: Any, **filters: Any) -> Any:
    return ask(ecs, "DescribeSecurityGroups", **filters)


def ids(ecs: Any, **filters: Any) -> list[str]:
    return [group.security_group_id for group in listed(ecs, **filters).security_groups.security_group]


def delete(ecs: Any, group: str) -> None:
    ask(ecs, "DeleteSecurityGroup", security_group_id=group)


def test_a_group_without_vpc_goes_into_the_accounts_own(local_cloud: LocalCloud) -> None:
    """The first VPC that the account owns, not one that is shared with it."""
    for account in (HOME, PEER):
        ecs = client(local_cloud, account)
        new_group(ecs, security_group_name="app")
        (group,) = listed(ecs).security_groups.security_group
        assert local_cloud.ecs.vpcs[group.vpc_id].owner == account
        assert (group.security_group_type, group.service_managed, group.service_id, group.rule_count) == (
            "normal",
            False,
            0,
            0,
        )


@pytest.mark.parametrize(
    ("field", "code", "longest"),
    [
        ("security_group_name", "InvalidSecurityGroupName.Malformed", 128),
        ("description", "InvalidDescription.Malformed", 256),
    ],
)
def test_a_name_and_a_description_have_bounds(local_cloud: LocalCloud, field: str, code: str, longest: int) -> None:
    """At least two characters, and no URL."""
    ecs = client(local_cloud)
    for text in ("x", "x" * (longest + 1), "http://x", "https://x"):
        assert refusal(new_group, ecs, **{field: text}) == (code, 400)
    for text in ("xx", "x" * longest):
        group_id = new_group(ecs, **{field: text})
        [group] = listed(ecs, security_group_id=group_id).security_groups.security_group
        assert getattr(group, field) == text


def test_a_shared_vpc_holds_groups_of_both_accounts(local_cloud: LocalCloud) -> None:
    """The owner's other VPCs do not exist for the second account, any more than one of nobody."""
    own_vpc, _, shared = local_cloud.ecs.vpcs
    peer = client(local_cloud, PEER)
    assert new_group(peer, shared).startswith("sg-bp1")
    for vpc_id in (own_vpc, "vpc-nobody"):
        assert refusal(new_group, peer, vpc_id) == ("InvalidVpcId.NotFound", 404)


def test_an_account_without_a_vpc_must_name_one(local_cloud: LocalCloud) -> None:
    """The classic network is retired."""
    local_cloud.identity.add_account("1000000000000003", "c@aliyun.com")
    assert refusal(new_group, client(local_cloud, "1000000000000003")) == ("InvalidVpcId.NotFound", 403)


def test_groups_come_ten_a_page_in_descending_order_of_ids(local_cloud: LocalCloud) -> None:
    """TotalCount comes with page numbers only; PageSize is at most 50."""
    ecs = client(local_cloud)
    group_ids = sorted((new_group(ecs) for _ in range(55)), reverse=True)
    first = listed(ecs)
    assert [group.security_group_id for group in first.security_groups.security_group] == group_ids[:10]
    assert (first.total_count, first.page_number, first.page_size) == (55, 1, 10)
    assert ids(ecs, page_number=6) == group_ids[50:]
    assert ids(ecs, page_size=100) == group_ids[:50]
    assert ids(ecs, page_number=7) == []
    assert refusal(ids, ecs, page_number=0) == ("InvalidParameter", 400)


def test_next_token_skips_no_group_when_one_is_deleted(local_cloud: LocalCloud) -> None:
    """Deleting a group that was already returned does not shift the next page."""
    ecs = client(local_cloud)
    group_ids = sorted((new_group(ecs) for _ in range(7)), reverse=True)
    page = listed(ecs, max_results=3)
    assert page.total_count is None
    delete(ecs, group_ids[0])
    last_page = listed(ecs, max_results=100, next_token=page.next_token)
    assert [group.security_group_id for group in last_page.security_groups.security_group] == group_ids[3:]
    assert last_page.next_token == ""
    with refused("InValidParameter.NextToken", 400):  # their spelling
        listed(ecs, max_results=3, next_token=page.next_token, vpc_id="vpc-other")


def test_a_token_works_only_for_its_query_and_account(local_cloud: LocalCloud) -> None:
    """Another account's token and made-up ones are refused."""
    ecs, peer = client(local_cloud), client(local_cloud, PEER)
    shared = next(vpc.id for vpc in local_cloud.ecs.vpcs.values() if vpc.shared_with)
    for account in (ecs, ecs, peer, peer):
        new_group(account, shared)
    token = listed(ecs, max_results=1).next_token
    deep = base64.urlsafe_b64encode(b"[" * 100_000).decode()
    for asking, made_up in ((peer, token), (ecs, deep), (ecs, f"{deep}."), (ecs, f"eyJ9{token}"), (ecs, "é.é")):
        assert refusal(listed, asking, max_results=1, next_token=made_up) == ("InValidParameter.NextToken", 400)
    assert len(ids(ecs, max_results=1, next_token=token)) == 1
    for page_size in (0, -1):
        assert refusal(ids, ecs, max_results=page_size) == ("InvalidParameter", 400)


def test_filters_are_combined(local_cloud: LocalCloud) -> None:
    """By id, name, type, VPC, network, managed flag and tags; unknown ids are left out."""
    ecs, (own_vpc, _, shared) = client(local_cloud), local_cloud.ecs.vpcs
    app = new_group(ecs, security_group_name="app", tag=[{"key": "allows", "value": "*"}])
    advanced = new_group(ecs, shared, security_group_type="enterprise")
    managed = local_cloud.ecs.create_group(HOME, own_vpc, managed=True).id
    classic = local_cloud.ecs.create_group(HOME, "").id
    assert ids(ecs, security_group_ids=f'["{app}", "sg-none"]') == [app]
    assert ids(ecs, security_group_id="sg-none") == []
    assert ids(ecs, security_group_name="app", vpc_id=own_vpc) == [app]
    assert ids(ecs, security_group_name="app", vpc_id=shared) == []
    assert ids(ecs, security_group_type="enterprise") == [advanced]
    assert ids(ecs, service_managed=True) == [managed]
    assert ids(ecs, network_type="classic") == [classic]
    assert ids(ecs, resource_group_id="rg-1") == []
    assert set(ids(ecs, service_managed=False, network_type="vpc")) == {app, advanced}
    assert ids(ecs, tag=[{"key": "allows"}]) == [app]
    assert ids(ecs, tag=[{"key": "allows", "value": "sg-1"}]) == []
    for wrong, code in (
        ({"security_group_ids": "sg-none"}, "InvalidSecurityGroupId.Malformed"),
        ({"security_group_type": "advanced"}, "InvalidParameter.SecurityGroupType"),
        ({"network_type": "cloud"}, "InvalidParameter"),
        ({"dry_run": True}, "DryRunOperation"),
    ):
        assert refusal(ids, ecs, **wrong) == (code, 400)
    (group_shown,) = listed(ecs, security_group_ids=f'["{managed}", "{managed}"]').security_groups.security_group
    assert (group_shown.service_managed, group_shown.service_id, group_shown.creation_time) == (
        True,
        1,
        "2026-11-25T00:00:00Z",
    )


def test_a_group_with_an_instance_or_a_reference_cannot_be_deleted(local_cloud: LocalCloud) -> None:
    """A rule in another account's group is such a reference; the group's own rules are not, nor an instance that has
    left."""
    ecs, peer, shared = client(local_cloud), client(local_cloud, PEER), list(local_cloud.ecs.vpcs)[2]
    app, db = new_group(ecs, shared), new_group(peer, shared)
    reference = permission(source_group_id=app, source_group_owner_id=int(HOME))
    authorize(peer, db, reference)
    local_cloud.ecs.create_instance(PEER, [db])
    assert refusal(delete, ecs, app) == ("DependencyViolation", 403)
    assert refusal(delete, peer, db) == ("DependencyViolation", 403)
    ask(peer, "RevokeSecurityGroup", security_group_id=db, permissions=[reference])
    delete(ecs, app)
    assert refusal(delete, ecs, app) == ("InvalidSecurityGroupId.NotFound", 404)
    group_ids = [new_group(ecs), new_group(ecs)]
    instance = local_cloud.ecs.create_instance(HOME, group_ids).id
    ask(ecs, "LeaveSecurityGroup", security_group_id=group_ids[0], instance_id=instance)
    delete(ecs, group_ids[0])
    ask(ecs, "DeleteInstance", instance_id=instance, force=True)
    delete(ecs, group_ids[1])


def test_references_include_other_accounts(local_cloud: LocalCloud) -> None:
    """The owner of the source group sees them; one call may ask for at most 10 groups. A rule that is changed names its
    new source."""
    ecs, peer, shared = client(local_cloud), client(local_cloud, PEER), list(local_cloud.ecs.vpcs)[2]
    app, lonely, db = new_group(ecs, shared), new_group(ecs, shared), new_group(peer, shared)
    authorize(peer, db, permission(source_group_id=app, source_group_owner_id=int(HOME)))
    assert references(ecs, app, lonely) == {app: [(PEER, db)]}
    (rule,) = ask(peer, "DescribeSecurityGroupAttribute", security_group_id=db).permissions.permission
    new = {"source_group_id": lonely, "source_group_owner_id": int(HOME)}
    rule_id = rule.security_group_rule_id
    ask(peer, "ModifySecurityGroupRule", security_group_id=db, security_group_rule_id=rule_id, **new)
    assert references(ecs, app, lonely) == {lonely: [(PEER, db)]}
    assert references(ecs, *[lonely] * 10) == {lonely: [(PEER, db)]}
    assert refusal(references, ecs, *[app] * 11) == ("InvalidParameter", 400)


def references(ecs: Any, *groups: str) -> dict[str, list[tuple[str, str]]]:
    """The groups whose rules name each of these, with their owners."""
    reference_rows = ask(
        ecs, "DescribeSecurityGroupReferences", security_group_id=list(groups)
    ).security_group_references.security_group_reference
    return {
        row.security_group_id: [
            (by.ali_uid, by.security_group_id) for by in row.referencing_security_groups.referencing_security_group
        ]
        for row in reference_rows
    }


def test_an_answer_has_at_most_a_hundred_references(local_cloud: LocalCloud) -> None:
    """All groups of the call together; nothing says that there are more."""
    assert local_cloud.ecs.quotas.references == 100
    local_cloud.ecs.quotas.references = 3
    ecs = client(local_cloud)
    app, web, lonely = new_group(ecs), new_group(ecs), new_group(ecs)
    for _ in range(2):
        authorize(ecs, new_group(ecs), permission(source_group_id=app), permission(source_group_id=web))
    referencing = references(ecs, app, web, lonely)
    assert [len(referencing[app]), len(referencing[web])] == [2, 1]
    assert lonely not in referencing


def test_the_region_is_required_and_must_exist(local_cloud: LocalCloud) -> None:
    """The error for a missing one depends on the action."""
    ecs, group = client(local_cloud), new_group(client(local_cloud))
    with refused("MissingParameter.RegionId", 400):
        ecs.describe_security_groups(models.DescribeSecurityGroupsRequest())
    with refused("MissingParameter.RegionId", 400):
        ecs.describe_security_group_attribute(models.DescribeSecurityGroupAttributeRequest(security_group_id=group))
    with refused("MissingParameter.RegionId", 404):
        ecs.tag_resources(models.TagResourcesRequest(resource_type="securitygroup", resource_id=[group]))
    assert refusal(ecs.describe_instances, models.DescribeInstancesRequest()) == ("MissingParameter", 400)
    with refused("InvalidRegionId.NotFound", 404):
        ecs.describe_security_groups(models.DescribeSecurityGroupsRequest(region_id="cn-atlantis"))
    regions = ecs.describe_regions(models.DescribeRegionsRequest()).body.regions.region
    assert (REGION, "ecs.cn-qingdao.aliyuncs.com") in [(region.region_id, region.region_endpoint) for region in regions]


def test_the_number_of_groups_is_limited(local_cloud: LocalCloud) -> None:
    """100 per region by default."""
    local_cloud.ecs.quotas.groups = 1
    ecs = client(local_cloud)
    new_group(ecs)
    assert refusal(new_group, ecs) == ("QuotaExceed.SecurityGroup", 403)


def test_a_malformed_instance_id_is_left_out_or_refuses_the_call(local_cloud: LocalCloud) -> None:
    """By the knob `strict_ids`: which of the two the platform does is unknown. An unknown one is always left out."""
    ecs = client(local_cloud)
    machine = local_cloud.ecs.create_instance(HOME, [new_group(ecs)]).id

    def filtered_ids(*instance_ids: str) -> list[str]:
        return [
            each.instance_id
            for each in ask(ecs, "DescribeInstances", instance_ids=json.dumps(instance_ids)).instances.instance
        ]

    assert filtered_ids(machine, "i-x") == [machine]
    local_cloud.knobs.strict_ids = True
    assert filtered_ids(machine, "i-bp1" + "z" * 17) == [machine]
    (group,) = ids(ecs)
    assert (ids(ecs, security_group_ids=json.dumps([group])), ids(ecs)) == ([group], [group])
    unknown = json.dumps([group, "sg-bp1" + "z" * 17])
    assert refusal(ids, ecs, security_group_ids=unknown) == ("InvalidSecurityGroupId.NotFound", 404)
    assert refusal(filtered_ids, machine, "i-x") == ("InvalidInstanceIds.Malformed", 400)
