"""Why a service gave no answer, in words of our own: the SDKs' texts may contain a signed URL or a whole response."""

from __future__ import annotations

import re

# [src urllib3, requests, http.client: the texts of their errors] the first that fits is the cause
_CAUSES = tuple(
    (re.compile(pattern), cause)
    for pattern, cause in (
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
        ("reset by peer|closed connection|Connection aborted|Broken pipe", "the connection was closed"),
    )
)
# the Alibaba SDKs put the text into a dict's repr, which escapes the quotes
_HOST = re.compile(r"host=\\?'([\w.:-]{1,253})\\?'(?:, port=([0-9]{1,5}))?")


def unanswered(error: BaseException, host: str = "") -> str:
    """`ecs.aliyuncs.com: its name cannot be resolved (DNS)`; empty if the error's text does not say.

    `host` is the service's, for SDKs whose errors do not name it.
    """
    text = str(error)
    cause = next((cause for pattern, cause in _CAUSES if pattern.search(text)), "")
    named = _HOST.search(text)
    if named and not host:
        host = named[1] if named[2] in (None, "443", "80") else f"{named[1]}:{named[2]}"
    return ": ".join(filter(None, [host, cause])) if cause else ""
