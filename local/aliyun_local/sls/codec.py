"""Bodies of SLS: compression, and conversion of protobuf LogGroups; and responses, with their common headers."""

from __future__ import annotations

import json
import re
import secrets
import zlib
from collections.abc import Iterable
from typing import Any

import lz4.block
import zstandard
from aliyun.log import log_logs_pb2 as pb
from google.protobuf.message import DecodeError

from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Response
from aliyun_local.sls.state import LogGroup, LogRecord

MAX_RAW_BYTES = 10 * 1024 * 1024  # one write, uncompressed [doc PutLogs]


def decompress(body: bytes, kind: str, raw_size: str | None) -> bytes:
    """The plain body; `kind` is x-log-compresstype ("" without one), `raw_size` is x-log-bodyrawsize as sent.

    An lz4 body is a bare block without a size prefix, so only the header gives its length.
    """
    if not kind:
        _check_size(len(body))
        return body
    if raw_size is None:
        raise ApiError("MissingBodyRawSize", 400)
    if not re.fullmatch(r"\d{1,18}", raw_size, re.ASCII):
        raise ApiError("InvalidBodyRawSize", 400)
    size = int(raw_size)
    _check_size(size)
    try:
        plain = _decompressed(body, kind, size)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError, zlib.error, ValueError) as problem:
        raise ApiError("PostBodyUncompressError", 400) from problem
    if len(plain) != size:
        raise ApiError("PostBodyUncompressError", 400)
    return plain


def _check_size(size: int) -> None:
    if size > MAX_RAW_BYTES:
        raise ApiError("PostBodyTooLarge", 413, f"Body size {size} must little than {MAX_RAW_BYTES}.")


def _decompressed(body: bytes, kind: str, size: int) -> bytes:
    if kind == "lz4":
        return bytes(lz4.block.decompress(body, uncompressed_size=size))
    if kind == "zstd":
        # zstandard allocates the size that a frame declares, regardless of `max_output_size`.
        if zstandard.frame_content_size(body) not in (-1, size):
            raise ValueError("not the declared size")
        return zstandard.ZstdDecompressor().decompress(body, max_output_size=size, allow_extra_data=False)
    if kind == "deflate":
        return zlib.decompressobj().decompress(body, size + 1)
    raise ApiError("InvalidCompressType", 400, f"x-log-compresstype {kind} is unsupported.")


def compress(body: bytes, accepted: str) -> tuple[bytes, str]:
    """The body in the first encoding of Accept-Encoding that SLS supports, and its name ("" for plain)."""
    for coding in (part.partition(";")[0].strip().lower() for part in accepted.split(",")):
        if coding == "lz4":
            return lz4.block.compress(body, store_size=False), "lz4"
        if coding == "zstd":
            return zstandard.ZstdCompressor().compress(body), "zstd"
    return body, ""


def decode(body: bytes) -> LogGroup:
    """Read a LogGroup from protobuf; ApiError PostBodyInvalid, InvalidEncoding or InvalidKey (400)."""
    group = pb.LogGroup()
    try:
        group.ParseFromString(body)
    except DecodeError as problem:
        raise ApiError("PostBodyInvalid", 400, "Protobuffer content cannot be parsed.") from problem
    try:
        records = tuple(LogRecord(log.Time, log.Time_ns, _pairs(log.Contents)) for log in group.Logs)
        decoded = LogGroup(records, _text(group.Topic), _text(group.Source), _pairs(group.LogTags))
    except UnicodeDecodeError as problem:
        raise ApiError("InvalidEncoding", 400) from problem
    if any(not name for record in records for name in record.contents):
        raise ApiError("InvalidKey", 400)
    return decoded


def _pairs(items: Iterable[Any]) -> dict[str, str]:
    return {_text(item.Key): _text(item.Value) for item in items}


def _text(value: str | bytes) -> str:
    """A string field; protobuf returns bytes for one that is not UTF-8."""
    return value if isinstance(value, str) else value.decode()


def encode(groups: Iterable[LogGroup]) -> bytes:
    """A protobuf LogGroupList, the body of PullLogs."""
    message = pb.LogGroupList()
    for group in groups:
        target = message.LogGroups.add(Topic=group.topic, Source=group.source)
        for name, value in group.tags.items():
            target.LogTags.add(Key=name, Value=value)
        for record in group.records:
            log = target.Logs.add(Time=record.time)
            if record.nanoseconds:
                log.Time_ns = record.nanoseconds
            for name, value in record.contents.items():
                log.Contents.add(Key=name, Value=value)
    return bytes(message.SerializeToString())


def headers() -> dict[str, str]:
    """The headers of every response, with a new request id."""
    return {"Server": "nginx", "x-log-requestid": secrets.token_hex(12).upper()}


def empty() -> Response:
    """200 without a body, and without Content-Type: the Node client would run JSON.parse("") on empty JSON."""
    return Response(200, headers())


def as_json(value: Any, status: int = 200, **log_headers: str) -> Response:
    """A value as JSON; `log_headers` become x-log-* headers."""
    extra = {f"x-log-{name.replace('_', '-')}": text for name, text in log_headers.items()}
    body = json.dumps(value, ensure_ascii=False).encode()
    return Response(status, {**headers(), "Content-Type": "application/json", **extra}, body)
