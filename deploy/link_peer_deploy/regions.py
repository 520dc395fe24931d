"""The regions of Alibaba Cloud, so that a misspelt one is refused before anything is asked of it; and what a deployment needs
of one: Function Compute, with a runtime for the functions."""

from __future__ import annotations

import difflib

REGIONS = frozenset(
    {
        # China
        *("cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-hangzhou", "cn-shanghai"),
        *("cn-nanjing", "cn-fuzhou", "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-wuhan-lr"),
        *("cn-zhengzhou-jva", "cn-hongkong"),
        # finance and government
        *("cn-beijing-finance-1", "cn-hangzhou-finance", "cn-shanghai-finance-1", "cn-shenzhen-finance-1"),
        *("cn-heyuan-acdr-1", "cn-north-2-gov-1"),
        # Asia and Pacific
        *("ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-3", "ap-southeast-5", "ap-southeast-6"),
        *("ap-southeast-7", "ap-southeast-8"),
        # America, Europe, Middle East
        *("us-east-1", "us-southeast-1", "us-west-1", "na-south-1", "eu-central-1", "eu-west-1", "me-central-1"),
        "me-east-1",
    }
)
"""[doc the endpoint lists of Auto Scaling (2014-08-28), FC and EventBridge; doc ECS "regions and zones"; read 2026-11-28].
Closed regions (ap-south-1, ap-southeast-2) are left out."""

FUNCTION_COMPUTE = frozenset(
    {
        *("cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-hangzhou", "cn-shanghai"),
        *("cn-shenzhen", "cn-chengdu", "cn-hongkong", "cn-hangzhou-finance", "cn-shanghai-finance-1"),
        *("cn-heyuan-acdr-1", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-3"),
        *("ap-southeast-5", "ap-southeast-7", "us-east-1", "us-west-1", "eu-central-1", "eu-west-1", "me-central-1"),
    }
)
"""[src the endpoints of alibabacloud-fc20230330 4.8.3]"""

PYTHON_312 = frozenset(
    {
        *("cn-qingdao", "cn-hangzhou", "cn-shanghai", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-shenzhen"),
        *("cn-chengdu", "cn-hongkong", "ap-northeast-1", "ap-southeast-7", "ap-northeast-2", "eu-central-1"),
        *("eu-west-1", "us-east-1", "us-west-1"),
    }
)
"""Where the runtime python3.12 is offered [doc FC runtimes, 2026-10-26]."""


def unsuitable(region: str, runtime: str) -> tuple[str, str]:
    """Why the functions cannot be in a region, and what a person can do; empty texts if they can."""
    if region not in REGIONS:
        near = difflib.get_close_matches(region, sorted(REGIONS), n=1)
        return "there is no such region", f"set LINK_PEER_REGION={near[0]}" if near else "set another LINK_PEER_REGION"
    if region not in FUNCTION_COMPUTE:
        return "Function Compute 3.0 is not offered there", "set another LINK_PEER_REGION"
    if runtime == "python3.12" and region not in PYTHON_312:
        return "Function Compute does not offer python3.12 there", "set LINK_PEER_RUNTIME=python3.10"
    return "", ""
