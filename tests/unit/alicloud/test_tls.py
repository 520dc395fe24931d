"""TLS of the SDKs' clients: which certificates are trusted, and that they are loaded once."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from aliyun_local.api import Authority, LocalCloud, SystemClock, serve
from link_peer.alicloud import sls, tls
from link_peer.alicloud.audit_log import SlsAuditLog
from link_peer.alicloud.mns import MnsQueue
from link_peer.alicloud.sts import Accounts
from link_peer.domain.errors import LinkPeerError, Transient
from link_peer.domain.model import Party
from link_peer.domain.request import look_request
from link_peer.runtime.retry import Retry
from link_peer_cli.demo import world as worlds
from link_peer_deploy import authorities
from pytest_mock import MockerFixture
from Tea.core import TeaCore

from tests.unit.alicloud.adapter import HOME, REGION, settings
from tests.unit.alicloud.test_sts import POLICY

VARIABLES = (*tls.FILES, tls.FOLDERS)


def world() -> LocalCloud:
    """The default world, whose clock is the machine's: certificates are for now."""
    cloud = LocalCloud(SystemClock())
    worlds.load(cloud)
    return cloud


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    tls._context.cache_clear()
    yield
    tls._context.cache_clear()


@pytest.fixture(name="authority")
def _authority(tmp_path: Path) -> Authority:
    """Beside its file is the folder `hashed`, in which OpenSSL looks for a subject."""
    authority = Authority(tmp_path)
    authorities.write(authority.file, tmp_path / "hashed")
    return authority


def calls(cloud: LocalCloud) -> dict[str, Callable[[], object]]:
    """A call of each service, attempted once."""
    endpoints = dict.fromkeys(("ecs", "sts", "sls", "mns"), cloud.endpoint)
    cloud_settings = msgspec.structs.replace(settings(cloud), endpoints=endpoints)
    accounts = Accounts(cloud_settings, POLICY, cloud.clock, Retry(cloud.clock, cloud.clock.now()), "test", {})
    look = look_request(Party(HOME, "i-web"), REGION, cloud.clock.now() + 60)
    return {
        "ecs": lambda: accounts.ecs(HOME).all_groups(),
        "sts": lambda: accounts.identity(HOME),
        "sls": lambda: SlsAuditLog(cloud_settings, cloud.clock).write([{"record": "intent"}]),
        "mns": lambda: MnsQueue(cloud_settings, HOME).post(look),
        "older": lambda: TeaCore.get_adapter("https").send(requests.Request("GET", f"{cloud.endpoint}/x").prepare()),
    }


@pytest.fixture(name="loads")
def _loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What certificates are loaded from, each time."""
    loads: list[Any] = []
    load: Any = ssl.SSLContext.load_verify_locations

    def noted(context: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        loads.append((arguments, options))
        load(context, *arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", noted)
    return loads


@pytest.mark.http
@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_names_who_is_trusted_by_every_service(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, loads: list[Any], variable: str
) -> None:
    """Its certificates are loaded once, for all connections."""
    with serve(world(), authority=authority) as server:
        monkeypatch.setenv(
            variable, str(authority.file.with_name("hashed") if variable == tls.FOLDERS else authority.file)
        )
        for call in calls(server.cloud).values():
            call()
    assert len(loads) == 1


@pytest.mark.http
def test_of_several_folders_one_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    """As OpenSSL has it: the certificates of the others are trusted."""
    folders = tmp_path / "none", authority.file.with_name("hashed")
    monkeypatch.setenv(tls.FOLDERS, os.pathsep.join(map(str, folders)))
    with serve(world(), authority=authority) as server:
        for call in calls(server.cloud).values():
            call()


@pytest.mark.http
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_of_another_or_for_another_host_is_refused_by_every_service(
    monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture, authority: Authority, trusted: bool
) -> None:
    """Whatever the SDK asks for."""
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        mocker.patch.object(authority, "context", functools.partial(authority.context, "ecs.aliyuncs.com"))
    with serve(world(), authority=authority) as server:
        for name, call in calls(server.cloud).items():
            with pytest.raises((Transient, requests.RequestException), match="certificate") as refused:
                call()
            assert "its TLS certificate is not accepted" in str(refused.value) or name == "older"
        with pytest.raises(requests.exceptions.SSLError):
            tls.Adapter().send(requests.Request("GET", server.endpoint).prepare(), verify=False)


@pytest.mark.http
def test_nothing_is_loaded_where_every_endpoint_is_http(loads: list[Any]) -> None:
    with serve(world()) as server:
        for call in calls(server.cloud).values():
            call()
    assert loads == []


def test_without_a_variable_the_usual_authorities_are_trusted() -> None:
    """Those of certifi, which SDKs ship with, and of the system's folder, which is read when it is needed."""
    assert len(tls.context().get_ca_certs()) > 100
    assert (tls.context().verify_mode, tls.context().check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("call", ["ecs", "sls", "mns"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_that_cannot_be_loaded_is_no_outage(
    monkeypatch: pytest.MonkeyPatch, local_cloud: LocalCloud, tmp_path: Path, call: str, variable: str
) -> None:
    """The error names the variable and the file, or the folder."""
    monkeypatch.setenv(variable, str(tmp_path / "none.pem"))
    local_cloud.endpoint = "https://127.0.0.1:1"
    sls._client.cache_clear()
    with pytest.raises(LinkPeerError, match=rf"{variable} is .*none\.pem, and no certificates") as raised:
        calls(local_cloud)[call]()
    assert not isinstance(raised.value, Transient)


@pytest.mark.http
def test_a_proxy_is_asked_with_and_without_tls(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """Both the proxy's certificate and the server's are checked with the same context."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    for scheme in ("http", "https"):
        manager = tls.Adapter().proxy_manager_for(f"{scheme}://127.0.0.1:1")
        assert manager.proxy_config.ssl_context is (tls.context() if scheme == "https" else None)
