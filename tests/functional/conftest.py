"""Fixtures of the functional tests: whole functions on the in-process cloud."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from link_peer_local import inprocess, world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from link_peer_local.server import serve
from pytest_mock import MockerFixture

from tests.functional.lab import PEER, Lab
from tests.functional.records import Watch, said
from tests.functional.wire_lab import CloudClock, WireLab


@pytest.fixture(name="record_watch", autouse=True)
def _record_watch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Watch]:
    """After every test, searches its records for raw control characters and for the secrets in use."""
    watch = Watch(monkeypatch)
    caplog.set_level("INFO")
    yield watch
    watch.check(said(caplog))


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """The default world with its functions: `lab.auto_link(event)`, `lab.rules(group)`, `lab.records()`."""
    return Lab(local_cloud, monkeypatch, tmp_path)


@pytest.fixture(name="living_lab")
def _living_lab(lab: Lab) -> Lab:
    """An unrelated instance runs in each account, so that an instance that is not shown counts as gone."""
    lab.instance(lab.group())
    lab.instance(lab.group(account=PEER))
    return lab


@pytest.fixture(name="make_lab")
def _make_lab(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Lab]:
    """Each call builds a new world, which replaces the one before: for loops over the calls of a function."""

    def make() -> Lab:
        cloud = LocalCloud(VirtualClock())
        world.load(cloud)
        inprocess.install(mocker, cloud)
        return Lab(cloud, monkeypatch, tmp_path)

    return make


@pytest.fixture(name="wire_lab")
def _wire_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[WireLab]:
    """The default world behind a real server, in real time; `drain` lets more of it pass."""
    clock = CloudClock()
    cloud = LocalCloud(clock)
    world.load(cloud)
    with serve(cloud) as server:
        yield WireLab(server, clock, monkeypatch, tmp_path)
