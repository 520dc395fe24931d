"""A batch of CloudEvents, as EventBridge's older clients send it, which are not installed here: signed by hand."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.http import Request, Response
from link_peer_local.core.identity import Key

from tests.local.clients import HOME
from tests.local.core.test_wire_signatures_by_hand import sign

EVENT = {
    "id": "e-1",
    "source": "my.app",
    "type": "a:b",
    "aliyuneventbusname": "default",
    "data": {"a": 1},
    "colour": "x",
}


def put(cloud: LocalCloud, key: Key, events: Any, secret: str = "") -> Response:
    date, kind = formatdate(usegmt=True), "application/cloudevents-batch+json; charset=utf-8"
    text = f"POST\n\n{kind}\n{date}\nx-acs-signature-nonce:n\n/openapi/putEvents"
    signer = Key(key.access_key_id, secret or key.secret, key.caller)
    headers = {
        "host": "127.0.0.1",
        "date": date,
        "content-type": kind,
        "x-acs-signature-nonce": "n",
        "x-eventbridge-version": "2015-06-06",
        "authorization": f"acs:{key.access_key_id}:{sign(signer, text, 'sha1')}",
    }
    return cloud.handle(Request("POST", "/openapi/putEvents", "", headers, json.dumps(events).encode()))


def test_a_batch_reaches_the_rules_of_its_bus(local_cloud: LocalCloud, key: Key) -> None:
    """Extension attributes are kept, and the result is at the top level of the answer."""
    taken: list[dict[str, Any]] = []
    local_cloud.events.add_rule(HOME, "mine", '{"source":["my.app"]}', taken.append)
    answer = put(local_cloud, key, [EVENT, {**EVENT, "id": "e-2", "type": "x" * 65}])
    body = json.loads(answer.body)
    assert (answer.status, body["FailedEntryCount"], body["EntryList"][0]["EventId"]) == (200, 1, "e-1")
    assert [(event["id"], event["data"], event["colour"]) for event in taken] == [("e-1", {"a": 1}, "x")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], (400, "EventListEmpty")),
        ([{**EVENT, "aliyuneventbusname": "nothing"}], (404, "EventBusNotExist")),
        ([{key: value for key, value in EVENT.items() if key != "aliyuneventbusname"}], (400, "EventBusNameEmpty")),
    ],
)
def test_a_batch_without_a_valid_bus_is_refused(
    local_cloud: LocalCloud, key: Key, events: list[Any], expected: tuple[int, str]
) -> None:
    """The error has the form that these clients read: `code`, `message`, `requestId`."""
    answer = put(local_cloud, key, events)
    assert (answer.status, json.loads(answer.body)["code"]) == expected


def test_a_batch_with_a_wrong_secret_is_refused(local_cloud: LocalCloud, key: Key) -> None:
    """The signature is verified before the body is read."""
    answer = put(local_cloud, key, [EVENT], secret="another")
    assert (answer.status, json.loads(answer.body)["code"]) == (400, "SignatureDoesNotMatch")
