"""SLS below its client: compression, headers and bodies that a correct client never sends."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

import lz4.block
import pytest
import zstandard
from aliyun.log import log_logs_pb2 as pb

from aliyun_local.core.clock import VirtualClock
from aliyun_local.core.errors import ApiError
from aliyun_local.core.http import Request, Response
from aliyun_local.core.identity import Caller
from aliyun_local.sls import SlsBackend
from aliyun_local.sls import wire as sls_wire
from clients import HOME

CALLER = Caller(HOME, f"acs:ram::{HOME}:root")
INDEX = {"line": {"token": [" "]}, "keys": {"a": {"type": "text", "token": [" "]}}}


@pytest.fixture(name="backend")
def _backend() -> SlsBackend:
    backend = SlsBackend(VirtualClock(), "cn-qingdao")
    backend.create_project(HOME, "proj")
    backend.create_logstore(HOME, "proj", "store")
    backend.create_index(HOME, "proj", "store", INDEX)
    return backend


def call(backend: SlsBackend, method: str, target: str, body: bytes = b"", **headers: str | None) -> Response:
    path, _, query = target.partition("?")
    sent: dict[str, str | None] = {"host": "proj.localhost:8101", "x-log-apiversion": "0.6.0"}
    sent.update((name.replace("_", "-"), value) for name, value in headers.items())
    request = Request(method, path, query, {k: v for k, v in sent.items() if v is not None}, body)
    try:
        return sls_wire.handle(backend, CALLER, request)
    except ApiError as problem:
        return sls_wire.error(problem)


def put(backend: SlsBackend, body: bytes, **headers: str | None) -> Response:
    return call(backend, "POST", "/logstores/store/shards/lb", body, content_type="application/x-protobuf", **headers)


def group(now: float, **contents: str) -> bytes:
    message = pb.LogGroup()
    log = message.Logs.add(Time=int(now))
    for name, value in contents.items():
        log.Contents.add(Key=name, Value=value)
    return message.SerializeToString()


def log_fields(backend: SlsBackend) -> list[dict[str, str]]:
    now = VirtualClock().now()
    return backend.search(HOME, "proj", "store", now - 60, now + 60).logs


def refused(response: Response) -> tuple[int, str]:
    assert response.headers["x-log-requestid"]
    return response.status, json.loads(response.body)["errorCode"]


PLAIN = group(VirtualClock().now(), a="b")
DIGEST = hashlib.md5(PLAIN).hexdigest().upper()  # noqa: S324 - their hash
LZ4 = lz4.block.compress(PLAIN, store_size=False)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("lz4", LZ4), ("zstd", zstandard.compress(PLAIN)), ("deflate", zlib.compress(PLAIN)), (None, PLAIN)],
)
def test_bodies_are_read_in_every_compression(backend: SlsBackend, kind: str | None, body: bytes) -> None:
    """lz4 block, zstd, deflate and plain."""
    size = str(len(PLAIN))
    assert put(backend, body, x_log_compresstype=kind, x_log_bodyrawsize=size).status == 200
    assert [log["a"] for log in log_fields(backend)] == ["b"]


@pytest.mark.parametrize(
    ("body", "kind", "size", "expected"),
    [
        (LZ4, "lz4", None, (400, "MissingBodyRawSize")),
        (LZ4, "lz4", "many", (400, "InvalidBodyRawSize")),
        (LZ4, "lz4", "-1", (400, "InvalidBodyRawSize")),
        (LZ4, "lz4", str(len(PLAIN) + 1), (400, "PostBodyUncompressError")),
        (LZ4, "lz4", str(len(PLAIN) - 1), (400, "PostBodyUncompressError")),
        (LZ4[:-1], "lz4", str(len(PLAIN)), (400, "PostBodyUncompressError")),
        (zlib.compress(PLAIN), "deflate", str(len(PLAIN) - 1), (400, "PostBodyUncompressError")),
        (b"junk", "zstd", "4", (400, "PostBodyUncompressError")),
        # a frame that declares a terabyte
        (
            b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\x00\x00",
            "zstd",
            "4",
            (400, "PostBodyUncompressError"),
        ),
        (LZ4, "snappy", str(len(PLAIN)), (400, "InvalidCompressType")),
        (LZ4, "lz4", str(10 * 1024 * 1024 + 1), (413, "PostBodyTooLarge")),
        (LZ4, "lz4", "9" * 5000, (400, "InvalidBodyRawSize")),
        (zstandard.compress(PLAIN) + b"more", "zstd", str(len(PLAIN)), (400, "PostBodyUncompressError")),
        (PLAIN + bytes(10 * 1024 * 1024), None, "0", (413, "PostBodyTooLarge")),
        (b"\xff\xff\xff", None, "3", (400, "PostBodyInvalid")),
        (PLAIN.replace(b"b", b"\xff"), None, None, (400, "InvalidEncoding")),
        (PLAIN.replace(b"a", b"\xff"), None, None, (400, "InvalidEncoding")),
        (PLAIN + b"\x1a\x01\xff", None, None, (400, "InvalidEncoding")),  # the topic
        (PLAIN + b"\x32\x06\x0a\x01\xff\x12\x01v", None, None, (400, "InvalidEncoding")),  # a tag
        (group(VirtualClock().now(), **{"": "x"}), None, None, (400, "InvalidKey")),
    ],
)
def test_invalid_body_is_refused_as_a_whole(
    backend: SlsBackend, body: bytes, kind: str | None, size: str | None, expected: tuple[int, str]
) -> None:
    """A body that does not decompress to its declared size, or does not parse, writes nothing."""
    assert refused(put(backend, body, x_log_compresstype=kind, x_log_bodyrawsize=size)) == expected
    assert log_fields(backend) == []


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/logstores", {"logstoreName": "other", "ttl": True, "shardCount": 1}),
        ("POST", "/logstores", {"logstoreName": "other", "ttl": 1, "shardCount": True}),
        ("POST", "/logstores", {"logstoreName": "other", "ttl": 1}),
        ("GET", f"/logstores/store/shards/{'9' * 5000}?type=cursor&from=begin", None),
        ("GET", f"/logstores/store/shards/0?type=cursor&from={'9' * 5000}", None),
        ("GET", f"/logstores/store/shards/0?type=log&cursor={base64.b64encode(b'9' * 5000).decode()}", None),
    ],
)
def test_invalid_numbers_are_refused(
    backend: SlsBackend, method: str, target: str, body: dict[str, object] | None
) -> None:
    """Booleans, missing ones, and very large ones, also as a cursor."""
    sent = b"" if body is None else json.dumps(body).encode()
    code = "InvalidCursor" if "type=log" in target else "ParameterInvalid"
    assert refused(call(backend, method, target, sent, content_type="application/json")) == (400, code)


def test_one_log_out_of_time_refuses_the_group(backend: SlsBackend) -> None:
    """A group is written as a whole or not at all."""
    message = pb.LogGroup.FromString(PLAIN)
    message.Logs.add(Time=1)
    assert refused(put(backend, message.SerializeToString())) == (400, "PostBodyInvalid")
    assert log_fields(backend) == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content_md5": DIGEST}, 200),
        ({"content_md5": DIGEST.lower()}, (400, "PostBodyInvalid")),
        ({"content_md5": "0" * 32}, (400, "PostBodyInvalid")),
        ({"x_log_apiversion": None}, (400, "MissingAPIVersion")),
        ({"x_log_apiversion": "0.5.0"}, (400, "InvalidAPIVersion")),
    ],
)
def test_headers_are_checked(
    backend: SlsBackend, headers: dict[str, str | None], expected: int | tuple[int, str]
) -> None:
    """Content-MD5 is the upper-case hex digest; the API version is required and must be known."""
    response = put(backend, PLAIN, **headers)
    assert response.status == expected if isinstance(expected, int) else refused(response) == expected


def test_content_type_must_match_the_operation(backend: SlsBackend) -> None:
    """Logs are protobuf, settings are JSON."""
    target = "/logstores/store/shards/lb"
    assert refused(call(backend, "POST", target, PLAIN)) == (400, "MissingContentType")
    assert refused(call(backend, "POST", target, PLAIN, content_type="application/json")) == (400, "InvalidContentType")
    answer = call(backend, "POST", "/logstores", b"{", content_type="application/json")
    assert refused(answer) == (400, "PostBodyInvalid")


def test_empty_success_has_no_content_type(backend: SlsBackend) -> None:
    """It has a request id."""
    response = put(backend, PLAIN)
    assert (response.status, response.body) == (200, b"")
    assert response.headers["x-log-requestid"]
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize(
    ("accepted", "coding"), [("lz4", "lz4"), ("zstd", "zstd"), ("gzip, deflate", None), ("", None)]
)
def test_search_answers_in_the_accepted_compression(backend: SlsBackend, accepted: str, coding: str | None) -> None:
    """lz4 or zstd if accepted, with the plain size in a header; otherwise plain JSON."""
    put(backend, PLAIN)
    now = int(VirtualClock().now())
    body = json.dumps({"from": now, "to": now + 1, "query": "a: b", "reverse": False, "powerSql": False}).encode()
    response = call(
        backend, "POST", "/logstores/store/logs", body, content_type="application/json", accept_encoding=accepted
    )
    plain, size = response.body, int(response.headers["x-log-bodyrawsize"])
    assert response.headers.get("x-log-compresstype") == coding
    if coding == "lz4":
        plain = lz4.block.decompress(plain, uncompressed_size=size)
    elif coding == "zstd":
        plain = zstandard.decompress(plain)
    answer = json.loads(plain)
    assert len(plain) == size
    assert (answer["meta"]["progress"], answer["meta"]["count"], answer["data"][0]["a"]) == ("Complete", 1, "b")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("from=1&to=x", (400, "ParameterInvalid")),
        ("from=seconds&to=2", (400, "ParameterInvalid")),
        ("from=1&to=2&toNs=x", (400, "ParameterInvalid")),
        ("to=2", (400, "ParameterInvalid")),
        ("from=2&to=1", (400, "InvalidTimeRange")),
        ("from=1&to=2&line=101", (400, "InvalidLine")),
        ("from=1&to=2&offset=-1", (400, "InvalidOffset")),
        ("from=1&to=2&reverse=maybe", (400, "InvalidReverse")),
        ("from=1&to=2&query=(", (400, "ParameterInvalid")),
    ],
)
def test_invalid_search_parameters_are_refused(backend: SlsBackend, parameters: str, expected: tuple[int, str]) -> None:
    """Each parameter has its own error."""
    assert refused(call(backend, "GET", f"/logstores/store?type=log&{parameters}")) == expected


def test_fractions_of_a_second_order_and_limit_a_search(backend: SlsBackend) -> None:
    """Nanoseconds apply to the order, the answer, and fromNs."""
    now, message = int(VirtualClock().now()), pb.LogGroup()
    for name, nanoseconds in (("late", 700_000_000), ("early", 200_000_000)):
        message.Logs.add(Time=now, Time_ns=nanoseconds).Contents.add(Key="a", Value=name)
    put(backend, message.SerializeToString())
    target = f"/logstores/store?type=log&from={now}&to={now + 1}"
    logs = json.loads(call(backend, "GET", target).body)
    assert [(log["a"], log["__time_ns_part__"]) for log in logs] == [("early", "200000000"), ("late", "700000000")]
    logs = json.loads(call(backend, "GET", f"{target}&fromNs=500000000").body)
    assert [log["a"] for log in logs] == ["late"]


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("POST", "/", "CreateProject"),
        ("GET", "/", "GetProject"),
        ("POST", "/logstores/s/shards/lb", "PutLogs"),
        ("POST", "/logstores/s/logs", "GetLogs"),
        ("GET", "/logstores/s?type=log&from=1", "GetLogs"),
        ("GET", "/logstores/s", "GetLogStore"),
        ("GET", "/logstores/s/shards/0?type=log", "PullLogs"),
        ("GET", "/logstores/s/shards", "ListShards"),
        ("PATCH", "/logstores/s", "Unknown"),
        ("GET", "/logstores/s?type=junk", "Unknown"),
        ("POST", "/logstores/s/logs?type=log", "Unknown"),
        ("GET", "/nowhere", "Unknown"),
    ],
)
def test_action_is_named_as_the_api_names_it(backend: SlsBackend, method: str, target: str, name: str) -> None:
    """Faults and counts use these names; unknown operations are refused."""
    path, _, query = target.partition("?")
    assert sls_wire.action(Request(method, path, query, {"host": "proj.localhost"})) == name
    if name == "Unknown":
        assert refused(call(backend, method, target)) == (400, "ParameterInvalid")


@pytest.mark.parametrize("page", ["offset=-1", "size=-1", "size=501", "offset=x"])
def test_an_invalid_page_is_refused(backend: SlsBackend, page: str) -> None:
    """For logstores, dashboards and alert rules."""
    for target in ("/logstores", "/dashboards", "/jobs"):
        assert refused(call(backend, "GET", f"{target}?{page}")) == (400, "ParameterInvalid")


@pytest.mark.parametrize(
    ("host", "name", "expected"),
    [
        ("other.cn-qingdao.log.aliyuncs.com", "other", None),
        ("other.cn-qingdao-intranet.log.aliyuncs.com", "other", None),
        ("cn-qingdao.log.aliyuncs.com", "other", None),
        ("proj.cn-qingdao.log.aliyuncs.com", "other", (400, "ParameterInvalid")),
        ("other.cn-beijing.log.aliyuncs.com", "other", (404, "ProjectNotExist")),
        ("cn-beijing.log.aliyuncs.com", "other", (404, "ProjectNotExist")),
    ],
)
def test_a_project_is_created_where_the_host_says(
    backend: SlsBackend, host: str, name: str, expected: tuple[int, str] | None
) -> None:
    """If the host names another project or region than the body, nothing is created."""
    body = json.dumps({"projectName": name, "description": ""}).encode()
    answer = call(backend, "POST", "/", body, host=host, content_type="application/json")
    assert (answer.status == 200) if expected is None else (refused(answer) == expected)
    assert [p.name for p in backend.projects(HOME)] == (["other", "proj"] if expected is None else ["proj"])


def test_list_project_is_asked_of_the_bare_endpoint() -> None:
    """GET / without a project in Host lists projects."""
    for host in ("cn-qingdao.log.aliyuncs.com", "127.0.0.1:80", "localhost"):
        assert sls_wire.action(Request("GET", "/", "", {"host": host})) == "ListProject"


def test_an_empty_parameter_counts_as_omitted(backend: SlsBackend) -> None:
    """The Node client sends `logstoreName=&offset=&size=` for omitted parameters; that lists everything."""
    answer = call(backend, "GET", "/logstores?logstoreName=&offset=&size=")
    assert (answer.status, json.loads(answer.body)["logstores"]) == (200, ["store"])
