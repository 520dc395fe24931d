"""The bench on the local cloud, for these tests: `aliyun-selftest` brings its own, of a real account."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

from aliyun_conformance.bench import Bench
from aliyun_conformance.journal import Journal
from aliyun_conformance.sdks import Credentials, Sdks, Settings
from aliyun_local.api import Knobs, LocalCloud, VirtualClock, load, mount
from marked import HOME, existing, mark

NOT_OFFERED_HERE = {38, 39, 40, 44, 48}
"""Questions about what the local cloud lacks: traces of ActionTrail's events, Tag, a deployment, quotas, ROS."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these out."""
    left_out = [
        item
        for item in items
        if (question := item.get_closest_marker("real_cloud")) and question.args[0] in NOT_OFFERED_HERE
    ]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(name="knobs")
def _knobs(request: pytest.FixtureRequest) -> Knobs:
    """The default readings; a test may replace them."""
    return getattr(request, "param", None) or Knobs()


@pytest.fixture(name="cloud")
def _cloud(mocker: MockerFixture, knobs: Knobs) -> LocalCloud:
    """A new world on a clock that tests advance. Official clients reach it in this process."""
    cloud = LocalCloud(VirtualClock(), knobs=knobs)
    load(cloud)
    mount(mocker, cloud)
    return cloud


@pytest.fixture(name="bench")
def _bench(cloud: LocalCloud, tmp_path: Path) -> Iterator[Bench]:
    """The marked account of a new world, which is as before after the question."""
    options, before = mark(cloud), existing(cloud)
    keys = cloud.identity.accounts[HOME]
    settings = Settings("cn-qingdao", Credentials(keys.access_key_id, keys.access_key_secret), "http://192.0.2.1:1")
    journal = Journal(tmp_path / "journal")
    yield (bench := Bench(Sdks(settings, cloud.clock), options, journal, HOME, "abcdefgh"))
    assert bench.close() == []
    assert (existing(cloud), journal.path.exists()) == (before, False)
