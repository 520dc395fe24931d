"""The audit writer: complete records, written with retries and counted once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from link_peer.domain.errors import Transient
from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.domain.record_fields import DECISION_FIELDS
from link_peer.engine.records import rules_text
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.ports import Record
from link_peer.runtime.retry import Retry

from tests.unit.fakes import FakeClock, FakeLog
from tests.unit.small_world import NOW

GROUP = Party("1000000000000001", "sg-db")


def writer(log: FakeLog) -> AuditWriter:
    clock = FakeClock()
    return AuditWriter(log, {"function": "sweep"}, Retry(clock, clock.now() + 60))


def test_the_rules_of_a_record_are_never_cut() -> None:
    """They are JSON, which would be invalid if it were cut. A detail of the same length is cut."""
    rules = rules_text((RuleKey(GROUP, f"10.0.0.{n}/32", "", ALL), f"sgr-{n}") for n in range(200))
    log = FakeLog()
    writer(log).write([{"record": "outcome", "outcome": "applied", "rules": rules, "detail": "x" * len(rules)}])
    (record,) = log.records
    assert len(json.loads(record["rules"])) == 200
    assert len(record["detail"]) < len(rules)


def test_a_record_that_is_written_again_is_the_same() -> None:
    """With its time and key: the log has both copies where only the second was answered, and they count as one."""

    class Unanswered(FakeLog):
        def write(self, records: Sequence[Record]) -> None:
            super().write(records)
            if self.writes == 1:
                raise Transient("no answer")

    log = Unanswered()
    writer(log).write([{"record": "intent"}])
    first, again = log.records
    assert first == again


def test_it_is_known_whether_the_log_took_the_records_of_attempts() -> None:
    """One that it did not take stops nothing: the work is done again anyway."""

    class Unavailable(FakeLog):
        def write(self, records: Sequence[Record]) -> None:
            raise Transient("503")

    assert [writer(log).attempt("timeout", {"link": "0" * 16}) for log in (FakeLog(), Unavailable())] == [True, False]


def test_a_record_says_when_it_was_written_to_the_millisecond() -> None:
    """Rounded down."""
    log = FakeLog()
    clock = FakeClock(NOW + 0.1239)
    AuditWriter(log, {}, Retry(clock, clock.now() + 60)).write([{"record": "outcome", "outcome": "applied"}])
    assert log.records[0]["time"] == "2026-11-25T00:00:00.123Z"


def test_records_that_differ_have_different_keys() -> None:
    """In any field: another time, rule id, event or outcome. The key itself does not count."""
    log, clock = FakeLog(), FakeClock()
    records = AuditWriter(log, {"function": "sweep"}, Retry(clock, clock.now() + 60))
    first = {"record": "outcome", "outcome": "applied", "link": "0" * 16, "rules": "[]"}
    for changes in (
        {},
        {"outcome": "unchanged"},
        {"rules": '[{"rule_id":"sgr-1"}]'},
        {"event_id": "e-1"},
        {"detail": "x"},
    ):
        records.write([{**first, **changes}])
    clock.time += 0.001
    records.write([first])
    other_writer = AuditWriter(log, {"function": "auto_link"}, Retry(clock, clock.now() + 60))
    other_writer.write([first])
    assert len({record["key"] for record in log.records}) == len(log.records) == 7


def test_a_record_of_a_decision_has_every_field() -> None:
    """Empty ones too; a summary has its own."""
    log = FakeLog()
    writer(log).write([{"record": "outcome", "outcome": "applied"}, {"record": "summary", "outcome": "applied"}])
    outcome, summary = log.records
    assert outcome.items() >= {"advice": "", "from": "", "effect": "unknown"}.items()
    assert DECISION_FIELDS.keys() <= outcome.keys()
    assert (outcome["queue"], outcome["reachability"], outcome["rules"]) == ("", "unknown", "[]")
    assert not set(DECISION_FIELDS) & set(summary)
