"""The local cloud over HTTP or HTTPS on loopback, in a background thread of its own."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from socket import SO_LINGER, SOL_SOCKET

from aiohttp import web
from aiohttp.http import HttpProcessingError

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.faults import Killed
from aliyun_local.core.http import ConnectionDropped, NoAnswer, Request
from aliyun_local.core.tls import Authority

WORKERS = 512  # each long poll and each waiting invocation occupies one while functions call back in
MAX_LINE = 64 * 1024  # a hundred permissions make a request line of 19 KB [run: SDK]
MAX_BODY = 64 * 1024 * 1024
BODY_SECONDS = 60  # for a body that stops half-way; aiohttp's parser also keeps waiting after a bad chunk
_START_SECONDS = 60

_log = logging.getLogger(__name__)
_NO_HTTP = (HttpProcessingError, web.RequestPayloadError)
# Input that is not HTTP is answered with 400 and not logged: it is the client's mistake, not ours.
_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], _NO_HTTP)))


class Server:
    """A running server at `endpoint`, e.g. `http://127.0.0.1:41234`, or `https` with an authority. `close()` or the end
    of a `with` block stops it.

    Each further region of the cloud has a port of its own, also one that is opened later:
    `cloud.region_at(region).endpoint`.
    """

    def __init__(self, cloud: LocalCloud, port: int, authority: Authority | None = None) -> None:
        self.cloud = cloud
        self._tls = authority.context() if authority else None
        cloud.shared.authority = str(authority.file) if authority else ""
        self.endpoint = ""
        self._port = port
        self._workers = ThreadPoolExecutor(WORKERS, "local-cloud")
        self._loop = asyncio.new_event_loop()
        self._runners: list[web.ServerRunner] = []
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="local-cloud-server", daemon=True)
        self._thread.start()
        if not self._started.wait(_START_SECONDS):
            raise TimeoutError("the local cloud's server did not start")
        if self._problem is not None:
            raise self._problem

    def close(self) -> None:
        """Stop serving; the port is free afterwards."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def hang_up(self) -> None:
        """Close the connections of all clients, as services do with those that are idle."""

        async def close() -> None:
            for runner in self._runners:
                for connection in runner.server.connections if runner.server else ():
                    if connection.transport is not None:
                        connection.transport.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as problem:
            self._problem = problem
            self._started.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        shared = self.cloud.shared
        unserved = shared.listen
        try:
            self.endpoint = await self._open(self.cloud, self._port)
            for cloud in self.cloud.regions.values():
                if cloud is not self.cloud:
                    await self._open(cloud, 0)
            shared.listen = lambda cloud: asyncio.run_coroutine_threadsafe(self._open(cloud, 0), self._loop).result(
                _START_SECONDS
            )
            self._started.set()
            await self._stop.wait()
        finally:
            shared.listen = unserved
            for cloud in self.cloud.regions.values():
                cloud.endpoint = ""
            for runner in self._runners:
                await runner.cleanup()

    async def _open(self, cloud: LocalCloud, port: int) -> str:
        """Listen for one region."""
        # Keep bodies as sent (auto_decompress); cancel the handler when its client disconnects (handler_cancellation).
        server = web.Server(
            partial(self._answer, cloud),
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            auto_decompress=False,
            handler_cancellation=True,
            access_log=None,
            logger=_log,
        )
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        self._runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True, ssl_context=self._tls).start()
        host, port = runner.addresses[0][:2]
        cloud.endpoint = f"{'https' if self._tls else 'http'}://{host}:{port}"
        return cloud.endpoint

    async def _answer(self, cloud: LocalCloud, arrived: web.BaseRequest) -> web.StreamResponse:
        try:
            body = await asyncio.wait_for(_body(arrived), BODY_SECONDS)
        except asyncio.TimeoutError:
            return web.Response(status=408, text="the body did not arrive in time")
        except _NO_HTTP:
            return web.Response(status=400, text="the body is malformed")
        except ConnectionError:  # the client disconnected
            raise asyncio.CancelledError from None
        if body is None:
            return web.Response(status=413, text="the body is too large")
        request = _request(arrived, body)
        try:
            answer = await self._loop.run_in_executor(self._workers, cloud.handle, request)
        except (ConnectionDropped, Killed):
            _reset(arrived)
            raise asyncio.CancelledError from None
        except NoAnswer:
            await asyncio.Event().wait()
            raise
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body or None)


def serve(cloud: LocalCloud, port: int = 0, authority: Authority | None = None) -> Server:
    """Serve `cloud` on 127.0.0.1, over TLS with a certificate of `authority`; port 0 picks a free port.

    OSError when the port is in use.
    """
    return Server(cloud, port, authority)


async def _body(arrived: web.BaseRequest) -> bytes | None:
    """The body as sent, still compressed; None when it is too large."""
    if arrived.headers.get("Expect", "").lower() == "100-continue":  # curl waits for it before sending a large body
        await arrived.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts, size = [], 0
    async for part in arrived.content.iter_any():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _request(arrived: web.BaseRequest, body: bytes) -> Request:
    """The request with its raw target, over which signatures are computed; absolute-form targets (proxies) lose
    scheme and host."""
    target = arrived.raw_path
    if "://" in target.partition("?")[0]:
        target = "/" + target.split("://", 1)[1].partition("/")[2]
    path, _, query = target.partition("?")
    headers = {name.decode("latin-1").lower(): value.decode("utf-8", "replace") for name, value in arrived.raw_headers}
    return Request(arrived.method, path, query, headers, body)


def _reset(arrived: web.BaseRequest) -> None:
    """Reset the connection, as a failing load balancer does: with zero linger seconds the kernel sends RST."""
    if arrived.transport is not None:
        arrived.transport.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        arrived.transport.abort()
