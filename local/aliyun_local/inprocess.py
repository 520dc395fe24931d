"""The local cloud without sockets: official clients build, sign and parse as usual; only their transport is replaced.

Any host name works, because services are recognized by host, path and headers. Four methods are patched, of which every
synchronous client uses one: `darabonba.core.DaraCore.do_action` (ECS, STS, RAM, FC, EventBridge),
`aliyun.log.logclient.LogClient._getHttpResponse` (SLS), `mns.mns_http.MNSHttp.send_request` and
`requests.adapters.HTTPAdapter.send` (older clients). The first two could do with the last, but preparing a request of
requests costs as much as the call itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from http.client import responses as reasons
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import requests
from aliyun.log.logclient import LogClient
from aliyun.log.logexception import LogException
from darabonba.core import DEFAULT_READ_TIMEOUT, DaraCore
from darabonba.exceptions import RetryError
from darabonba.request import DaraRequest
from darabonba.response import DaraResponse
from mns.mns_exception import MNSClientNetworkException
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import requote_uri
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from aliyun_local.cloud import LocalCloud
from aliyun_local.core.http import ConnectionDropped, NoAnswer, Request, Response
from mns import mns_http

if TYPE_CHECKING:
    from pytest_mock import MockerFixture


_RESET = ConnectionResetError(104, "Connection reset by peer")


def install(mocker: MockerFixture, cloud: LocalCloud) -> None:
    """Send every request of this process to `cloud` until the mocker undoes its patches."""

    def send(adapter: HTTPAdapter, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        return _send(cloud, adapter, request, options.get("timeout"))

    def do_action(request: DaraRequest, runtime_option: Mapping[str, Any] | None = None) -> DaraResponse:
        return _do_action(cloud, request, runtime_option or {})

    def get_http_response(client: Any, *sent: Any) -> tuple[int, bytes, Mapping[str, str]]:
        return _get_http_response(cloud, client, *sent)

    def send_request(http: mns_http.MNSHttp, request: mns_http.RequestInternal) -> mns_http.ResponseInternal:
        return _send_mns(cloud, http.host, request)

    mocker.patch.object(DaraCore, "do_action", do_action)
    mocker.patch.object(LogClient, "_getHttpResponse", get_http_response)
    mocker.patch.object(HTTPAdapter, "send", send)
    mocker.patch.object(mns_http.MNSHttp, "send_request", send_request)


def _send(
    cloud: LocalCloud, adapter: HTTPAdapter, request: requests.PreparedRequest, timeout: float | tuple[Any, Any] | None
) -> requests.Response:
    seconds = timeout[1] if isinstance(timeout, tuple) else timeout
    answer = _answer(cloud, str(request.method), str(request.url), request.headers, request.body, seconds)
    return adapter.build_response(
        request,
        HTTPResponse(
            io.BytesIO(answer.body),
            headers={"Content-Length": str(len(answer.body)), **answer.headers},
            status=answer.status,
            reason=reasons.get(answer.status, ""),
            preload_content=False,
        ),
    )


def _do_action(cloud: LocalCloud, request: DaraRequest, options: Mapping[str, Any]) -> DaraResponse:
    """As [src darabonba.core] does with requests."""
    seconds = int(options.get("readTimeout") or options.get("timeout") or DEFAULT_READ_TIMEOUT) / 1000
    try:
        url = DaraCore.compose_url(request)
        answer = _answer(cloud, request.method.upper(), url, request.headers, request.body, seconds)
    except OSError as error:
        raise RetryError(str(error)) from None
    response = DaraResponse()
    response.status_code, response.status_message = answer.status, reasons.get(answer.status, "")
    response.headers = _lower({"Content-Length": len(answer.body), **answer.headers})
    response.body = answer.body
    return response


def _get_http_response(
    cloud: LocalCloud, client: Any, method: str, url: str, params: Any, body: Any, headers: dict[str, Any]
) -> tuple[int, bytes, Mapping[str, str]]:
    """As [src aliyun.log.logclient] does with requests."""
    headers["User-Agent"] = client._user_agent
    target = requote_uri(f"{url}?{urlencode(params, doseq=True)}" if params else url)
    try:
        answer = _answer(cloud, method.upper(), target, headers, body, client._timeout)
    except OSError as error:
        raise LogException("LogRequestError", str(error)) from None
    return answer.status, answer.body, CaseInsensitiveDict(answer.headers)


def _answer(
    cloud: LocalCloud, method: str, target: str, headers: Mapping[str, Any], body: Any, seconds: float | None
) -> Response:
    """The cloud's response, or the error of requests for a lost one; a silent cloud takes so many seconds of its
    time."""
    url = urlsplit(target)
    sent = {"host": url.netloc, **_lower(headers)}
    try:
        return cloud.handle(Request(method, url.path or "/", url.query, sent, _body(body)))
    except ConnectionDropped:
        raise requests.ConnectionError(ProtocolError("Connection aborted.", _RESET)) from None
    except NoAnswer:
        if seconds:
            cloud.clock.sleep(seconds)
        pool = (HTTPSConnectionPool if url.scheme == "https" else HTTPConnectionPool)(url.hostname or "", url.port)
        path = url.path + (f"?{url.query}" if url.query else "")
        raise requests.ReadTimeout(ReadTimeoutError(pool, path, f"Read timed out. (read timeout={seconds})")) from None


def _send_mns(cloud: LocalCloud, host: str, sent: mns_http.RequestInternal) -> mns_http.ResponseInternal:
    path, _, query = sent.uri.partition("?")
    headers = {"host": host, **_lower(sent.header)}
    body = sent.data.encode() if isinstance(sent.data, str) else sent.data
    try:
        answer: Response = cloud.handle(Request(sent.method, path, query, headers, body))
    except ConnectionDropped:
        raise MNSClientNetworkException("NetWorkException", str(_RESET), sent.get_req_id()) from None
    except NoAnswer:
        raise MNSClientNetworkException("NetWorkException", "timed out", sent.get_req_id()) from None
    return mns_http.ResponseInternal(answer.status, dict(answer.headers), answer.body.decode())


def _lower(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): value.decode() if isinstance(value, bytes) else str(value) for name, value in headers.items()}


def _body(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return _body(body.read())
    if isinstance(body, Iterable) and not isinstance(body, bytes | bytearray):
        return b"".join(_body(part) for part in body)
    return bytes(body)
