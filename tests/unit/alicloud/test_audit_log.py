"""How records become calls to SLS: never more in one call than it takes, and never half of a record."""

from __future__ import annotations

from link_peer.alicloud.audit_log import WRITE_BYTES, WRITE_RECORDS, in_parts

Records = list[dict[str, str]]


def test_records_are_split_into_calls_within_the_limits_of_sls() -> None:
    many: Records = [{"record": "outcome", "detail": "x"}] * (2 * WRITE_RECORDS + 1)
    assert [len(part) for part in in_parts(many)] == [WRITE_RECORDS, WRITE_RECORDS, 1]
    big: Records = [{"record": "outcome", "detail": "天" * (WRITE_BYTES // 9)}] * 7
    assert [len(part) for part in in_parts(big)] == [2, 2, 2, 1]
    assert list(in_parts([])) == []


def test_a_record_larger_than_the_limit_is_sent_alone() -> None:
    small, large = {"record": "outcome"}, {"record": "outcome", "rules": "x" * (2 * WRITE_BYTES)}
    assert list(in_parts([small, large, small])) == [[small], [large], [small]]
