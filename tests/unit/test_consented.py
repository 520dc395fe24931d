"""Whether ActionTrail has the call by which somebody is said to have consented."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from link_peer.domain.errors import LinkPeerError
from link_peer.domain.tags import iso_millis
from link_peer.inbound.events import principal
from link_peer_cli.access.environment import Environment
from link_peer_cli.audit import consented
from link_peer_cli.audit.consented import LATE_SECONDS, PROVEN, RECORDED, SAID, evidence
from pytest_mock import MockerFixture

from tests.unit.small_world import HOME, NOW, REGION

ENV = cast(Environment, SimpleNamespace(now=NOW, settings=SimpleNamespace(region=REGION)))
WRITER = {"type": "ram-user", "accountId": HOME, "userName": "ann"}
TIME = NOW - 2 * LATE_SECONDS
CALL = {
    "eventName": "TagResources",
    "eventTime": iso_millis(TIME)[:19] + "Z",
    "requestId": "r-1",
    "userIdentity": WRITER,
    "requestParameters": {
        "ResourceType": "securitygroup",
        "ResourceId": ["sg-b"],
        "Tag": [{"Key": "link-accept", "Value": "sg-a,sg-c"}],
    },
}
RECORD = {"to_account": HOME, "to": "sg-b", "event_call": "TagResources", "event_request": "r-1"}
RECORD |= {"actor": principal(WRITER), "received": iso_millis(TIME)}


@pytest.mark.parametrize(
    ("call", "record", "entry", "expected"),
    [
        ({}, {}, ("", ""), PROVEN),
        ({}, {}, ("link-accept", "sg-c"), PROVEN),
        ({}, {}, ("link-accept", "sg-x"), SAID),
        ({}, {}, ("link-egress", "sg-c"), SAID),
        ({"errorCode": "Forbidden.RAM"}, {}, ("", ""), SAID),
        ({"requestId": "r-2"}, {}, ("", ""), SAID),
        ({"userIdentity": {**WRITER, "userName": "bob"}}, {}, ("", ""), SAID),
        ({}, {"to": "sg-x"}, ("", ""), SAID),
        ({}, {"to": "sg-x", "old_tags": "{}"}, ("", ""), RECORDED),
        ({}, {"received": "", "time": "x"}, ("", ""), SAID),
    ],
)
def test_a_change_is_proven_by_that_call_of_its_writer_on_that_group(
    mocker: MockerFixture, call: dict[str, Any], record: dict[str, str], entry: tuple[str, str], expected: str
) -> None:
    """With the entry, where one is asked about; else it is as a record, or as the event says."""
    trail = mocker.patch.object(consented, "Trail").return_value
    trail.events.return_value = [{**CALL, "requestId": "r-3"}, {**CALL, "acsRegion": "elsewhere"}, {**CALL, **call}]
    assert evidence(ENV, {**RECORD, **record}, *entry) == expected
    assert evidence(ENV, {**RECORD, **record}, *entry, prove=False) != PROVEN


def test_the_call_is_looked_for_an_hour_before_and_after_its_record(mocker: MockerFixture) -> None:
    """Until now at most; what cannot be read proves nothing."""
    trail = mocker.patch.object(consented, "Trail").return_value
    trail.events.side_effect = LinkPeerError("no answer")
    for received in (TIME, NOW - 60):
        assert evidence(ENV, {**RECORD, "received": iso_millis(received)}) == SAID
    assert [call.args for call in trail.events.mock_calls] == [
        (HOME, "TagResources", TIME - LATE_SECONDS, TIME + LATE_SECONDS),
        (HOME, "TagResources", NOW - 60 - LATE_SECONDS, NOW),
    ]
