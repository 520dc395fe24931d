"""Whole functions on hostile bytes: they answer; an invalid element affects no other, and every
denial is recorded."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import auto_link
import cross_account
import pytest
import sweep

from tests.functional.lab import Lab

BYTES: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a huge number": b"9" * 5000,
    "a text": b'"sg-a"',
    "an empty list": b"[]",
    "a list of nothing": b"[null, 1, [], {}]",
    "not JSON": b"<html>502</html>",
    "half": b'[{"id": "event-1", "source": "acs.ecs"',
    "not UTF-8": b'{"id": "\xff\xfe"}',
    "UTF-16": '{"id": "x"}'.encode("utf-16"),
    "lone surrogate": b'{"id": "\\ud800", "data": {"messageBody": "\\udfff"}}',
    "NUL and bidi": '{"id": "\\u0000\u202e", "source": "\u2066"}'.encode(),
    "NaN": b'{"id": NaN}',
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"a":' * 100_000,
    "deep but whole": b"[" * 900 + b"]" * 900,
    "long": b'{"id": "' + b"x" * (2 * 1024 * 1024) + b'"}',
}
ELEMENTS: dict[str, Any] = {
    "null": None,
    "a number": 1.5,
    "a list": [[[]]],
    "an empty object": {},
    "an object as id": {"id": {}, "source": [], "type": 1, "specversion": "1.0"},
    "control characters": {"id": "a\nb\x00\u202e", "specversion": "1.0", "source": "acs.ecs"},
    "a deep one": json.loads('{"messageBody":' * 90 + "1" + "}" * 90),
    "lone surrogates": {"id": "\ud800", "messageBody": "\udc00", "messageId": "\ud800"},
    "a body that is a list": {
        "specversion": "1.0",
        "type": "mns:Queue:SendMessage",
        "id": "1",
        "data": {"messageBody": []},
    },
    "no data": {"specversion": "1.0", "type": "mns:Queue:SendMessage", "id": "1"},
    "data that is a text": {"specversion": "1.0", "type": "mns:Queue:SendMessage", "id": "1", "data": "text"},
    "an id that is a number": {"messageBody": "{}", "messageId": 7},
    "another account": {
        "specversion": "1.0",
        "id": "1",
        "source": "acs.ecs",
        "type": "ecs:Instance:StateChange",
        "aliyunaccountid": "1000000000000009",
        "data": {},
    },
}


@pytest.mark.parametrize("body", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("function", [auto_link, cross_account, sweep], ids=lambda function: function.__name__)
def test_any_bytes_are_answered(lab: Lab, function: ModuleType, body: bytes) -> None:
    """The answer is JSON and nothing is changed; an invalid event or request is denied on record."""
    answer = json.loads(lab.run(function.handler, body))
    assert set(answer) == {"outcomes"}
    assert lab.changes() == 0
    assert len(lab.records(outcome="denied")) == sum(answer["outcomes"].values())
    assert all(record["event_id"] and record["detail"] for record in lab.records(outcome="denied"))
    if function is not sweep and json_list(body) != []:
        assert set(answer["outcomes"]) == {"denied"}


def json_list(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
def test_an_invalid_event_does_not_affect_the_others(lab: Lab, element: Any) -> None:
    """Those before and after it are linked; it alone is denied, once."""
    apps, db = [lab.group(), lab.group()], lab.group("*")
    events = [lab.event(lab.instance(app, tags={"link-peer": f"{db.id}:tcp/1"})) for app in apps]
    body = json.dumps([events[0], element, events[1]]).encode()
    answer = json.loads(lab.run(auto_link.handler, body))["outcomes"]
    assert lab.rules(db) == sorted(f"{app.id} tcp/1" for app in apps)
    assert answer == {"applied": 2, "denied": 1}
    (record,) = lab.records(reason="bad-event")
    assert record["event_id"]
    assert record["detail"]


@pytest.mark.parametrize("element", ELEMENTS.values(), ids=ELEMENTS)
def test_an_invalid_message_does_not_affect_the_others(lab: Lab, element: Any) -> None:
    """The same for requests."""
    pairs = [lab.pair(), lab.pair()]
    messages = [lab.message(lab.request(a, b, "tcp/1")) for a, b in pairs]
    body = json.dumps([messages[0], element, messages[1]]).encode()
    answer = json.loads(lab.run(cross_account.handler, body))["outcomes"]
    assert [lab.rules(b) for _, b in pairs] == [[f"{a.id} tcp/1"] for a, _ in pairs]
    assert answer == {"applied": 2, "denied": 1}
    (record,) = lab.records(reason="bad-request")
    assert (bool(record["detail"]), "Traceback" in str(record), len(str(record)) < 2000) == (True, False, True)
    assert str(record).isprintable()
