"""Which region a request is for."""

from __future__ import annotations

import pytest
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_fc20230330.client import Client as Fc
from alibabacloud_tea_openapi.models import Config
from link_peer_deploy.regions import REGIONS
from link_peer_local.core import places
from link_peer_local.core.http import Request


@pytest.mark.parametrize(
    ("host", "region"),
    {
        "ecs.cn-hangzhou.aliyuncs.com": "cn-hangzhou",
        "ecs-cn-hangzhou.aliyuncs.com": "cn-hangzhou",
        "ecs.aliyuncs.com": "",
        "proj.cn-hangzhou.log.aliyuncs.com": "cn-hangzhou",
        "cn-beijing.cn-hangzhou-intranet.log.aliyuncs.com": "cn-hangzhou",  # a project may have any name
        "1000000000000001.mns.cn-hangzhou-internal.aliyuncs.com": "cn-hangzhou",
        "1000000000000001.cn-shanghai-finance-1.fc.aliyuncs.com": "cn-shanghai-finance-1",
        "proj.cn-hangzou.log.aliyuncs.com": "",
        "proj.127.0.0.1": "",
        "": "",
    }.items(),
)
def test_a_host_names_a_region(host: str, region: str) -> None:
    assert places.of_host(host) == region


@pytest.mark.parametrize(
    ("service", "region_id", "host", "region"),
    [
        ("ecs", "cn-hangzhou", "127.0.0.1", "cn-hangzhou"),
        ("ecs", "cn-hangzou", "127.0.0.1", ""),
        ("ecs", "", "ecs.cn-hangzhou.aliyuncs.com", "cn-hangzhou"),
        ("ecs", "cn-beijing", "ecs-cn-hangzhou.aliyuncs.com", "cn-beijing"),
        ("eventbridge", "cn-hangzhou", "127.0.0.1", ""),
    ],
)
def test_a_call_names_a_region(service: str, region_id: str, host: str, region: str) -> None:
    """ECS, VPC and Tag by RegionId first."""
    assert places.of_call(service, region_id, host) == region


@pytest.mark.parametrize(
    ("scope", "region"),
    [("cn-hangzhou/sls/aliyun_v4_request", "cn-hangzhou"), ("cn-hangzou/sls/aliyun_v4_request", ""), ("", "")],
)
def test_a_signature_of_sls_names_a_region(scope: str, region: str) -> None:
    headers = {
        "host": "proj.127.0.0.1:8101",
        "authorization": f"SLS4-HMAC-SHA256 Credential=LTAI/20261128/{scope},Signature=00",
    }
    assert places.of_request(Request("GET", "/", "", headers)) == region


@pytest.mark.parametrize("client", [Fc, EventBridge])
def test_the_regions_of_the_sdks_are_known(client: type) -> None:
    """Those with Function Compute and EventBridge, which a deployment needs, but for two that were closed."""
    known = client(Config(access_key_id="a", access_key_secret="b", region_id="cn-qingdao"))._endpoint_map
    assert set(known) - REGIONS <= {"ap-south-1", "ap-southeast-2"}
