"""How records become calls to SLS: never more in one call than it takes, and never half of a record."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.alicloud.audit_log import WRITE_BYTES, WRITE_RECORDS, SlsAuditLog, in_parts
from link_peer.domain.errors import Transient
from link_peer_local.cloud import LocalCloud

from tests.unit.alicloud.adapter import settings

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


@pytest.mark.parametrize("missing", ["audit_project", "audit_logstore"])
def test_without_a_logstore_nothing_can_be_changed(local_cloud: LocalCloud, missing: str) -> None:
    """The function does not start, and says what is not set. The event comes again once it is."""
    without = msgspec.structs.replace(settings(local_cloud), **{missing: ""})
    with pytest.raises(Transient, match="LINK_PEER_AUDIT_PROJECT and LINK_PEER_AUDIT_LOGSTORE are not set"):
        SlsAuditLog(without, local_cloud.clock)
    SlsAuditLog(settings(local_cloud), local_cloud.clock)
