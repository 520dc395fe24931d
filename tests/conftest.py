"""Fixtures for all tests: the local cloud, in-process or over HTTP."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest
from aliyun_local.api import Knobs, LocalCloud, Server, VirtualClock, mount, serve
from link_peer.app import compose
from link_peer.domain.model import short_hash
from link_peer_cli.demo import world
from pytest_mock import MockerFixture

from tests.sample import described


def pytest_configure() -> None:
    """Collects garbage rarely: thousands of tests are kept from their collection on, and each look at them takes
    time."""
    gc.set_threshold(100_000, 50, 50)


def pytest_collection_finish() -> None:
    """Leaves what was collected out of every later look for garbage."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was tried of the families that take long."""
    terminalreporter.write_line(described())


@pytest.fixture(name="knobs")
def _knobs() -> Knobs:
    """What the local cloud does where nobody knows; the functional tests replace it."""
    return Knobs()


def _end_process() -> None:
    raise SystemExit("the process of the function ended")


@pytest.fixture(autouse=True)
def _functions_end_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that ends its process does not end that of the tests."""
    monkeypatch.setattr(compose, "end_process", _end_process)


@pytest.fixture(autouse=True)
def _cache_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    """Commands remember what they read for completion in no folder of the person who runs the tests, nor of another
    test."""
    folder = tmp_path_factory.getbasetemp() / "cache" / short_hash(request.node.nodeid)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))


@pytest.fixture(name="local_cloud")
def _local_cloud(mocker: MockerFixture, knobs: Knobs) -> LocalCloud:
    """The default world, on a clock that tests advance. Official clients reach it in-process, by any host name."""
    cloud = LocalCloud(VirtualClock(), knobs=knobs)
    world.load(cloud)
    mount(mocker, cloud)
    return cloud


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    """The default world, behind a real server on loopback: `server.endpoint`, `server.cloud`."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud)
    running = serve(cloud)
    yield running
    running.close()


@pytest.fixture(name="zone", params=["UTC", "Asia/Shanghai", "America/St_Johns"])
def _zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The time zone of the machine."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()
