"""The regions of Alibaba Cloud, so that a misspelt one is refused before anything is asked of it; and what a deployment
needs of one: Function Compute, with a runtime for the functions."""

from __future__ import annotations

import difflib
import os
import re

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
"""[doc the endpoint lists of Auto Scaling (2014-08-28), FC and EventBridge; doc ECS "regions and zones"; read
2026-11-28]. Closed regions (ap-south-1, ap-southeast-2) are left out."""

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


NEW = "LINK_PEER_NEW_REGION"
"""The setting that names a region which is newer than these lists. What a deployment needs of it is then not known, and
tried."""
_FORM = re.compile(r"[a-z]{2}(-[a-z0-9]+){1,3}")


def misspelt(region: str) -> str:
    """Why a text is no region, with the one that was probably meant; empty if it is one, or NEW names it."""
    if region in REGIONS or _is_new(region):
        return ""
    near = difflib.get_close_matches(region, sorted(REGIONS), n=1)
    suggestion = f": did you mean {near[0]}?" if near else ", such as cn-hangzhou."
    newer = f" If it is a newer one: export {NEW}={region}" if _FORM.fullmatch(region) else ""
    return f"{region!a} is not a region that this version knows{suggestion}{newer}"


def _is_new(region: str) -> bool:
    return _FORM.fullmatch(region) is not None and region == os.environ.get(NEW)


def has_functions(region: str) -> bool:
    """Whether Function Compute 3.0 is offered in a region, as far as is known."""
    return region in FUNCTION_COMPUTE or _is_new(region)


def unsuitable(region: str, runtime: str) -> tuple[str, str]:
    """Why the functions cannot be in a region, and what a person can do; empty texts if they can."""
    if _is_new(region):
        return "", ""
    if region not in FUNCTION_COMPUTE:
        return "Function Compute 3.0 is not offered there", "set another LINK_PEER_REGION"
    if runtime == "python3.12" and region not in PYTHON_312:
        return "Function Compute does not offer python3.12 there", "set LINK_PEER_RUNTIME=python3.10"
    return "", ""
