"""The bench on the local cloud, for a checkout: `link-peer selftest` brings its own, of a real account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from link_peer.runtime import settings
from link_peer_conformance.bench import Bench
from link_peer_conformance.journal import Journal
from link_peer_conformance.sdks import Sdks
from link_peer_local import inprocess, world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import VirtualClock
from pytest_mock import MockerFixture

from tests.accounts import HOME, existing, mark

NOT_OFFERED_HERE = {38, 39, 40, 44, 48}
"""Questions about what the local cloud lacks: traces of ActionTrail's events, Tag, a deployment, quotas, ROS."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these out."""
    left_out = [
        item for item in items if (mark := item.get_closest_marker("real_cloud")) and mark.args[0] in NOT_OFFERED_HERE
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(name="bench")
def _bench(mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    """The marked account of a new world, which is as before after the question."""
    cloud = LocalCloud(VirtualClock())
    world.load(cloud)
    inprocess.install(mocker, cloud)
    options, before = mark(cloud), existing(cloud)
    keys = cloud.identity.accounts[HOME]
    for name, value in {
        "LINK_PEER_CLOUD": "http://192.0.2.1:1",
        "LINK_PEER_REGION": "cn-qingdao",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
    }.items():
        monkeypatch.setenv(name, value)
    journal = Journal(tmp_path / "journal")
    yield (bench := Bench(Sdks(settings.load(), cloud.clock), options, journal, HOME, "abcdefgh"))
    assert bench.close() == []
    assert (existing(cloud), journal.path.exists()) == (before, False)
