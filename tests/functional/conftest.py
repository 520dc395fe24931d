"""Fixtures of the functional tests: whole functions on the in-process cloud."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path

import pytest
from aliyun_local.api import Knobs, LocalCloud, Triggers, VirtualClock, mixed, mount, opposite, serve
from link_peer_cli.demo import world
from link_peer_cli.demo.functions import deploy
from pytest_mock import MockerFixture

from tests.accounts import written
from tests.functional.lab import PEER, THREE_ACCOUNTS, Lab, trust_without_external_id, world_of_three
from tests.functional.records import Watch, log_text
from tests.functional.wire_lab import CloudClock, WireLab

BOTH = (
    "adopt",
    "links",
    "replaced_rules",
    "addresses",
    "markers",
)
"""The modules whose tests are about rules as they are read: each of their tests runs under both sets of readings."""
TURNS = {"event": "default", "sync": "opposite", "one delivery": "default", "by account": "opposite"}
"""The same for tests that run in several ways anyway: each way has one of the sets."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--knobs default` or `--knobs opposite` puts one set of readings under every functional test."""
    parser.addoption("--knobs", choices=("default", "opposite"), help="readings of the local cloud's knobs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests about rules twice."""
    module = metafunc.module.__name__.rpartition(".test_")[2]
    names = metafunc.fixturenames
    if module in BOTH and "knobs" in names and "by_account" not in names and not metafunc.config.getoption("--knobs"):
        metafunc.parametrize("knobs", ["default", "opposite"], indirect=True)


@pytest.fixture(name="knobs")
def _knobs(request: pytest.FixtureRequest) -> Knobs:
    """The readings for this test. Outside of BOTH they are a mixture that depends only on the test's name.

    A test whose subject is one of them fixes it: `@pytest.mark.knobs(group_sources="rules")`.
    """
    ways = getattr(getattr(request.node, "callspec", None), "params", {})
    turn = TURNS.get(ways.get("stand") or ways.get("by_account", ""))
    chosen = getattr(request, "param", None) or request.config.getoption("--knobs") or turn
    if chosen:
        knobs = opposite() if chosen == "opposite" else Knobs()
    else:
        knobs = mixed(zlib.crc32(request.node.nodeid.encode()))
        knobs.request_tags = (
            False  # the inventory of the commands finds groups by their managed tag: docs/guarantees.md
        )
    for fixed in request.node.iter_markers("knobs"):
        knobs.change(fixed.kwargs)
    return knobs


@pytest.fixture(name="record_watch", autouse=True)
def _record_watch(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Watch]:
    """After every test, searches its records for raw control characters and for the secrets in use."""
    watch = Watch(monkeypatch)
    caplog.set_level("INFO")
    yield watch
    watch.check(log_text(caplog))


@pytest.fixture(name="lab")
def _lab(local_cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Lab:
    """The default world with its functions: `lab.auto_link(event)`, `lab.rules(group)`, `lab.records()`."""
    return Lab(local_cloud, monkeypatch, tmp_path)


@pytest.fixture(name="by_account", params=["one delivery", "by account"])
def _by_account(lab: Lab, request: pytest.FixtureRequest) -> None:
    """`lab.sweep()` is one delivery for all accounts, or one for each: the tests of sweeps are about both."""
    lab.by_account = request.param == "by account"


@pytest.fixture(name="living_lab")
def _living_lab(lab: Lab) -> Lab:
    """An unrelated instance runs in each account, so that an instance that is not shown counts as gone."""
    lab.instance(lab.group())
    lab.instance(lab.group(account=PEER))
    return lab


@pytest.fixture(name="three_accounts", params=["one external id", "no external id"])
def _three_accounts(
    request: pytest.FixtureRequest, mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, knobs: Knobs
) -> Lab:
    """Home and two peers whose roles ask for the same external id, or for none: nothing but the names of the roles
    tells the accounts apart."""
    cloud = LocalCloud(VirtualClock(), knobs=knobs)
    world.load(cloud, written(tmp_path, world_of_three()))
    mount(mocker, cloud)
    if request.param == "no external id":
        trust_without_external_id(cloud)
    return Lab(cloud, monkeypatch, tmp_path, THREE_ACCOUNTS)


@pytest.fixture(name="triggers")
def _triggers(lab: Lab) -> Triggers:
    """The functions of s.yaml with their triggers, deployed on the lab's cloud. Each has one instance, which stays
    warm."""
    lab.cloud.world.policy = str(lab.policy_path)
    lab.cloud.endpoint = "http://127.0.0.1:1"
    return deploy(lab.cloud, in_process=True)


@pytest.fixture(name="make_lab")
def _make_lab(
    mocker: MockerFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, knobs: Knobs
) -> Callable[[], Lab]:
    """Each call builds a new world, which replaces the one before: for loops over the calls of a function."""

    def make() -> Lab:
        cloud = LocalCloud(VirtualClock(), knobs=copy(knobs))
        world.load(cloud)
        mount(mocker, cloud)
        return Lab(cloud, monkeypatch, tmp_path)

    return make


@pytest.fixture(name="wire_lab")
def _wire_lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, knobs: Knobs) -> Iterator[WireLab]:
    """The default world behind a real server, in real time; `drain` lets more of it pass."""
    clock = CloudClock()
    cloud = LocalCloud(clock, knobs=knobs)
    world.load(cloud)
    with serve(cloud) as server:
        yield WireLab(server, clock, monkeypatch, tmp_path)
