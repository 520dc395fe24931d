"""What all clients of the official SDKs share: their configuration, and the translation of their errors to ours."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from link_peer.alicloud import leave_out
from link_peer.domain.errors import Ambiguous, CloudError, NoAccess, Throttled
from link_peer.runtime.settings import Credentials, Settings

T = TypeVar("T")

CONNECT_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 10_000

# [doc common errors; ecs.md 1.12] the other 4xx codes are final
_TRANSIENT = frozenset({"LastTokenProcessing", "InvalidGressFlow.Malformed", "ServiceUnavailable", "InternalError"})
_NO_ACCESS_PREFIX = ("Forbidden", "NoPermission", "InvalidAccessKeyId", "InvalidSecurityToken", "EntityNotExist.Role")
_LIBRARIES = frozenset({"darabonba", "Tea", "alibabacloud_tea_openapi", "requests", "urllib3"})
_NO_ACCESS = frozenset(
    {"InvalidOperation.SecurityGroupNotAuthorized", "AccessDenied", "SignatureDoesNotMatch", "IncompleteSignature"}
)


def client_config(settings: Settings, service: str, credentials: Credentials) -> Any:
    """An alibabacloud_tea_openapi Config for one service, with short timeouts. The SDK does not retry by itself. Raises
    LinkPeerError for certificates that cannot be loaded."""
    from alibabacloud_tea_openapi.models import Config

    scheme, host = settings.endpoint(service)
    tls = shared_tls()
    if scheme == "https":
        tls.context()  # here, because the SDK would take its error for that of a call
    return Config(
        access_key_id=credentials.access_key_id,
        access_key_secret=credentials.access_key_secret,
        security_token=credentials.security_token,
        region_id=settings.region,
        protocol=scheme,
        endpoint=host or None,
        connect_timeout=CONNECT_TIMEOUT_MS,
        read_timeout=READ_TIMEOUT_MS,
    )


def shared_tls() -> Any:
    """The module link_peer.alicloud.tls, on which all clients of the SDKs rely from now on."""
    from link_peer.alicloud import tls  # it imports what the SDKs share: not before there is something to call

    tls.install()
    return tls


def call(send: Callable[[], T]) -> T:
    """Makes one SDK call, and raises its errors as ours: see `meaning`."""
    try:
        return send()
    except Exception as error:
        problem = meaning(error)
        if problem is error:
            raise
        raise problem from None  # the SDK's error may quote the whole response, which for STS contains keys


def meaning(error: Exception) -> Exception:
    """Our error for an error of the SDK, by its code. Without a code (reset, timeout, HTML page) it is Ambiguous.

    Programming errors are returned unchanged, so that they do not look like an outage; so is the use of something that
    the package leaves out, which the SDK wraps.
    """
    if missing := leave_out.named_in(error):
        return missing
    code = str(getattr(error, "code", None) or "")
    if not code:
        sdk = type(error).__module__.split(".")[0] in _LIBRARIES
        unreadable = isinstance(error, RuntimeError) and "as json format" in str(error)  # [src darabonba, tea-util]
        no_answer = sdk or unreadable or isinstance(error, OSError)
        silent = Ambiguous(f"no readable answer ({unanswered(error) or _kind(error)})").of(_service(error), "")
        return silent if no_answer else error
    status = int(getattr(error, "status_code", None) or getattr(error, "statusCode", None) or 0)
    request_id = str(getattr(error, "request_id", None) or "")
    message, service = _short(error), _service(error)
    if "Throttl" in code or status == 429:  # Throttling.User; ResourceThrottled of FC, TooManyRequests of EventBridge
        return Throttled(f"{code}: {message}").of(service, code, request_id)
    if status == 409 or status >= 500 or code in _TRANSIENT:
        return Ambiguous(f"{code}: {message}").of(service, code, request_id)
    if code in _NO_ACCESS or code.startswith(_NO_ACCESS_PREFIX):
        return NoAccess(code, message, request_id, service)
    return CloudError(code, message, request_id, service)


_CLIENT = re.compile(r"alibabacloud_([a-z]+)(?:_[a-z]+)?\d+\.client$")


def _service(error: Exception) -> str:
    """Which service a client of the SDK asked: the client's module is in the traceback, and no field of the error has
    it."""
    trace = error.__traceback__
    while trace is not None:
        if module := _CLIENT.match(trace.tb_frame.f_globals.get("__name__", "")):
            return module[1]
        trace = trace.tb_next
    return ""


def _kind(error: BaseException) -> str:
    """The class names of an error and its causes. Their messages are left out: they may contain a URL or a response."""
    names = [type(error).__name__]
    while (under := error.__cause__ or error.__context__) is not None and len(names) < 4:
        names.append(type(under).__name__)
        error = under
    return " < ".join(names)


def _short(error: Exception) -> str:
    """The message of an error with a code, cut short: it may contain an HTML page or a signed URL."""
    text = str(getattr(error, "message", None) or error)
    return text.split("server string to sign is:")[0].split("?")[0][:300]


# [src urllib3, requests, http.client: the texts of their errors] the first that fits is the cause
_CAUSES = (
    ("ProxyError|Tunnel connection failed", "this proxy does not let it through"),
    (
        "NameResolutionError|Failed to resolve|Name or service not known|nodename nor servname|Temporary failure in name resolution",
        "its name cannot be resolved (DNS)",
    ),
    ("CERTIFICATE_VERIFY_FAILED|doesn't match", "its TLS certificate is not accepted"),
    ("SSLError|SSL:", "TLS fails"),
    ("refused", "the connection is refused"),
    ("No route to host|unreachable", "the network is unreachable"),
    ("connect timeout|ConnectTimeout|Connection to .* timed out", "no connection in time"),
    ("timed out", "no answer in time"),
    (
        "reset by peer|closed connection|IncompleteRead|EOF occurred|Connection aborted|Broken pipe",
        "the connection was closed",
    ),
)
# the Alibaba SDKs put the text into a dict's repr, which escapes the quotes
_HOST = re.compile(r"host=\\?'([\w.:-]{1,253})\\?'(?:, port=([0-9]{1,5}))?")


def unanswered(error: BaseException, host: str = "") -> str:
    """`ecs.aliyuncs.com: its name cannot be resolved (DNS)`; empty if the error's text does not say.

    `host` is the service's, for SDKs whose errors do not name it.
    """
    text = str(error)
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, text)), "")
    host_match = _HOST.search(text)
    if host_match and not host:
        host = host_match[1] if host_match[2] in (None, "443", "80") else f"{host_match[1]}:{host_match[2]}"
    return ": ".join(filter(None, [host, cause])) if cause else ""
