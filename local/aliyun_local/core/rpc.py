"""The RPC style on the wire (ECS, STS, RAM, EventBridge and others): parameters in, JSON or XML out.

There are two forms: current clients send action and version as x-acs-* headers; older ones (and those that read XML)
send `Action`, `Version` and `Format` among the other parameters.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import msgspec
from msgspec import Struct

from aliyun_local.core import real_api
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response, pairs

SERVICES = {
    "2014-05-26": "ecs",
    "2015-04-01": "sts",
    "2015-05-01": "ram",
    "2016-04-28": "vpc",
    "2018-08-28": "tag",
    "2020-04-01": "eventbridge",
    "2020-07-06": "actiontrail",
    "2022-01-19": "mns_open",
}
_ELSEWHERE = {
    "2017-09-12": "CEN",
    "2019-01-01": "CloudMonitor",
    "2019-06-01": "OOS",
    "2019-09-10": "ROS",
    "2020-03-31": "Resource Management",
    "2020-09-07": "Cloud Config",
    "2022-01-01": "VPC peering",
}
"""Versions of services near these that the local cloud has not."""
_PROTOCOL = frozenset(
    {
        *("Action", "Version", "Format", "AccessKeyId", "SecurityToken", "Timestamp"),
        *("Signature", "SignatureMethod", "SignatureVersion", "SignatureNonce", "SignatureType"),
    }
)

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even escaped."""


class Call(Struct, frozen=True):
    """One RPC call. `sent` holds every parameter as sent, `params` only the action's own."""

    method: str
    action: str
    version: str
    xml: bool
    host: str
    sent: Mapping[str, str]
    request_id: str

    @property
    def service(self) -> str:
        """The service that has this version; empty for an unknown one."""
        return SERVICES.get(self.version, "")

    @property
    def params(self) -> dict[str, str]:
        """The action's own parameters, without those of the protocol."""
        return {name: value for name, value in self.sent.items() if name not in _PROTOCOL}


def is_rpc(request: Request) -> bool:
    """Whether a request is an RPC call: no REST service uses the root path with an action or a version."""
    return request.path in ("", "/") and (
        "x-acs-action" in request.headers
        or "x-acs-version" in request.headers
        or not _PROTOCOL.isdisjoint(_sent(request))
    )


def parse(request: Request) -> Call:
    """Read a call in either form. In the older one a missing Format means XML [run: libcloud]."""
    headers, sent = request.headers, _sent(request)
    action = headers.get("x-acs-action") or sent.get("Action", "")
    version = headers.get("x-acs-version") or sent.get("Version", "")
    form = sent.get("Format", "JSON" if "x-acs-action" in headers else "XML")
    return Call(request.method, action, version, form.upper() != "JSON", request.host, sent, str(uuid.uuid4()).upper())


def check(call: Call) -> None:
    """Raise the gateway's own refusals, which come before any service sees the call."""
    if call.method not in ("GET", "POST"):
        raise ApiError("UnsupportedHTTPMethod", 400)
    if not call.action:
        raise ApiError(
            "MissingParameter", 400, 'The input parameter "Action" that is mandatory for this request is not supplied.'
        )
    if call.version in _ELSEWHERE:
        raise real_api.not_offered(_ELSEWHERE[call.version], call.action)
    if not call.service:
        raise ApiError("InvalidVersion", 400)


def answer(call: Call, result: Mapping[str, object]) -> Response:
    """Render a result: 200, with the RequestId."""
    return _render(call, 200, f"{call.action}Response", {"RequestId": call.request_id, **result})


def error(call: Call, refusal: ApiError) -> Response:
    """Render a refusal in the gateway's format."""
    product = call.service if call.service == "eventbridge" else call.service.capitalize()
    body = {
        "RequestId": call.request_id,
        "HostId": call.host,
        "Code": refusal.code,
        "Message": refusal.message,
        "Recommend": f"https://api.aliyun.com/troubleshoot?q={refusal.code}&product={product}"
        f"&requestId={call.request_id}",
    }
    return _render(call, refusal.status, "Error", body)


def _sent(request: Request) -> dict[str, str]:
    sent = dict(pairs(request.query))
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        sent.update(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
    return sent


def _render(call: Call, status: int, root: str, body: Mapping[str, object]) -> Response:
    headers = {"x-acs-request-id": call.request_id}
    if call.xml:
        headers["Content-Type"] = "text/xml;charset=utf-8"
        content = f'<?xml version="1.0" encoding="UTF-8"?>{_xml(root, body)}'.encode()
    else:
        headers["Content-Type"] = "application/json;charset=utf-8"
        content = msgspec.json.encode(body)
    return Response(status, headers, content)


def _xml(name: str, value: object) -> str:
    """One XML element; a list becomes one element of that name per entry."""
    if isinstance(value, list | tuple):
        return "".join(_xml(name, item) for item in value)
    if isinstance(value, Mapping):
        return f"<{name}>{''.join(_xml(key, item) for key, item in value.items())}</{name}>"
    if isinstance(value, bool):
        return f"<{name}>{str(value).lower()}</{name}>"
    text = "" if value is None else escape(_NOT_XML.sub("\ufffd", str(value)), {"\r": "&#13;"})
    return f"<{name}>{text}</{name}>"
