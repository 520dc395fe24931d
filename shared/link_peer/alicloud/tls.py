"""TLS for every client of the SDKs: one context, so that certificates are loaded once, and all trust the same.

By themselves, the SDKs load them for each connection, and each SDK takes them from somewhere else.
"""

from __future__ import annotations

import functools
import os
import ssl
from typing import Any

import certifi
from darabonba.core import DEFAULT_POOL_MAXSIZE, DEFAULT_POOL_SIZE, DaraCore
from requests import Session
from requests.adapters import HTTPAdapter
from Tea.core import TeaCore

from link_peer.domain.errors import LinkPeerError

FILES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
FOLDERS = "SSL_CERT_DIR"


def context() -> ssl.SSLContext:
    """The context of this process. It trusts the certificates that the environment variables name (FILES, FOLDERS), all
    of them and nothing else; without any, those of certifi and of the system's folder. Servers' certificates and host
    names are always checked. Raises LinkPeerError for a file that cannot be loaded."""
    return _context(tuple((name, os.environ[name]) for name in (*FILES, FOLDERS) if os.environ.get(name)))


@functools.lru_cache(maxsize=1)
def _context(bundles: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not bundles:
        # OpenSSL reads a certificate of a folder when it needs it [src X509_LOOKUP_hash_dir]; a package has certifi's
        # as one
        folder = os.path.join(os.path.dirname(certifi.where()), "authorities")
        context.load_verify_locations(**{"capath": folder} if os.path.isdir(folder) else {"cafile": certifi.where()})
        if system := ssl.get_default_verify_paths().capath:
            context.load_verify_locations(capath=system)
    for path, name in {path: name for name, path in bundles}.items():
        try:
            if name == FOLDERS or os.path.isdir(path):
                if not any(map(os.path.isdir, path.split(os.pathsep))):
                    raise NotADirectoryError("not a folder")  # OpenSSL would say so at no call
                context.load_verify_locations(capath=path)
            else:
                context.load_verify_locations(path)
        except OSError as error:
            raise LinkPeerError(f"{name} is {path}, and no certificates can be loaded from it: {error}") from error
    return context


class Adapter(HTTPAdapter):
    """Requests over TLS with the context, also to a proxy and through one. What a caller says about verifying is not
    asked."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Where to connect, and with what."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": context()} if host["scheme"] == "https" else {}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """The connections of a proxy."""
        tls = {"proxy_ssl_context": context()} if proxy.lower().startswith("https") else {}
        return super().proxy_manager_for(proxy, **kwargs, **tls)

    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Leave connections as they are: this would load certificates again."""


def session() -> Session:
    """A session of requests."""
    http = Session()
    http.mount("https://", Adapter())
    return http


@functools.cache
def install() -> None:
    """Give both generations of the SDKs' HTTP clients the adapter, once; they ask for one for each host."""

    def get_adapter(_scheme: str, _tls: str | None = None, pool_size: int | None = None) -> HTTPAdapter:
        return Adapter(pool_connections=DEFAULT_POOL_SIZE, pool_maxsize=pool_size or DEFAULT_POOL_MAXSIZE)

    DaraCore.get_adapter = TeaCore.get_adapter = staticmethod(get_adapter)
