"""deploy/oos asks for what link-peer accepts, after an approval; deploy/notify names what Log Service fills in."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from link_peer.domain.errors import BadInput
from link_peer.domain.model import Port
from link_peer.domain.request import Request
from link_peer.domain.tags import parse_instant
from link_peer.inbound import requests

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/oos/approve-link.yaml").read_text("utf-8"))
REGION = "cn-hangzhou"
VALUES = {
    "requestId": "chg-1042",
    "fromAccount": "1000000000000001",
    "from": "sg-orders",
    "toAccount": "1000000000000002",
    "to": "sg-ledger",
    "port": "tcp/8000-8010",
    "until": "2026-12-31T00:00:00Z",
    "expiresAt": "2026-11-26T06:00:00Z",
    "queue": "link-peer-requests",
    "approvers": "alice",
    "webhook": "https://oapi.dingtalk.com/robot/send?access_token=0a",
    "OOSAssumeRole": "link-peer-approval",
}
PSEUDO = {"ACS::RegionId": REGION, "ACS::AccountId": "1000000000000001", "ACS::ExecutionId": "exec-1"}
NOW = parse_instant("2026-11-25T07:00:00Z")
APPROVE, REQUEST = TEMPLATE["Tasks"]


def evaluate(node: Any, values: dict[str, str]) -> Any:
    """A value of the template as OOS computes it: references, Fn::Join and Fn::Base64Encode [doc OOS built-in
    functions]."""
    if isinstance(node, str):
        return re.sub(r"\{\{ ([\w:]+) \}\}", lambda match: {**values, **PSEUDO}[match[1]], node)
    if isinstance(node, dict) and len(node) == 1:
        [(name, argument)] = node.items()
        if name == "Fn::Join":
            separator, parts = argument
            return separator.join(evaluate(part, values) for part in parts)
        if name == "Fn::Base64Encode":
            return base64.b64encode(evaluate(argument, values).encode()).decode()
    assert not isinstance(node, list)
    return {key: evaluate(value, values) for key, value in node.items()}


def message(values: dict[str, str]) -> Request:
    """The request that the template puts on the queue."""
    body = ElementTree.fromstring(evaluate(REQUEST["Properties"]["Body"], values))  # noqa: S314  # our own document
    [part] = body
    assert (body.tag, part.tag) == tuple(
        f"{{http://mns.aliyuncs.com/doc/v1/}}{tag}" for tag in ("Message", "MessageBody")
    )
    assert part.text is not None
    decoded = requests.decode(part.text, region=REGION, now=NOW)
    assert isinstance(decoded, Request)
    return decoded


def test_the_request_is_what_was_approved() -> None:
    """cross_account decodes it, with every parameter in its place."""
    request = message(VALUES)
    link = request.link
    assert (request.request_id, request.action, request.requested_by) == ("chg-1042", "link", "exec-1")
    assert (str(link.source), str(link.target)) == ("sg-orders@1000000000000001", "sg-ledger@1000000000000002")
    assert link.ports == (Port("tcp", 8000, 8010),)
    assert (request.expires_at, request.until) == (parse_instant(VALUES["expiresAt"]), parse_instant(VALUES["until"]))


def test_it_is_sent_after_the_approval() -> None:
    """OOS runs tasks in their order and stops at a refusal; the approver reads all that is requested."""
    assert (APPROVE["Action"], REQUEST["Action"]) == ("ACS::Approve", "ACS::ExecuteAPI")
    sent = REQUEST["Properties"]
    assert (sent["Service"], sent["API"], sent["Method"]) == ("MNS", "SendMessage", "POST")
    assert evaluate(sent["URI"], VALUES) == "/queues/link-peer-requests/messages"
    condition = evaluate(APPROVE["Properties"]["WebHook"]["Content"]["text"]["content"], VALUES)
    unseen = {"approvers", "webhook", "queue", "OOSAssumeRole"}
    assert [name for name, value in VALUES.items() if name not in unseen and value not in condition] == []
    assert "link-peer" in condition  # the keyword that the robot requires


def test_every_parameter_is_used_and_declared() -> None:
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE)))
    assert used == TEMPLATE["Parameters"].keys() == VALUES.keys()


@pytest.mark.parametrize("name", sorted(VALUES.keys() - {"approvers", "OOSAssumeRole"}))
def test_a_parameter_cannot_add_a_field(name: str) -> None:
    """Its pattern admits its value, and nothing that could end a JSON string or an XML element."""
    pattern = re.compile(TEMPLATE["Parameters"][name]["AllowedPattern"])
    assert pattern.fullmatch(VALUES[name])
    for wrong in ('"', "<", "&", "\\", " ", "{", "\n"):
        assert not pattern.fullmatch(VALUES[name] + wrong)


@pytest.mark.parametrize(("name", "value"), [("port", "tcp/0"), ("from", "sg-"), ("expiresAt", "2026-11-27T00:00:00Z")])
def test_a_wrong_request_is_refused_by_the_function(name: str, value: str) -> None:
    """What a pattern lets through or OOS does not check is a bad request, never another one."""
    with pytest.raises(BadInput):
        message({**VALUES, name: value})


def test_the_role_trusts_oos_alone() -> None:
    [statement] = json.loads((ROOT / "deploy/oos/role-trust.json").read_text("utf-8"))["Statement"]
    assert statement["Principal"] == {"Service": ["oos.aliyuncs.com"]}
