"""Which region a request is for: the one that its parameters, its host or its signature name."""

from __future__ import annotations

import re

from aliyun_local.core.http import Request
from aliyun_local.core.regions import REGIONS

_NETWORKS = re.compile(r"-(intranet|internal|internet|share|vpc)$")  # other endpoints of the same region
_SCOPE = re.compile(r"Credential=[^/,]+/\d+/([^/,]+)/sls/")  # of SLS v4
BY_PARAMETER = frozenset({"ecs", "tag", "vpc"})
"""The services with one endpoint for many regions: RegionId says which."""


def of_host(host: str) -> str:
    """The region in `ecs.<region>.aliyuncs.com`, `<project>.<region>.log.aliyuncs.com`,
    `<uid>.mns.<region>-internal.…`."""
    labels = (_NETWORKS.sub("", label).removeprefix("ecs-") for label in reversed(host.split(".")))
    return next((label for label in labels if label in REGIONS), "")


def of_call(service: str, region_id: str, host: str) -> str:
    """The region of an RPC call; empty if nothing names one, or not one that exists."""
    return region_id if service in BY_PARAMETER and region_id in REGIONS else of_host(host)


def of_request(request: Request) -> str:
    """The region of a REST request; empty if nothing names one."""
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    return of_host(request.host) or (scope[1] if scope and scope[1] in REGIONS else "")


def elsewhere(host: str, region_id: str) -> bool:
    """Whether a host of one region, `ecs.<region>.aliyuncs.com`, is asked about another."""
    region = of_host(host)
    return bool(region) and host.startswith(f"ecs.{region}.") and region_id in REGIONS - {region}
