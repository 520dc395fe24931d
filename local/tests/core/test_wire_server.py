"""The server on loopback: what real sockets add to the wire."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import (
    AuthorizeSecurityGroupRequestPermissions,
)

from aliyun_local import server as server_module
from aliyun_local.cloud import LocalCloud
from aliyun_local.core.clock import SystemClock
from aliyun_local.core.http import Request, Response
from aliyun_local.core.tls import Authority
from aliyun_local.server import Server, serve
from clients import HOME, ask, config, key_of, logs_of

pytestmark = pytest.mark.http
GENEROUS = 60  # seconds; no test waits that long unless it fails


def ecs_of(server: Server, endpoint: str | None = None, read_timeout: int = GENEROUS * 1000) -> Ecs:
    """A client of the home account; `read_timeout` in milliseconds."""
    place = endpoint or server.endpoint.removeprefix("http://")
    return Ecs(config(key_of(server.cloud), place, read_timeout=read_timeout))


def connect(server: Server, trusted: Path | None = None) -> http.client.HTTPConnection:
    place = server.endpoint.partition("://")[2]
    if server.endpoint.startswith("https"):
        context = ssl.create_default_context(cafile=trusted)
        return http.client.HTTPSConnection(place, timeout=GENEROUS, context=context)
    return http.client.HTTPConnection(place, timeout=GENEROUS)


def groups(server: Server) -> int:
    return len(server.cloud.ecs.account(HOME).groups)


@pytest.mark.parametrize("scheme", ["", "http://"])
def test_an_endpoint_with_and_without_scheme(server: Server, scheme: str) -> None:
    """With a scheme the client sends (and signs) `Host: http://127.0.0.1:PORT` [run]; both forms work."""
    client = ecs_of(server, scheme + server.endpoint.removeprefix("http://"))
    ask(client, "CreateSecurityGroup", security_group_name="sg-app")
    assert groups(server) == 1


def test_a_request_line_of_twenty_kilobytes(server: Server) -> None:
    """A hundred permissions fit into the query, as `Permissions.N.…`, and arrive with their text unchanged."""
    client = ecs_of(server)
    group = ask(client, "CreateSecurityGroup", security_group_name="sg-db").security_group_id
    texts = {f"{port}/{port}": f"a b+c/~* &=%41 ✓ {'d' * 56} {port}" for port in range(1001, 1101)}
    permissions = [
        AuthorizeSecurityGroupRequestPermissions(
            ip_protocol="TCP", port_range=ports, source_cidr_ip="10.0.0.9/32", description=text
        )
        for ports, text in texts.items()
    ]
    ask(client, "AuthorizeSecurityGroup", security_group_id=group, permissions=permissions)
    rules = ask(client, "DescribeSecurityGroupAttribute", security_group_id=group).permissions.permission
    assert {rule.port_range: rule.description for rule in rules} == texts


def test_a_proxied_request_is_answered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `http_proxy` set, an unmodified client of the real host name reaches the local cloud."""
    monkeypatch.setenv("http_proxy", server.endpoint)
    client = logs_of(key_of(server.cloud), "http://cn-qingdao.log.aliyuncs.com")
    assert client.list_logstore(f"logs-{HOME}").logstores == ["events", "functions"]


def ports_of(connection: http.client.HTTPConnection) -> set[int]:
    """The ports from which two requests come."""
    ports = set()
    for _ in range(2):
        connection.request("GET", "/_local/health")
        assert connection.getresponse().read()
        ports.add(connection.sock.getsockname()[1])
    return ports


def test_https_has_certificates_of_an_authority_of_its_own(tmp_path: Path) -> None:
    """Every region's entrance speaks it, also one that is opened later; connections are reused. Who does not trust the
    authority is not answered. Its folder holds no key."""
    authority = Authority(tmp_path)
    with serve(LocalCloud(SystemClock()), authority=authority) as server:
        later = server.cloud.region_at("cn-hangzhou")
        assert server.cloud.variables == {
            "ALIYUN_LOCAL_ENDPOINT": server.endpoint,
            "SSL_CERT_FILE": str(authority.file),
            "REQUESTS_CA_BUNDLE": str(authority.file),
        }
        assert len(ports_of(connect(server, authority.file))) == 1
        with pytest.raises(ssl.SSLCertVerificationError):
            ports_of(connect(server))
        server.endpoint = later.endpoint.replace("127.0.0.1", "localhost")
        assert ports_of(connect(server, authority.file))
        assert list(tmp_path.iterdir()) == [authority.file]
        assert b"PRIVATE" not in authority.file.read_bytes()


