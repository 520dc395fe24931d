"""Services that an account has not activated refuse it in their own words."""

from __future__ import annotations

from pathlib import Path

import pytest
from alibabacloud_eventbridge20200401.client import Client as EventBridge
from alibabacloud_fc20230330 import models as functions
from alibabacloud_fc20230330.client import Client as Functions
from alibabacloud_tea_openapi.exceptions import ClientException
from link_peer_local import inprocess, world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from mns.mns_exception import MNSServerException
from pytest_mock import MockerFixture

from tests.local.clients import HOME, ask, config, key_of, logs_of, queues_of, refusal, world_file


@pytest.fixture(name="cloud")
def _cloud(mocker: MockerFixture, tmp_path: Path) -> LocalCloud:
    """The empty world with nothing activated."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud, world_file(tmp_path, "empty", inactive=["fc", "mns", "sls", "eventbridge"]))
    inprocess.install(mocker, cloud)
    return cloud


def test_function_compute(cloud: LocalCloud) -> None:
    """AccessDenied, as where a permission is missing: only the message tells."""
    client = Functions(config(key_of(cloud), f"{HOME}.cn-qingdao.fc.aliyuncs.com"))
    with pytest.raises(ClientException) as refused:
        client.list_functions(functions.ListFunctionsRequest())
    assert (refused.value.status_code, refused.value.code) == (403, "AccessDenied")
    assert "FC service is not enabled for current user." in str(refused.value)


def test_eventbridge(cloud: LocalCloud) -> None:
    """ServiceAccessDenied."""
    client = EventBridge(config(key_of(cloud), "eventbridge-console.cn-qingdao.aliyuncs.com"))
    assert refusal(ask, client, "ListEventBuses") == ("ServiceAccessDenied", 403)


def test_sls(cloud: LocalCloud) -> None:
    """Unauthorized, for an inactive key."""
    assert refusal(logs_of(key_of(cloud)).list_project)[0] == "Unauthorized"


def test_mns(cloud: LocalCloud) -> None:
    """AccessDenied."""
    with pytest.raises(MNSServerException) as refused:
        queues_of(key_of(cloud)).list_queue()
    assert refused.value.type == "AccessDenied"


def test_an_unknown_service_in_a_world_file_is_named(tmp_path: Path) -> None:
    """With those that exist."""
    with pytest.raises(world.WorldError, match="eventbridge, fc, mns, sls"):
        world.load(LocalCloud(VirtualClock()), world_file(tmp_path, "empty", inactive=["oss"]))


def test_the_default_bus_is_listed_once_it_is_activated(cloud: LocalCloud) -> None:
    """Every account has it."""
    cloud.inactive.clear()
    client = EventBridge(config(key_of(cloud), "eventbridge-console.cn-qingdao.aliyuncs.com"))
    [bus] = ask(client, "ListEventBuses").data.event_buses
    assert bus.event_bus_name == "default"
