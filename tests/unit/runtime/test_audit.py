"""The audit writer: complete records, written with retries and counted once."""

from __future__ import annotations

import json

from link_peer.domain.errors import Transient
from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.engine.records import rules_text
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.retry import Retry

from tests.unit.fakes import FakeClock, FakeLog

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


def test_a_write_that_fails_is_retried_and_counted_once() -> None:
    log = FakeLog()
    log.errors = [Transient("down")] * 2
    records = writer(log)
    records.write([{"record": "outcome", "outcome": "applied"}])
    assert (len(log.records), dict(records.outcomes)) == (1, {"applied": 1})
