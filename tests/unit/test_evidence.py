"""What an auditor's evidence has of records: each consent once, in its period, and what stood, with the record that
says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_peer.domain.tags import iso_millis, parse_instant
from link_peer.runtime.ports import Record
from link_peer_cli.audit.evidence import UNKNOWN_BEFORE, _stood, consents

from tests.unit.small_world import APP, DB, HOME, NOW, POLICY

DAY = 86_400
ACCEPT, LOCK = "link-accept", "link-lock"


def observed(at: float, tags: dict[str, str | None], **fields: Any) -> Record:
    """A call that set tags of sg-db, so many seconds after the period began; `old_tags` is what a command knows of
    before."""
    texts = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in fields.items()}
    common = {"record": "observed", "to": DB.id, "to_account": HOME, "event_tags": json.dumps(tags)}
    return {**common, "time": iso_millis(NOW + at), "key": f"{at}", **texts}


@pytest.mark.parametrize(
    ("records", "rows"),
    [
        ([observed(0, {ACCEPT: "sg-a sg-c"})], [("consented", f"{ACCEPT}=sg-a sg-c")]),
        ([observed(-1, {ACCEPT: "sg-a"})], []),  # before the period
        ([observed(-1, {ACCEPT: "sg-a"}), observed(1, {ACCEPT: "sg-a sg-c"})], [("consented", f"{ACCEPT}=sg-c")]),
        ([observed(-1, {ACCEPT: "sg-a"}), observed(1, {ACCEPT: "sg-c"})], [("consented", f"{ACCEPT}=sg-c"), ("withdrawn", f"{ACCEPT}=sg-a")]),
        ([observed(1, {ACCEPT: None})], [("withdrawn", f"{ACCEPT}={UNKNOWN_BEFORE}")]),
        ([observed(1, {ACCEPT: None}, old_tags={ACCEPT: "sg-a"})], [("withdrawn", f"{ACCEPT}=sg-a")]),
        ([observed(1, {ACCEPT: "sg-c"}, old_tags={ACCEPT: None})], [("consented", f"{ACCEPT}=sg-c")]),
        ([observed(1, {LOCK: "a b"}), observed(2, {LOCK: None})], [("forbidden", f"{LOCK}=a b"), ("released", f"{LOCK}=a b")]),
        ([observed(1, {"owner": "x"})], []),
        (
            [observed(1, {ACCEPT: "sg-a sg-c"}, event_request="R"), observed(2, {ACCEPT: "sg-a sg-c"}, event_request="R", old_tags={ACCEPT: "sg-a"})],
            [("consented", f"{ACCEPT}=sg-c")],
        ),
    ],
)  # fmt: skip
def test_each_entry_that_came_or_went_in_a_period_is_a_row(records: list[Record], rows: list[tuple[str, str]]) -> None:
    """By what the tag held before: as the record of the command says, else as the call before it left it."""
    assert [(row["section"], row["detail"]) for row in consents(records, POLICY.keys, NOW)] == rows


def outcome(at: float, kind: str, claims: dict[str, str | None], *ports: int, **fields: str) -> Record:
    """An outcome of sg-app → sg-db, which left these claims on the rules of these ports, by their ids."""
    key = {"account": HOME, "group": DB.id, "source": str(APP), "dest": "", "protocol": "tcp"}
    rules = [{**key, "ports": f"{port}/{port}", "rule_id": f"sgr-{port}"} for port in ports]
    ends = {"from": APP.id, "from_account": HOME, "to": DB.id, "to_account": HOME}
    texts = {"rules": json.dumps(rules), "claims": json.dumps(claims)}
    return {
        "record": "outcome",
        "outcome": kind,
        "time": iso_millis(NOW + at),
        "key": f"{at}",
        **ends,
        **texts,
        **fields,
    }


BY_BOB = {"consent": "new", "actor": "bob", "request_id": "chg-2", "queue": "q1"}
OPENED = outcome(-DAY, "applied", {"sgr-1": "req:chg-1"}, 1, consent="old", actor="ann", instance="i-a")


@pytest.mark.parametrize(
    ("later", "rows"),
    [
        ([], [("old", -DAY, "ann")]),
        ([outcome(-9, "unchanged", {"sgr-1": "req:chg-1,req:chg-2"}, 1, **BY_BOB)], [("new", -DAY, "bob")]),
        ([outcome(-9, "removed", {"sgr-1": "req:chg-2"}, 1, actor="bob")], [("old", -DAY, "ann")]),
        ([outcome(-9, "applied", {"sgr-2": "req:chg-1"}, 2, **BY_BOB)], [("new", -DAY, "bob")]),
        ([outcome(-9, "removed", {"sgr-1": None}, 1)], []),
        ([outcome(9, "removed", {"sgr-1": None}, 1)], [("old", -DAY, "ann")]),  # after the instant
        (
            [outcome(-9, "removed", {"sgr-1": None}, 1), outcome(-8, "applied", {"sgr-1": "tag"}, 1, **BY_BOB)],
            [("new", -8, "bob")],
        ),
    ],
)  # fmt: skip
def test_what_stood_is_told_by_the_newest_record_that_opened_or_found_it(
    later: list[Record], rows: list[tuple[str, float, str]]
) -> None:
    """A claim that is lost does not change who opened the link. It stood since the first record of its rules."""
    stood = list(_stood([OPENED, *later], NOW))
    assert [(row["consent"], parse_instant(row["since"]) - NOW, row["actor"]) for row in stood] == rows
    assert all(row["asked_by"] == ("i-a" if row["consent"] == "old" else "chg-2: q1") for row in stood)
