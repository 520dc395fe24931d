"""The audit writer: complete records, written with retries and counted once."""

from __future__ import annotations

import json

from link_peer.domain.errors import Transient
from link_peer.domain.model import ALL, Party, RuleKey
from link_peer.engine.records import rules_text
from link_peer.runtime.audit import AuditWriter
from link_peer.runtime.clock import SystemClock
from link_peer.runtime.retry import Retry

Records = list[dict[str, str]]
GROUP = Party("1000000000000001", "sg-db")


class Kept:
    """A log that keeps what it is given, after it has refused so often."""

    def __init__(self, refusals: int = 0) -> None:
        self.records: Records = []
        self.refusals = refusals

    def write(self, records: object) -> None:
        if self.refusals:
            self.refusals -= 1
            raise Transient("down")
        self.records += records  # type: ignore[operator]


class Hurried(SystemClock):
    """A clock for which waiting takes no time."""

    def sleep(self, seconds: float) -> None:
        pass


def writer(log: Kept) -> AuditWriter:
    clock = Hurried()
    return AuditWriter(log, {"function": "sweep"}, Retry(clock, clock.now() + 60))


def test_the_rules_of_a_record_are_whole_json_however_many_they_are() -> None:
    """Cut off, they would be none; a claim of the same length is cut."""
    rules = rules_text((RuleKey(GROUP, f"10.0.0.{n}/32", "", ALL), f"sgr-{n}") for n in range(200))
    log = Kept()
    writer(log).write([{"record": "outcome", "outcome": "applied", "rules": rules, "detail": "x" * len(rules)}])
    (record,) = log.records
    assert len(json.loads(record["rules"])) == 200
    assert len(record["detail"]) < len(rules)


def test_a_write_that_fails_for_the_moment_is_tried_again_and_counted_once() -> None:
    log = Kept(refusals=2)
    records = writer(log)
    records.write([{"record": "outcome", "outcome": "applied"}])
    assert (len(log.records), dict(records.outcomes)) == (1, {"applied": 1})
