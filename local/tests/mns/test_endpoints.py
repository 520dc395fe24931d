"""The public endpoint of an account's queues can be closed; that within the region always answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.utils_models import OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from mns.mns_exception import MNSServerException

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.principals import Role, policy_text, trust_text
from clients import HOME, config, key_of, queues_of, refusal

OPEN = "mns-open.cn-qingdao.aliyuncs.com"


def ask(key: Any, action: str, kind: str = "public") -> Any:
    params = Params(
        action=action, version="2022-01-19", protocol="http", pathname="/", method="POST", auth_type="AK",
        style="RPC", req_body_type="formData", body_type="json",
    )  # fmt: skip
    return Client(config(key, OPEN)).call_api(params, OpenApiRequest(query={"EndpointType": kind}), RuntimeOptions())[
        "body"
    ]


def test_a_closed_endpoint_refuses_what_the_internal_one_answers(local_cloud: LocalCloud) -> None:
    """Until it is opened again."""
    key = key_of(local_cloud)
    assert ask(key, "GetEndpointAttribute")["Data"]["EndpointEnabled"] is True
    ask(key, "DisableEndpoint")
    assert ask(key, "GetEndpointAttribute")["Data"]["EndpointEnabled"] is False
    public = queues_of(key, f"http://{HOME}.mns.cn-qingdao.aliyuncs.com")
    with pytest.raises(MNSServerException, match="AccessDenied"):
        public.list_queue()
    queues_of(key, f"http://{HOME}.mns.cn-qingdao-internal.aliyuncs.com").list_queue()
    ask(key, "EnableEndpoint")
    public.list_queue()


def test_an_endpoint_is_public_or_refused(local_cloud: LocalCloud) -> None:
    assert refusal(ask, key_of(local_cloud), "GetEndpointAttribute", "private")[0] == "InvalidParameter"


def test_it_is_asked_with_a_right_of_its_own(local_cloud: LocalCloud) -> None:
    """`mns:GetEndpointAttribute`."""
    allow = {"Effect": "Allow", "Action": "mns:GetEndpointAttribute", "Resource": "*"}
    role = Role(HOME, "looker", trust_text([f"acs:ram::{HOME}:root"]))
    local_cloud.identity.add_role(role, {"look": policy_text([allow])})
    key = local_cloud.identity.issue(role, "test", local_cloud.clock.now() + 3600)
    assert json.dumps(ask(key, "GetEndpointAttribute")["Data"]["CidrList"]).count("0.0.0.0/0") == 1
    assert refusal(ask, key, "DisableEndpoint")[0] == "NoPermission"
