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
    "an empty list": b"[]",
    "a list of nothing": b"[null, 1, [], {}]",
    "not JSON": b"<html>502</html>",
    "lone surrogate": b'{"id": "\\ud800", "data": {"messageBody": "\\udfff"}}',
    "NUL and bidi": '{"id": "\\u0000\u202e", "source": "\u2066"}'.encode(),
    "NaN": b'{"id": NaN}',
    "deep lists": b"[" * 200_000,
    "deep but whole": b"[" * 900 + b"]" * 900,
    "long": b'{"id": "' + b"x" * (2 * 1024 * 1024) + b'"}',
}
ELEMENTS: list[Any] = [
    None,
    1.5,
    [[[]]],
    {},
    {"id": {}, "source": [], "type": 1, "specversion": "1.0"},
    {"id": "a\nb\x00\u202e", "specversion": "1.0", "source": "acs.ecs"},
    json.loads('{"messageBody":' * 90 + "1" + "}" * 90),
    {"id": "\ud800", "messageBody": "\udc00", "messageId": "\ud800"},
    {"specversion": "1.0", "type": "mns:Queue:SendMessage", "id": "1", "data": {"messageBody": []}},
    {"specversion": "1.0", "type": "mns:Queue:SendMessage", "id": "1"},
    {"messageBody": "{}", "messageId": 7},
    {"specversion": "1.0", "id": "1", "source": "acs.ecs", "type": "ecs:Instance:StateChange", "aliyunaccountid": "9", "data": {}},
]  # fmt: skip


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


@pytest.mark.parametrize(("function", "reason"), [(auto_link, "bad-event"), (cross_account, "bad-request")])
def test_invalid_elements_do_not_affect_the_others(lab: Lab, function: ModuleType, reason: str) -> None:
    """Those before and after them are linked; each of them is denied, once, in words of our own."""
    requests = function is cross_account
    pairs = [lab.pair() if requests else (lab.group(), lab.group("*")) for _ in range(2)]
    first, last = (
        lab.message(lab.request(a, b, "tcp/1"))
        if requests
        else lab.event(lab.instance(a, tags={"link-peer": f"{b.id}:tcp/1"}))
        for a, b in pairs
    )
    body = json.dumps([first, *ELEMENTS, last]).encode()
    answer = json.loads(lab.run(function.handler, body))["outcomes"]
    assert [lab.rules(b) for _, b in pairs] == [[f"{a.id} tcp/1"] for a, _ in pairs]
    assert answer == {"applied": 2, "denied": len(ELEMENTS)}
    records = lab.records(reason=reason)
    assert len(records) == len(ELEMENTS)
    for record in records:
        assert (bool(record["event_id"]), bool(record["detail"]), "Traceback" in str(record)) == (True, True, False)
        assert (len(str(record)) < 2000, str(record).isprintable()) == (True, True)
