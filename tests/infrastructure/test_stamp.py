"""How the plugin of Serverless Devs (deploy/stamp.js) asks Function Compute for the deployed function: where, and by
which way."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aliyun_local.api import Authority
from link_peer_deploy.project import ROOT

HOME, REGION = "1000000000000001", "cn-qingdao"
OWN = f"{HOME}.{REGION}.fc.aliyuncs.com"
KEYS = {"AccountID": HOME, "AccessKeyID": "test-key", "AccessKeySecret": "test-secret", "SecurityToken": "test-token"}
DEPLOY = """
const { inputs, args, keys } = JSON.parse(process.argv[2]);
inputs.getCredential = async () => keys;
require(process.argv[1])(inputs, args).then(() => console.log("deployed"), (error) => console.log(error.message));
"""
NONE = (404, {"Code": "FunctionNotFound", "Message": "function not found"})
ANOTHER = (200, {"functionName": "link-peer-sweep", "description": "(deployed x, package y, deployment other)"})

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")


def answer_of(status: int, body: object) -> bytes:
    text = (body if isinstance(body, str) else json.dumps(body)).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(text), text)


def head_of(connection: socket.socket) -> str:
    """The head of a request."""
    received = b""
    while b"\r\n\r\n" not in received and (part := connection.recv(4096)):
        received += part
    return received.decode()


@contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port of loopback at which each connection is served."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


class Deploy:
    """A deploy of one function: what the plugin says, with these variables and options."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "package.zip").write_bytes(b"")
        about = {"sha256": hashlib.sha256(b"").hexdigest(), "deployment": "shop"}
        (folder / "package.json").write_text(json.dumps(about), encoding="utf-8")

    def __call__(self, args: dict[str, str] | None = None, **env: str) -> str:
        props = {
            "code": "package.zip",
            "region": REGION,
            "runtime": "python3.12",
            "functionName": "link-peer-sweep",
            "environmentVariables": {},
            "triggers": [],
        }
        inputs = {"yaml": {"path": str(self._folder / "s.yaml")}, "props": props}
        stdin = json.dumps({"inputs": inputs, "args": args, "keys": KEYS})
        command = [str(shutil.which("node")), "-e", DEPLOY, str(ROOT / "deploy" / "stamp.js"), stdin]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=env, timeout=60).stdout  # noqa: S603


@pytest.fixture(name="deploy")
def _deploy(tmp_path: Path) -> Deploy:
    return Deploy(tmp_path)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (NONE, "deployed"),
        (ANOTHER, "link-peer-sweep runs the deployment other, and the package is for shop"),
        ((404, {"Code": "NotFound"}), 'link-peer-sweep cannot be read at 127.0.0.1:PORT (404): {"Code": "NotFound"}'),
        ((404, "<html>no such page</html>"), "link-peer-sweep cannot be read at 127.0.0.1:PORT (404): <html>"),
        ((200, "<html>welcome</html>"), "link-peer-sweep cannot be read at 127.0.0.1:PORT (200): <html>"),
        ((403, {"Code": "AccessDenied"}), "link-peer-sweep cannot be read at 127.0.0.1:PORT (403)"),
    ],
)
def test_only_function_computes_own_answer_means_that_there_is_no_function(
    deploy: Deploy, answer: tuple[int, object], message: str
) -> None:
    """Another 404, say of a proxy or of a wrong host, stops the deploy."""

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(answer_of(*answer))

    with listening(serve) as port:
        assert deploy(LINK_PEER_CLOUD=f"http://127.0.0.1:{port}").startswith(message.replace("PORT", str(port)))


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://fc.example.com",
        f"https://{OWN}.example.com",
        f"http://{OWN}",
        f"https://{HOME}.cn-beijing.fc.aliyuncs.com",
        "https://127.0.0.1.example.com",
        "example.com",
    ],
)
def test_keys_go_to_no_other_host(deploy: Deploy, endpoint: str) -> None:
    """Only the region's, over TLS, loopback, or the one that the option of s.yaml names."""
    output = deploy(LINK_PEER_FC_ENDPOINT=endpoint, HTTPS_PROXY="http://127.0.0.1:1", HTTP_PROXY="http://127.0.0.1:1")
    assert output.startswith("LINK_PEER_FC_ENDPOINT names ")
    assert "to which no keys are sent" in output


