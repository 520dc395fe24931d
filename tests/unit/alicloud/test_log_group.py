"""Records as SLS takes them: byte for byte what the SDK's own message is."""

from __future__ import annotations

from aliyun.log.log_logs_raw_pb2 import LogGroupRaw
from hypothesis import given
from hypothesis import strategies as some
from link_peer.alicloud.log_group import LogGroup

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


@given(topic=TEXT, source=TEXT, records=RECORDS)
def test_any_records_are_the_message_of_the_sdk(
    topic: str, source: str, records: list[tuple[int, int, dict[str, str]]]
) -> None:
    assert by_us(topic, source, records) == by_the_sdk(topic, source, records)


def test_large_records_are_the_message_of_the_sdk() -> None:
    """Of lengths that take one to four bytes, up to more than a call may hold."""
    for size in (2**7 - 1, 2**7, 2**14 - 1, 2**14, 2**21 - 1, 2**21, 11_000_000):
        records = [(1_700_000_000, 999_999_999, {"detail": "x" * size, "天": "天" * (size // 3)})] * 2
        assert by_us("link-peer", "cn-qingdao", records) == by_the_sdk("link-peer", "cn-qingdao", records)
