"""The regions of Alibaba Cloud: one that does not exist is refused."""

from __future__ import annotations

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
