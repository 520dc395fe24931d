"""VPCs through the official SDK."""

from __future__ import annotations

from typing import Any

from alibabacloud_vpc20160428.client import Client

from aliyun_local.cloud import LocalCloud
from clients import HOME, PEER, REGION, ask, config, key_of, refused


def client(cloud: LocalCloud, account: str = HOME) -> Client:
    return Client(config(key_of(cloud, account), f"vpc.{REGION}.aliyuncs.com"))


def vpcs(client: Client, **filters: Any) -> list[Any]:
    return ask(client, "DescribeVpcs", **filters).vpcs.vpc


def test_an_account_sees_its_vpcs_and_those_shared_with_it(local_cloud: LocalCloud) -> None:
    own_vpc, peer_vpc, shared = local_cloud.ecs.vpcs.values()
    assert [vpc.vpc_id for vpc in vpcs(client(local_cloud))] == [own_vpc.id, shared.id]
    assert [vpc.vpc_id for vpc in vpcs(client(local_cloud, PEER))] == [peer_vpc.id, shared.id]
    (vpc,) = vpcs(client(local_cloud, PEER), vpc_id=shared.id)
    assert (vpc.owner_id, vpc.cidr_block, vpc.status, vpc.region_id) == (int(HOME), shared.cidr, "Available", REGION)
    assert vpc.v_switch_ids.v_switch_id == [shared.vswitch_id]


def test_filters_are_combined_and_lists_are_paged(local_cloud: LocalCloud) -> None:
    """Unknown ids give nothing."""
    home = client(local_cloud)
    own_vpc, _, shared = local_cloud.ecs.vpcs.values()
    assert len(vpcs(home, vpc_id=f"{own_vpc.id},{shared.id},vpc-none")) == 2
    assert vpcs(home, vpc_id="vpc-none") == vpcs(home, is_default=True) == []
    assert [vpc.vpc_id for vpc in vpcs(home, vpc_name=own_vpc.name)] == [own_vpc.id]
    assert vpcs(client(local_cloud, PEER), vpc_owner_id=int(HOME))[0].vpc_id == shared.id
    body = ask(home, "DescribeVpcs", page_size=1, page_number=2)
    assert (body.total_count, [vpc.vpc_id for vpc in body.vpcs.vpc]) == (2, [shared.id])


def test_another_region_is_not_here(local_cloud: LocalCloud) -> None:
    with refused("InvalidRegionId.NotFound", 404):
        ask(client(local_cloud), "DescribeVpcs", region_id="cn-atlantis")
