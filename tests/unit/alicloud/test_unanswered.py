"""Why a service gave no answer: from errors that the libraries under the SDKs really raise."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import requests
from alibabacloud_sts20150401.client import Client
from alibabacloud_tea_openapi.models import Config
from link_peer.alicloud.sdk import call, unanswered
from link_peer.domain.errors import Ambiguous


@pytest.fixture(name="silent")
def _silent() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture(name="closed")
def _closed() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def unanswered_text(url: str, **options: object) -> str:
    """What is said of the error of a request."""
    with pytest.raises(requests.RequestException) as raised:
        requests.get(url, timeout=0.1, **options)  # type: ignore[arg-type]
    return unanswered(raised.value)


def test_the_host_and_the_cause_are_named(silent: int, closed: int) -> None:
    """A refused connection, a name without an address, no answer in time, a proxy that is not there."""
    assert (
        unanswered_text(f"http://127.0.0.1:{closed}/?Signature=secret")
        == f"127.0.0.1:{closed}: the connection is refused"
    )
    assert unanswered_text("https://no-such-host.invalid") == "no-such-host.invalid: its name cannot be resolved (DNS)"
    assert unanswered_text(f"http://127.0.0.1:{silent}") == f"127.0.0.1:{silent}: no answer in time"
    proxy = {"http": f"http://127.0.0.1:{closed}"}
    assert (
        unanswered_text("http://ecs.aliyuncs.com", proxies=proxy)
        == f"127.0.0.1:{closed}: this proxy does not let it through"
    )


def test_the_error_of_an_alibaba_sdk_names_the_host(closed: int) -> None:
    """It quotes the text of another error."""
    config = Config(access_key_id="x", access_key_secret="y", endpoint=f"127.0.0.1:{closed}", protocol="http")
    with pytest.raises(Ambiguous) as raised:
        call(lambda: Client(config).get_caller_identity())
    assert str(raised.value) == f"no readable answer (127.0.0.1:{closed}: the connection is refused)"


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "its TLS certificate is not accepted"),
        ("SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number')", "TLS fails"),
        ("ConnectTimeoutError('Connection to 10.0.0.1 timed out. (connect timeout=5)')", "no connection in time"),
        ("[Errno 113] No route to host", "the network is unreachable"),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", "the connection was closed"),
        ("('Connection broken: IncompleteRead(1 bytes read, 99 more expected)',)", "the connection was closed"),
        ("EOF occurred in violation of protocol (_ssl.c:2427)", "the connection was closed"),
        ("Remote end closed connection without response", "the connection was closed"),
        ("[Errno -3] Temporary failure in name resolution", "its name cannot be resolved (DNS)"),
    ],
)
def test_each_cause_has_words_of_its_own(text: str, cause: str) -> None:
    """The host is the caller's where the text names none."""
    assert unanswered(OSError(text), "mns.aliyuncs.com") == f"mns.aliyuncs.com: {cause}"
    assert unanswered(OSError(text)) == cause


def test_nothing_of_another_text_is_repeated() -> None:
    """It may be a signed URL or a response."""
    assert unanswered(OSError("https://sts/?AccessKeyId=x&Signature=y"), "sts") == ""
    assert unanswered(OSError("(host='<b>evil</b>', port=1): Connection refused")) == "the connection is refused"
