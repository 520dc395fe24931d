"""The functions over TLS, as on the real cloud: HTTPS takes other paths through the SDKs than HTTP does."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from link_peer_deploy.instance import BUDGET, Instance

from tests.functional.lab import PEER
from tests.infrastructure.package.conftest import PackageLab

pytestmark = pytest.mark.http


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, plain)
    )
    return files


@pytest.fixture(name="tls")
def _tls(wire_lab: PackageLab, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An endpoint that takes TLS and passes the bytes on to the local cloud, and the certificate to trust."""
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    target = urlsplit(wire_lab.endpoint)
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side is gone: so is the connection

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return  # closed at the end of the test
            outer = context.wrap_socket(plain, server_side=True)
            inner = socket.create_connection((str(target.hostname), int(target.port or 80)))
            for ends in ((outer, inner), (inner, outer)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}", cert
    listener.close()


def test_links_in_one_account_and_in_two_over_tls(
    wire_lab: PackageLab, tls: tuple[str, Path], start: Callable[..., Instance]
) -> None:
    """ECS, SLS, MNS and STS, with nothing imported that is not in the budget."""
    endpoint, cert = tls
    trusted = {"SSL_CERT_FILE": str(cert), "REQUESTS_CA_BUNDLE": str(cert)}
    instance = start(endpoint, wire_lab.cloud, **trusted)
    a, b = wire_lab.pair()
    db = wire_lab.group("*")
    wish = f"{db.id}:tcp/1 {b.id}@{PEER}"
    event = wire_lab.event(wire_lab.instance(a, tags={"link-peer": wish}))
    assert instance.deliver("auto_link", event) == {"applied": 1}
    [posted] = wire_lab.queued()
    assert instance.deliver("cross_account", [wire_lab.message(posted)]) == {"applied": 1}
    assert wire_lab.rules(db) == [f"{a.id} tcp/1"]
    assert wire_lab.rules(b) == [f"{a.id} all"]
    assert instance.imported().excess({**BUDGET["auto_link"], **BUDGET["cross_account"]}) == []
