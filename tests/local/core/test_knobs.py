"""The knobs: their readings, mixtures of them, and a world that sets them."""

from __future__ import annotations

from pathlib import Path

import pytest
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.knobs import Knobs, mixed, opposite, readings

from tests.local.clients import world_file


def test_every_reading_can_be_set() -> None:
    """The default comes first."""
    for name, choices in readings().items():
        assert choices[0] == getattr(Knobs(), name)
        for choice in choices:
            knobs = Knobs()
            knobs.change({name: choice})
            assert getattr(knobs, name) == choice


def test_mixtures_have_every_reading_of_every_knob() -> None:
    """The same number gives the same mixture; 0 gives the defaults."""
    assert mixed(0) == Knobs()
    assert mixed(12345) == mixed(12345)
    step = 1  # each knob is a digit of the number
    for name, choices in readings().items():
        assert {getattr(mixed(step * which), name) for which in range(len(choices))} == set(choices)
        step *= len(choices)


def test_the_opposite_shares_no_reading_with_the_default() -> None:
    assert all(getattr(opposite(), name) != getattr(Knobs(), name) for name in readings())


@pytest.mark.parametrize(
    "changes", [{"none": 1}, {"own_source_owner": "red"}, {"strict_ids": "yes"}, {"retry_factor": -1}]
)
def test_an_invalid_reading_changes_nothing(changes: dict[str, object]) -> None:
    knobs = Knobs()
    with pytest.raises(ValueError, match=r"^knobs: "):
        knobs.change({"host_mask": "dropped", **changes})
    assert knobs == Knobs()


def test_a_world_may_set_knobs(tmp_path: Path) -> None:
    """The others keep the readings that the cloud was made with."""
    cloud = LocalCloud(knobs=Knobs(strict_ids=True))
    world.load(cloud, world_file(tmp_path, knobs={"own_source_owner": "uid", "retry_seconds": 60}))
    assert cloud.knobs == Knobs(strict_ids=True, own_source_owner="uid", retry_seconds=60.0)
    assert cloud.ecs.knobs is cloud.fc.tasks.knobs is cloud.knobs


def test_a_world_with_an_unknown_knob_is_refused(tmp_path: Path) -> None:
    with pytest.raises(world.WorldError, match=r"knobs: .*none"):
        world.load(LocalCloud(), world_file(tmp_path, knobs={"none": 1}))
