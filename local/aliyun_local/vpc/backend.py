"""VPC: the VPCs that an account may use, which the ECS backend holds.

Fields [src alibabacloud-vpc20160428 7.2.2]. That an account also sees those that others share with it is [inferred]
from the parameter `VpcOwnerId`. Here nothing creates or changes a VPC by API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aliyun_local.core.clock import utc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.identity import Caller
from aliyun_local.ecs.paging import numbered
from aliyun_local.ecs.params import Params
from aliyun_local.ecs.state import Vpc
from aliyun_local.ecs.store import Store


class VpcBackend:
    """The calls of VPC."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def call(self, caller: Caller, action: str, params: Mapping[str, str]) -> dict[str, Any]:
        """Run one action: the answer without RequestId, or ApiError."""
        request = Params(params)
        if request.require("RegionId") != self._store.region:
            raise ApiError("InvalidRegionId.NotFound", 404)
        with self._store.lock:
            usable = [vpc for vpc in self._store.vpcs.values() if vpc.usable_by(caller.account)]
            return ACTIONS[action](self._store, request, usable)


def describe_vpcs(store: Store, params: Params, vpcs: Iterable[Vpc]) -> dict[str, Any]:
    """The VPCs that match: `VpcId` holds up to 20 ids, separated by commas. An unknown id gives none."""
    vpc_ids = [each for each in params.get("VpcId").split(",") if each]
    if len(vpc_ids) > 20:
        raise ApiError("InvalidVpcId.Malformed", 400)
    rows = [
        {
            "VpcId": vpc.id,
            "VpcName": vpc.name,
            "Description": "",
            "Status": "Available",
            "CidrBlock": vpc.cidr,
            "RegionId": store.region,
            "OwnerId": int(vpc.owner),
            "IsDefault": False,
            "CreationTime": utc(vpc.created),
            "ResourceGroupId": "",
            "VRouterId": "",
            "VSwitchIds": {"VSwitchId": [vpc.vswitch_id]},
            "SecondaryCidrBlocks": {"SecondaryCidrBlock": []},
            "UserCidrs": {"UserCidr": []},
            "RouterTableIds": {"RouterTableIds": []},
            "NatGatewayIds": {"NatGatewayIds": []},
            "Tags": {"Tag": []},
        }
        for vpc in vpcs
        if (not vpc_ids or vpc.id in vpc_ids)
        and params.get("VpcName") in ("", vpc.name)
        and params.get("VpcOwnerId") in ("", vpc.owner)
        and not params.flag("IsDefault")
        and not params.records("Tag")
    ]
    chosen, paging = numbered(params, rows, most=50)
    return {"Vpcs": {"Vpc": list(chosen)}, **paging}


ACTIONS: dict[str, Callable[[Store, Params, Iterable[Vpc]], dict[str, Any]]] = {"DescribeVpcs": describe_vpcs}