class Echo(LocalCloud):
    """A cloud that answers with the request it received."""

    def handle(self, request: Request) -> Response:
        received = {"path": request.path, "query": request.query, "host": request.host, "length": len(request.body)}
        return Response(200, {"X-Seen": request.headers.get("x-odd", "")}, json.dumps(received).encode())


@pytest.fixture(name="echo")
def _echo() -> Iterator[Server]:
    running = serve(Echo())
    yield running
    running.close()


def send(server: Server, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, object]:
    connection = connect(server)
    connection.request("POST", target, body, headers or {})
    return dict(json.loads(connection.getresponse().read()))


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a%2Fb?x=%7e+%20", "/a%2Fb", "x=%7e+%20"),
        ("http://proj.log.aliyuncs.com/logs?x=1", "/logs", "x=1"),
        ("http://proj.log.aliyuncs.com", "/", ""),
        ("/?next=http://h/p", "/", "next=http://h/p"),
    ],
)
def test_targets_stay_raw(echo: Server, target: str, path: str, query: str) -> None:
    """Signatures are computed over the raw target, so nothing is decoded or normalised on the way."""
    received = send(echo, target)
    assert (received["path"], received["query"]) == (path, query)


def test_bodies_arrive_as_sent(echo: Server) -> None:
    """Large bodies are accepted, chunked ones complete; the server does not decompress compressed ones."""
    assert send(echo, "/", b"x" * 3_000_000)["length"] == 3_000_000
    assert send(echo, "/", b"not deflate", {"Content-Encoding": "deflate"})["length"] == len(b"not deflate")
    connection = connect(echo)
    connection.request("POST", "/", iter([b"abc", b"def"]), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["length"] == 6


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/9\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET http://[::1 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /?" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na", 408),
    ],
)
def test_invalid_http_is_refused_and_not_logged(
    echo: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: int
) -> None:
    """It is the client's mistake and does not affect others; the server does not wait forever for half a body."""
    if status == 408:
        monkeypatch.setattr(server_module, "BODY_SECONDS", 0.1)
    host, port = echo.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), GENEROUS) as client, client.makefile("rb") as answers:
        client.sendall(sent)
        assert answers.readline().split()[1] == str(status).encode()
    assert caplog.records == []
    monkeypatch.undo()
    assert send(echo, "/")["path"] == "/"


def test_a_client_that_disconnects_midway_is_not_logged(echo: Server, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody left to answer."""
    host, port = echo.endpoint.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port)), GENEROUS) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\na")
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert send(echo, "/")["path"] == "/"
    assert caplog.records == []


def test_expect_100_continue_is_answered(echo: Server) -> None:
    """As curl sends it with large bodies: the body follows the interim response."""
    host, port = echo.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), GENEROUS) as client, client.makefile("rb") as answers:
        client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert [answers.readline(), answers.readline()] == [b"HTTP/1.1 100 Continue\r\n", b"\r\n"]
        client.sendall(b"abc")
        assert answers.readline() == b"HTTP/1.1 200 OK\r\n"


def test_a_hundred_blocked_calls_do_not_block_others(echo: Server) -> None:
    """A long poll or a waiting invocation has its own worker, so the function it waits for can still call in."""
    release, entered = threading.Event(), threading.Semaphore(0)
    blocked = echo.cloud.handle

    def handle(request: Request) -> Response:
        if request.path == "/wait":
            entered.release()
            release.wait(GENEROUS)
        return blocked(request)

    echo.cloud.handle = handle  # type: ignore[method-assign]
    waiting = [threading.Thread(target=send, args=(echo, "/wait")) for _ in range(100)]
    for thread in waiting:
        thread.start()
    try:
        assert all(entered.acquire(timeout=GENEROUS) for _ in waiting)
        assert send(echo, "/quick")["path"] == "/quick"
    finally:
        release.set()
        for thread in waiting:
            thread.join()


def test_closing_frees_the_port() -> None:
    """A closed server no longer answers, and its port can be used again. It is bound to 127.0.0.1."""
    first = serve(LocalCloud(SystemClock()))
    assert first.endpoint.startswith("http://127.0.0.1:")
    port = int(first.endpoint.rpartition(":")[2])
    assert first.cloud.endpoint == first.endpoint
    first.close()
    assert first.cloud.endpoint == ""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    with serve(LocalCloud(SystemClock()), port) as second:
        assert second.endpoint == first.endpoint


def test_a_port_in_use_is_an_error(server: Server) -> None:
    """Starting there fails at once."""
    with pytest.raises(OSError, match="address already in use"):
        serve(LocalCloud(SystemClock()), int(server.endpoint.rpartition(":")[2]))
