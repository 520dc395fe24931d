"""Event patterns, as EventBridge documents them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer_local.eventbridge.pattern import Pattern

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
    ("prefix", {"source": [{"prefix": "acs."}]}, True),
    ("prefix, not", {"source": [{"prefix": "ecs"}]}, False),
    ("suffix", {"type": [{"suffix": "StateChange"}]}, True),
    ("contains", {"type": [{"contains": "Instance"}]}, True),
    ("a text operator does not match a number", {"data": {"count": [{"prefix": "3"}]}}, False),
    ("anything-but a value", {"data": {"state": [{"anything-but": "Running"}]}}, False),
    ("anything-but a list", {"data": {"state": [{"anything-but": ["Created", "Deleted"]}]}}, True),
    ("anything-but a number", {"data": {"count": [{"anything-but": 3}]}}, False),
    ("anything-but a prefix", {"data": {"state": [{"anything-but": {"prefix": "Run"}}]}}, False),
    ("anything-but wants the field to be there", {"data": {"zone": [{"anything-but": "a"}]}}, False),
    ("numeric equality", {"data": {"count": [{"numeric": ["=", 3]}]}}, True),
    ("numeric range", {"data": {"count": [{"numeric": [">", 0, "<=", 3]}]}}, True),
    ("numeric range, outside", {"data": {"count": [{"numeric": [">", 3, "<=", 5]}]}}, False),
    ("numeric does not match text", {"data": {"state": [{"numeric": [">", 0]}]}}, False),
    ("cidr", {"data": {"ip": [{"cidr": "10.0.0.0/24"}]}}, True),
    ("cidr, outside", {"data": {"ip": [{"cidr": "10.0.1.0/24"}]}}, False),
    ("cidr does not match what is no address", {"data": {"state": [{"cidr": "10.0.0.0/24"}]}}, False),
    ("exists", {"data": {"state": [{"exists": True}]}}, True),
    ("exists false matches a missing field", {"data": {"zone": [{"exists": False}]}}, True),
    ("exists false matches within a missing object", {"other": {"zone": [{"exists": False}]}}, True),
    ("exists false does not match a field that is there", {"data": {"state": [{"exists": False}]}}, False),
    ("exists is for leaves only", {"data": [{"exists": True}]}, False),
]

BAD = [
    "not json",
    "[]",
    '{"source": "acs.ecs"}',
    '{"source": []}',
    '{"source": [["acs.ecs"]]}',
    '{"source": [{"like": "acs"}]}',
    '{"source": [{"prefix": 1}]}',
    '{"source": [{"prefix": "a", "suffix": "b"}]}',
    '{"count": [{"numeric": [">"]}]}',
    '{"count": [{"numeric": ["!", 1]}]}',
    '{"ip": [{"cidr": "10.0.0.0/99"}]}',
    '{"state": [{"exists": "yes"}]}',
    '{"state": [{"anything-but": {"suffix": "x"}}]}',
    '{"state": [{"anything-but": []}]}',
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
