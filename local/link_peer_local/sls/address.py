"""Which project a request is for: the first label of Host, in every form that clients send."""

from __future__ import annotations

import re

from link_peer_local.core.http import Request

_ENDPOINT = ".log.aliyuncs.com"
_NETWORKS = re.compile(r"-(intranet|internal|share|vpc)$")  # other endpoints of the same region
_ADDRESS = re.compile(r"(\d{1,3}\.){3}\d{1,3}")


def project_and_region(request: Request) -> tuple[str, str | None]:
    """The project ("" without one) and the region (None on loopback) of a request.

    `<project>.<region>.log.aliyuncs.com`, `<project>.localhost`, or `<project>.127.0.0.1` as the Python SDK sends it.
    """
    host = request.host
    if host.endswith(_ENDPOINT):
        project, _, region = host.removesuffix(_ENDPOINT).rpartition(".")
        return project, _NETWORKS.sub("", region)
    if "." not in host or _ADDRESS.fullmatch(host):
        return "", None
    return host.partition(".")[0], None
