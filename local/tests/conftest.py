"""Fixtures for all tests: the local cloud, in-process or over HTTP."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pytest_mock import MockerFixture

from aliyun_local.api import Knobs, LocalCloud, Server, VirtualClock, load, mount, serve


def pytest_configure() -> None:
    """Collects garbage rarely: thousands of tests are kept from their collection on, and each look at them takes
    time."""
    gc.set_threshold(100_000, 50, 50)


@pytest.fixture(name="knobs")
def _knobs() -> Knobs:
    """What the local cloud does where nobody knows; tests replace it."""
    return Knobs()


@pytest.fixture(name="local_cloud")
def _local_cloud(mocker: MockerFixture, knobs: Knobs) -> LocalCloud:
    """The default world, on a clock that tests advance. Official clients reach it in-process, by any host name."""
    cloud = LocalCloud(VirtualClock(), knobs=knobs)
    load(cloud)
    mount(mocker, cloud)
    return cloud


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    """The default world, behind a real server on loopback: `server.endpoint`, `server.cloud`."""
    cloud = LocalCloud(VirtualClock())
    load(cloud)
    running = serve(cloud)
    yield running
    running.close()
