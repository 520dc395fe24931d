"""The SLS client: one for each endpoint and key, whose connection is kept, and records as SLS takes them."""

from __future__ import annotations

import msgspec
import pytest
from aliyun.log.log_logs_raw_pb2 import LogGroupRaw
from aliyun_local.api import LocalCloud, Server
from hypothesis import given
from hypothesis import settings as settled
from hypothesis import strategies as some
from link_peer.alicloud import sls
from link_peer.alicloud.audit_log import WRITE_BYTES, WRITE_RECORDS, SlsAuditLog, in_parts
from link_peer.alicloud.leave_out import NotInPackage
from link_peer.alicloud.log_group import LogGroup
from link_peer.domain.errors import Transient
from link_peer.runtime.settings import Credentials
from pytest_mock import MockerFixture

from tests.unit.alicloud.adapter import settings


def test_a_client_is_kept_for_each_endpoint_and_key(local_cloud: LocalCloud) -> None:
    """Settings that are equal give the same client; renewed keys and another endpoint give another one."""
    cloud_settings = settings(local_cloud)
    renewed = msgspec.structs.replace(cloud_settings, credentials=Credentials("STS.new", "secret", "token"))
    elsewhere = msgspec.structs.replace(cloud_settings, endpoints={"sls": "http://127.0.0.1:2"})
    first = sls.client(cloud_settings)
    assert sls.client(settings(local_cloud)) is first
    assert (first.timeout, sls.client(cloud_settings, 60).timeout) == (sls.TIMEOUT_SECONDS, 60)
    assert sls.client(renewed) is not first
    assert sls.client(elsewhere) is not first
    assert sls.client(cloud_settings) is first


@pytest.mark.http
def test_two_deliveries_write_over_one_connection(server: Server) -> None:
    """Each has its own log, as each event does."""
    cloud_settings = msgspec.structs.replace(settings(server.cloud), endpoints={"sls": server.endpoint})
    for _ in range(3):
        SlsAuditLog(cloud_settings, server.cloud.clock).write([{"record": "intent"}])
    pools = sls.client(cloud_settings)._session.get_adapter("http://").poolmanager.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118  # not a dict


def test_using_what_the_package_leaves_out_is_no_unavailable_log(
    local_cloud: LocalCloud, mocker: MockerFixture
) -> None:
    """It would be tried again and again as a transient error. The SDK turns every error into one of its own."""
    cloud_settings = settings(local_cloud)
    mocker.stopall()  # it has its own transport again
    mocker.patch("requests.Session.post", side_effect=NotInPackage("idna.encode is not part of the package"))
    with pytest.raises(NotInPackage, match=r"idna\.encode"):
        SlsAuditLog(cloud_settings, local_cloud.clock).write([{"record": "intent"}])


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


# records, byte for byte what the SDK's own message is

TEXT = some.text(some.characters(exclude_categories=["Cs"])) | some.sampled_from(["", "\0", "天", "x" * 127, "x" * 128])
RECORDS = some.lists(
    some.tuples(some.integers(0, 2**32 - 1), some.integers(0, 2**32 - 1), some.dictionaries(TEXT, TEXT)), max_size=4
)


def by_the_sdk(topic: str, source: str, records: list[tuple[int, int, dict[str, str]]]) -> bytes:
    """As `LogClient.put_logs` makes it."""
    group = LogGroupRaw(Topic=topic, Source=source)
    for seconds, nanoseconds, record in records:
        log = group.Logs.add(Time=seconds, Time_ns=nanoseconds)
        for name, value in record.items():
            log.Contents.add(Key=name, Value=value.encode())
    return bytes(group.SerializeToString())


def by_us(topic: str, source: str, records: list[tuple[int, int, dict[str, str]]]) -> bytes:
    group = LogGroup(topic, source)
    for record in records:
        group.add(*record)
    return group.SerializeToString()


@settled(max_examples=50, derandomize=True, deadline=None)
@given(topic=TEXT, source=TEXT, records=RECORDS)
def test_any_records_are_the_message_of_the_sdk(
    topic: str, source: str, records: list[tuple[int, int, dict[str, str]]]
) -> None:
    assert by_us(topic, source, records) == by_the_sdk(topic, source, records)


def test_large_records_are_the_message_of_the_sdk() -> None:
    """Of lengths that take one to four bytes."""
    for size in (2**7 - 1, 2**7, 2**14 - 1, 2**14, 2**21 - 1, 2**21):
        records = [(1_700_000_000, 999_999_999, {"detail": "x" * size, "天": "天" * (size // 3)})] * 2
        assert by_us("link-peer", "cn-qingdao", records) == by_the_sdk("link-peer", "cn-qingdao", records)
