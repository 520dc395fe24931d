"""The in-process transport behaves like the wire without sockets: same routes, same failures, same messages."""

from __future__ import annotations

import pytest
from alibabacloud_ecs20140526.client import Client as Ecs
from alibabacloud_ecs20140526.models import DescribeRegionsRequest
from darabonba.exceptions import UnretryableException
from link_peer_local import inprocess
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.faults import Fault
from link_peer_local.server import Server
from pytest_mock import MockerFixture

from tests.local.clients import ask, config, key_of


@pytest.mark.parametrize("endpoint", ["ecs.cn-qingdao.aliyuncs.com", "127.0.0.1:8080", "nowhere.example"])
@pytest.mark.parametrize("protocol", ["http", "https"])
def test_any_host_name_reaches_the_local_cloud(local_cloud: LocalCloud, endpoint: str, protocol: str) -> None:
    """No name is resolved and no connection is made."""
    answer = Ecs(config(key_of(local_cloud), endpoint, protocol=protocol)).describe_regions(DescribeRegionsRequest())
    assert answer.body.regions.region


@pytest.mark.http
@pytest.mark.parametrize("kind", ["reset", "no-answer", "html", "truncated"])
def test_failures_read_the_same_over_http(server: Server, mocker: MockerFixture, kind: str) -> None:
    """The client raises exactly the message that it raises over a socket."""
    endpoint = server.endpoint.removeprefix("http://")
    patience = 150 if kind == "no-answer" else 60_000  # milliseconds
    client = Ecs(config(key_of(server.cloud), endpoint, read_timeout=patience))

    def failure() -> str:
        server.cloud.faults.add(Fault("ecs", kind=kind))
        with pytest.raises(UnretryableException) as raised:
            ask(client, "DescribeRegions")
        return str(raised.value)

    over_http = failure()
    inprocess.install(mocker, server.cloud)
    assert failure() == over_http


def test_a_timeout_names_the_pool_of_its_scheme(local_cloud: LocalCloud) -> None:
    """The SLS client decides by this text whether to retry, and it differs between http and https."""
    for scheme, pool in (("http", "HTTPConnectionPool"), ("https", "HTTPSConnectionPool")):
        local_cloud.faults.add(Fault("ecs", kind="no-answer"))
        client = Ecs(config(key_of(local_cloud), "ecs.cn-qingdao.aliyuncs.com", protocol=scheme))
        with pytest.raises(UnretryableException, match=f"'message': \"{pool}"):
            ask(client, "DescribeRegions")
