"""Event patterns, as EventBridge documents them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer_local.eventbridge.pattern import Pattern

from tests.local.clients import refusal

EVENT = {
    "source": "acs.ecs",
    "type": "ecs:Instance:StateChange",
    "subject": "",
    "data": {"state": "Running", "count": 3, "ip": "10.0.0.7", "tags": ["a", "b"], "gone": None, "flag": True},
}

CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("an empty pattern lets everything through", {}, True),
    ("a value is compared exactly", {"source": ["acs.ecs"]}, True),
    ("case counts", {"source": ["ACS.ecs"]}, False),
    ("the values of a key are ORed", {"source": ["acs.oss", "acs.ecs"]}, True),
    ("keys are ANDed", {"source": ["acs.ecs"], "type": ["x"]}, False),
    ("nested fields are reached by nesting", {"data": {"state": ["Created", "Running"]}}, True),
    ("a field that is missing does not match", {"data": {"zone": ["a"]}}, False),
    ("a nested pattern does not match a plain value", {"source": {"x": ["y"]}}, False),
    ("an array in the event matches by any of its values", {"data": {"tags": ["b", "c"]}}, True),
    ("an array without a common value does not match", {"data": {"tags": ["c"]}}, False),
    ("null matches null", {"data": {"gone": [None]}}, True),
    ("null does not match a missing field", {"data": {"zone": [None]}}, False),
    ("the empty string matches itself", {"subject": [""]}, True),
    ("true is not 1", {"data": {"flag": [1]}}, False),
]

BAD = [
    "not json",
    "[]",
    '{"source": "acs.ecs"}',
    '{"source": []}',
    '{"source": [["acs.ecs"]]}',
]


@pytest.mark.parametrize(("fact", "pattern", "matches"), CASES, ids=[case[0] for case in CASES])
def test_matching(fact: str, pattern: dict[str, Any], matches: bool) -> None:
    """Each row is one documented fact."""
    assert Pattern(json.dumps(pattern)).matches(EVENT) is matches, fact


@pytest.mark.parametrize("text", BAD)
def test_an_invalid_pattern_is_refused(text: str) -> None:
    """It would never match, so it is a mistake."""
    with pytest.raises(ValueError):
        Pattern(text)


def test_an_operator_is_not_offered() -> None:
    """Wherever it stands."""
    for pattern in ({"source": [{"prefix": "acs."}]}, {"data": {"count": [1, {"numeric": [">", 0]}]}}):
        assert refusal(Pattern, json.dumps(pattern)) == ("NotOfferedByLocalCloud", 501)
