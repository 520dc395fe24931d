"""The RPC style on the wire: parameters, answers in JSON and XML, and the gateway's own refusals."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_tea_openapi.client import Client as OpenApi
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from aliyun_local.cloud import LocalCloud
from aliyun_local.core import rpc
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request
from clients import ask, code_of, config, key_of, refusal
from test_wire_signatures_by_hand import legacy

ECS = "ecs.cn-qingdao.aliyuncs.com"


def call(cloud: LocalCloud, action: str, version: str = "2014-05-26", **query: str) -> dict[str, object]:
    """Call any action through the generic client."""
    params = Params(
        action=action,
        version=version,
        protocol="HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    answer = OpenApi(config(key_of(cloud), ECS)).call_api(params, OpenApiRequest(query=query), RuntimeOptions())
    return dict(answer["body"])


@pytest.mark.parametrize("endpoint", ["ecs.cn-qingdao.aliyuncs.com", "127.0.0.1:8080", "nowhere.example"])
@pytest.mark.parametrize("protocol", ["http", "https"])
def test_any_host_name_reaches_the_local_cloud(local_cloud: LocalCloud, endpoint: str, protocol: str) -> None:
    """No name is resolved and no connection is made."""
    ecs = Ecs(config(key_of(local_cloud), endpoint, protocol=protocol))
    assert ask(ecs, "DescribeRegions").regions.region


def test_every_answer_has_its_own_request_id(local_cloud: LocalCloud) -> None:
    """Successes and refusals each carry a new RequestId."""
    ids = {str(call(local_cloud, "DescribeRegions")["RequestId"]) for _ in range(3)}
    with pytest.raises(ClientException) as refused:
        call(local_cloud, "NoSuchAction")
    ids.add(refused.value.request_id)
    assert len(ids) == 4


def test_a_refusal_has_the_gateways_fields(local_cloud: LocalCloud) -> None:
    """RequestId, HostId, Code, Message and Recommend."""
    with pytest.raises(ClientException) as refused:
        call(local_cloud, "DescribeSecurityGroupAttribute", RegionId="cn-qingdao", SecurityGroupId="sg-nobody")
    body = refused.value.data
    assert body["HostId"] == "ecs.cn-qingdao.aliyuncs.com"
    assert body["Code"] == "InvalidSecurityGroupId.NotFound"
    assert body["Recommend"].startswith(
        "https://api.aliyun.com/troubleshoot?q=InvalidSecurityGroupId.NotFound&product=Ecs"
    )
    assert {"RequestId", "Message"} <= set(body)


def test_a_bug_of_ours_is_an_internal_error(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that fails answers 500 as the platform would, and the exception is logged."""
    monkeypatch.setattr(local_cloud.ecs, "call", lambda *_arguments, **_options: 1 / 0)
    assert refusal(call, local_cloud, "DescribeRegions") == ("InternalError", 500)


# XML


@pytest.mark.parametrize(("form", "start"), [("XML", b"<?xml"), ("xml", b"<?xml"), ("JSON", b"{"), ("json", b"{")])
def test_the_caller_chooses_the_format(local_cloud: LocalCloud, form: str, start: bytes) -> None:
    """`Format` selects JSON or XML, in any case."""
    answer = local_cloud.handle(legacy(key_of(local_cloud), Format=form))
    assert answer.body.startswith(start)


def test_without_format_the_older_style_answers_xml() -> None:
    """A missing Format means XML for older clients, and JSON for current ones."""
    assert rpc.parse(Request("GET", "/", "Action=DescribeRegions&Version=2014-05-26", {"host": "h"})).xml
    headers = {"host": "h", "x-acs-action": "DescribeRegions", "x-acs-version": "2014-05-26"}
    assert not rpc.parse(Request("POST", "/", "", headers)).xml


def test_xml_of_an_answer() -> None:
    """The root is `<Action>Response`; a list is one element per entry; text is escaped; booleans are lower case."""
    query = "Action=DescribeInstances&Version=2014-05-26"
    answer = rpc.answer(
        rpc.parse(Request("GET", "/", query, {"host": "h"})),
        {"Instances": {"Instance": [{"Name": "<&>"}, {"Name": ""}]}, "TotalCount": 2, "More": False, "None": None},
    )
    assert answer.headers["Content-Type"] == "text/xml;charset=utf-8"
    root = ElementTree.fromstring(answer.body)  # noqa: S314
    assert root.tag == "DescribeInstancesResponse"
    assert [name.text for name in root.findall("Instances/Instance/Name")] == ["<&>", None]
    assert [root.findtext(name) for name in ("TotalCount", "More", "None")] == ["2", "false", ""]
    assert root.findtext("RequestId")


def test_xml_holds_any_text() -> None:
    """A carriage return is preserved; characters that XML cannot hold are replaced, so that the answer stays XML."""
    call = rpc.parse(Request("GET", "/", "Action=DescribeInstances&Version=2014-05-26", {"host": "h"}))
    root = ElementTree.fromstring(rpc.answer(call, {"Name": "a\r\n\t\x00\x08\x1f\uffff\x7f😀"}).body)  # noqa: S314
    assert root.findtext("Name") == "a\r\n\t" + "\ufffd" * 4 + "\x7f😀"


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ("Version=2014-05-26&Format=JSON", {}, "MissingParameter"),
        ("AccessKeyId=LTAI&Signature=x&Format=JSON", {}, "MissingParameter"),
        ("", {"x-acs-version": "2014-05-26"}, "MissingParameter"),
        ("", {"x-acs-action": "DescribeRegions"}, "InvalidVersion"),
    ],
)
def test_an_incomplete_call_is_refused_in_this_style(
    local_cloud: LocalCloud, query: str, headers: dict[str, str], code: str
) -> None:
    """A call without action or version is not mistaken for one of a REST service. Its signature is not looked at."""
    answer = local_cloud.handle(Request("POST", "/", query, {"host": "h", **headers}))
    assert code_of(answer) == (400, code)
    assert all(name in answer.body for name in (b"RequestId", b"HostId"))


def test_xml_of_a_refusal() -> None:
    """The same fields as in JSON, under `<Error>`."""
    refused = rpc.error(
        rpc.parse(Request("GET", "/", "Action=X&Version=2015-04-01", {"host": "sts.aliyuncs.com:80"})),
        ApiError("NoPermission", 403, "a < b"),
    )
    root = ElementTree.fromstring(refused.body)  # noqa: S314
    assert (refused.status, root.tag) == (403, "Error")
    assert [root.findtext(name) for name in ("Code", "Message", "HostId")] == [
        "NoPermission",
        "a < b",
        "sts.aliyuncs.com",
    ]
