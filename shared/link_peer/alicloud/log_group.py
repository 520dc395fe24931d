"""Log records in the form that SLS takes them in: the message LogGroup of Protocol Buffers [doc "Data encoding method"
of SLS].

The SDK's own message needs google.protobuf, whose import takes a tenth of a cold start.
"""

from __future__ import annotations

from collections.abc import Mapping

# each field's number and, in the last three bits, how it is written
_LOGS, _TOPIC, _SOURCE = b"\x0a", b"\x1a", b"\x22"  # of LogGroup [src aliyun.log.log_logs_raw_pb2]
_TIME, _CONTENTS, _NANOSECONDS = b"\x08", b"\x12", b"\x25"  # of Log
_KEY, _VALUE = b"\x0a", b"\x12"  # of Content


class LogGroup:
    """The records of one call, as `LogClient.put_log_raw` takes them."""

    def __init__(self, topic: str, source: str) -> None:
        self._logs: list[bytes] = []
        self._end = _field(_TOPIC, topic.encode()) + _field(_SOURCE, source.encode())

    def add(self, seconds: int, nanoseconds: int, record: Mapping[str, str]) -> None:
        """Add a record of a time in epoch seconds, and nanoseconds of less than 2^32."""
        contents = (_field(_KEY, name.encode()) + _field(_VALUE, value.encode()) for name, value in record.items())
        log = [_TIME, _varint(seconds), *(_field(_CONTENTS, content) for content in contents)]
        self._logs.append(_field(_LOGS, b"".join([*log, _NANOSECONDS, nanoseconds.to_bytes(4, "little")])))

    def SerializeToString(self) -> bytes:  # noqa: N802  # what the SDK calls
        """The message."""
        return b"".join([*self._logs, self._end])


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that another byte follows."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