def test_the_host_of_the_option_is_asked_through_the_proxy(deploy: Deploy) -> None:
    """Without TLS in absolute form; with the proxy's user, whom no error names."""
    heads = []

    def serve(connection: socket.socket) -> None:
        heads.append(head_of(connection))
        connection.sendall(answer_of(*NONE))

    env = {"LINK_PEER_FC_ENDPOINT": "http://fc.example.com"}
    with listening(serve) as port:
        proxied = {**env, "http_proxy": f"http://me:pass%40word@127.0.0.1:{port}"}
        assert deploy({"fc_host": "fc.example.com"}, **proxied) == "deployed\n"
    assert heads[0].startswith("GET http://fc.example.com/2023-03-30/functions/link-peer-sweep HTTP/1.1\r\n")
    assert "bWU6cGFzc0B3b3Jk" in heads[0]  # me:pass@word
    output = deploy({"fc_host": "fc.example.com"}, **env, HTTP_PROXY="http://me:pass@127.0.0.1:1")
    assert output.startswith("fc.example.com cannot be reached through the proxy 127.0.0.1:1: connect ECONNREFUSED")
    assert "pass" not in output
    output = deploy({"fc_host": "fc.example.com"}, **env, HTTP_PROXY="socks5://127.0.0.1:1080")
    assert output.startswith(
        "fc.example.com cannot be reached through the proxy 127.0.0.1:1080: its protocol is socks5"
    )


def test_function_compute_is_asked_in_a_tunnel_of_the_proxy(deploy: Deploy, tmp_path: Path) -> None:
    """Its certificate is checked; the proxy sees the host and nothing of the request."""
    authority, heads = Authority(tmp_path), []
    context = authority.context(OWN)

    def serve(connection: socket.socket) -> None:
        heads.append(head_of(connection))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            with context.wrap_socket(connection, server_side=True) as secure:
                heads.append(head_of(secure))
                secure.sendall(answer_of(*NONE))
        except (ssl.SSLError, ConnectionError):
            pass  # the client does not trust the certificate

    with listening(serve) as port:
        proxy = {"HTTPS_PROXY": f"127.0.0.1:{port}"}
        assert deploy(**proxy, NODE_EXTRA_CA_CERTS=str(authority.file)) == "deployed\n"
        assert heads[0].startswith(f"CONNECT {OWN}:443 HTTP/1.1\r\n")
        assert "test-token" not in heads[0]
        assert "x-acs-security-token: test-token" in heads[1]
        assert deploy(**proxy).startswith(f"{OWN} cannot be reached through the proxy 127.0.0.1:{port}: ")


def test_a_proxy_that_refuses_is_named_with_the_host(deploy: Deploy) -> None:
    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with listening(serve) as port:
        output = deploy(HTTPS_PROXY=f"http://127.0.0.1:{port}")
    assert output.startswith(f"{OWN} cannot be reached through the proxy 127.0.0.1:{port}: the proxy answers 407")


@pytest.mark.parametrize(
    ("exception", "is_direct"),
    [
        ("*", True),
        ("example.com", True),
        (".example.com", True),
        ("x.org, fc.example.com:1", True),
        ("fc.example.com:2", False),
        ("ample.com", False),
    ],
)
def test_no_proxy_is_asked_for_an_exception(deploy: Deploy, exception: str, *, is_direct: bool) -> None:
    """By name, by the end of one, or with the port."""
    env = {"LINK_PEER_FC_ENDPOINT": "http://fc.example.com:1", "HTTP_PROXY": "http://127.0.0.1:1"}
    output = deploy({"fc_host": "fc.example.com"}, **env, NO_PROXY=exception)
    assert ("without a proxy" in output, "through the proxy 127.0.0.1:1" in output) == (is_direct, not is_direct)


def test_loopback_is_asked_directly(deploy: Deploy) -> None:
    """A local cloud stands beside a company's proxy."""

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(answer_of(*NONE))

    with listening(serve) as port:
        assert deploy(LINK_PEER_CLOUD=f"http://127.0.0.1:{port}", HTTP_PROXY="http://127.0.0.1:1") == "deployed\n"
