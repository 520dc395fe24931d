"""The addresses to which settings point the services."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from link_peer.domain.errors import BadInput
from link_peer.runtime.settings import SERVICES

NAMES = ("LINK_PEER_CLOUD", *(f"LINK_PEER_{service.upper()}_ENDPOINT" for service in SERVICES))
TIMEOUT = 5.0  # seconds


def not_listening(env: Mapping[str, str]) -> str:
    """Which setting points to this machine, where nothing listens, and what to do; empty if there is none. A local cloud has
    ended, and its variables are still exported: every call would be repeated for a while first. Raises BadInput."""
    for name in NAMES:
        given = env.get(name, "")
        try:
            url = urlsplit(given if "://" in given else f"https://{given}")
            host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
        except ValueError as error:
            raise BadInput(name, f"{given!a}: {error}") from None
        if not _is_here(host):
            continue
        try:
            socket.create_connection((host, port), TIMEOUT).close()
        except OSError:
            return (
                f"{name} points to {given}, where nothing listens: unset it and what else `link-peer local` printed to "
                "export (a new terminal has none of it), or start a local cloud there"
            )
    return ""


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return f".{host}".endswith(".localhost")
