"""`link-peer setup` in two regions of one local cloud, over HTTP: each region has an entrance of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aliyun_local.api import Knobs, LocalCloud, serve
from link_peer.alicloud.sts import CACHE
from link_peer_cli.demo import world

from tests.functional.command import Cli, use_keys

pytestmark = pytest.mark.http
HOME, HERE, THERE = "1000000000000001", "cn-qingdao", "cn-hangzhou"
Enter = Callable[[str], LocalCloud]


@pytest.fixture(name="enter")
def _enter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Enter]:
    """`enter(region)`: from now on, commands of home's administrator work in this region, at its entrance."""
    cloud = LocalCloud(knobs=Knobs(trigger_role="required"))
    world.load(cloud, "empty")
    policy = tmp_path / "policy.yaml"
    policy.write_text(f"deployment: prod\naccounts:\n  '{HOME}': {{name: home}}\n")
    monkeypatch.setenv("LINK_PEER_POLICY", str(policy))
    use_keys(cloud, monkeypatch, HOME)
    CACHE.clear()

    def enter(region: str) -> LocalCloud:
        place = cloud.region_at(region)
        monkeypatch.setenv("LINK_PEER_REGION", region)
        monkeypatch.setenv("LINK_PEER_CLOUD", place.endpoint)
        return place

    with serve(cloud):
        yield enter


def test_a_region_is_not_set_up_at_the_entrance_of_another(enter: Enter, capsys: pytest.CaptureFixture[str]) -> None:
    """Its queues would be those of the other. The message names the entrance, if there is one."""
    cli = Cli(capsys)
    cloud_there, cloud_here = enter(THERE), enter(HERE)
    for options in ((), ("--remove", "--yes")):
        assert cli("setup", "--region", THERE, *options) == 2
        assert (
            f"LINK_PEER_CLOUD: {cloud_here.endpoint} is the entrance of {HERE}; that of {THERE} is {cloud_there.endpoint}"
            in cli.err
        )
    assert cli("setup", "--region", "cn-chengdu") == 2
    assert "that of cn-chengdu is not there: name the region in `regions` of the world's file" in cli.err
    assert (cloud_here.mns.queues(HOME), cloud_there.mns.queues(HOME), roles(cloud_here)) == ([], [], [])


def roles(cloud: LocalCloud) -> list[str]:
    """The roles of link-peer in the home account."""
    return sorted(role.name for role in cloud.identity.roles.values() if role.name.startswith("link-peer"))


def test_removing_in_one_region_keeps_the_roles_that_the_other_uses(
    enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says why. In the last region they are removed, and a region that was only looked at keeps nothing."""
    cli = Cli(capsys)
    for region in (HERE, THERE):
        enter(region)
        assert cli("setup") == 0, cli.err
    enter("cn-beijing")
    cloud_here = enter(HERE)
    before = roles(cloud_here)
    assert before
    assert cli("setup", "--remove", "--yes", "--force") == 0, cli.err
    assert f"= role link-peer-fc: kept: {THERE} has the queue link-peer-requests" in cli.out
    cloud_there = enter(THERE)
    assert (roles(cloud_here), cloud_here.mns.queues(HOME), bool(cloud_there.mns.queues(HOME))) == (before, [], True)
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    assert (roles(cloud_here), cloud_there.mns.queues(HOME)) == ([], [])


def test_removing_in_one_region_keeps_whom_the_alerts_of_the_other_notify(
    enter: Enter, capsys: pytest.CaptureFixture[str]
) -> None:
    """The user and the action policy serve the projects of all regions. In the last region they are removed."""
    cli = Cli(capsys)
    for region in (HERE, THERE):
        enter(region)
        assert cli("setup", "--notify", "ops@example.com") == 0, cli.err
    enter(HERE)
    assert cli("setup", "--remove", "--yes", "--force") == 0, cli.err
    enter(THERE)
    assert cli("setup", "--dry-run", "--notify", "ops@example.com") == 0, cli.err
    assert "To create: 0, to update: 0," in cli.out
    assert cli("setup", "--remove", "--yes") == 0, cli.err
    assert "- user link-peer" in cli.out
    assert "- action policy link-peer" in cli.out
