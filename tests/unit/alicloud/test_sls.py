"""The SLS client: one for each endpoint and key, whose connection is kept."""

from __future__ import annotations

import msgspec
import pytest
from link_peer.alicloud import sls
from link_peer.alicloud.audit_log import SlsAuditLog
from link_peer.alicloud.leave_out import NotInPackage
from link_peer.runtime.settings import Credentials
from link_peer_local.cloud import LocalCloud
from link_peer_local.server import Server
from pytest_mock import MockerFixture

from tests.unit.alicloud.adapter import settings


def test_a_client_is_kept_for_each_endpoint_and_key(local_cloud: LocalCloud) -> None:
    """Settings that are equal give the same client; renewed keys and another endpoint give another one."""
    given = settings(local_cloud)
    renewed = msgspec.structs.replace(given, credentials=Credentials("STS.new", "secret", "token"))
    elsewhere = msgspec.structs.replace(given, endpoints={"sls": "http://127.0.0.1:2"})
    first = sls.client(given)
    assert sls.client(settings(local_cloud)) is first
    assert sls.client(renewed) is not first
    assert sls.client(elsewhere) is not first
    assert sls.client(given) is first


@pytest.mark.http
def test_two_deliveries_write_over_one_connection(server: Server) -> None:
    """Each has its own log, as each event does."""
    given = msgspec.structs.replace(settings(server.cloud), endpoints={"sls": server.endpoint})
    for _ in range(3):
        SlsAuditLog(given, server.cloud.clock).write([{"record": "intent"}])
    pools = sls.client(given)._session.get_adapter("http://").poolmanager.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118  # not a dict


def test_using_what_the_package_leaves_out_is_no_unavailable_log(
    local_cloud: LocalCloud, mocker: MockerFixture
) -> None:
    """It would be tried again and again as a transient error. The SDK turns every error into one of its own."""
    given = settings(local_cloud)
    mocker.patch("requests.Session.post", side_effect=NotInPackage("idna.encode is not part of the package"))
    with pytest.raises(NotInPackage, match=r"idna\.encode"):
        SlsAuditLog(given, local_cloud.clock).write([{"record": "intent"}])
