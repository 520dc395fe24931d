"""Servers and proxies with something wrong, each on a port of its own."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator

Answer = Callable[[socket.socket], object]
"""What is done with a connection, which is closed afterwards."""

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def listening(answer: Answer) -> Iterator[str]:
    """`127.0.0.1:PORT`, where each connection is answered so."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):  # the other side is gone, or does not accept the certificate
                answer(self.request)

    with _Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def secured(context: ssl.SSLContext, answer: Answer = lambda _: None) -> Answer:
    """Over TLS."""

    def over_tls(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as connection:
            answer(connection)

    return over_tls


def silent(connection: socket.socket) -> None:
    """Reads until the client gives up."""
    while connection.recv(65536):
        pass


def half(connection: socket.socket) -> None:
    """Ends in the middle of an answer."""
    connection.recv(65536)
    connection.sendall(HALF)
    connection.shutdown(socket.SHUT_WR)
    silent(connection)  # to close what is not read would reset the connection, and nobody would see the half


def refusing(connection: socket.socket) -> None:
    """A proxy that lets nothing through."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def tunnel(request_lines: list[str]) -> Answer:
    """A proxy that lets everything through, and notes what it was asked."""

    def proxy(client: socket.socket) -> None:
        request = client.recv(65536).decode()
        request_lines.append(request.partition("\r\n")[0])
        host, _, port = request.split()[1].partition(":")
        with socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            _pump(client, server)

    return proxy


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
