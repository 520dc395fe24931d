"""Clients of either cloud, for the tests marked `real_cloud`: the local one, or the account of `--real-account`.

These fixtures are all that a marked test may use: no internals of the local cloud, no clock, nothing of a second account.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from alibabacloud_sts20150401.client import Client as Sts
from alibabacloud_tea_openapi.models import Config
from aliyun.log import LogClient
from link_peer_conformance import leftovers
from link_peer_conformance.bench import Bench
from link_peer_conformance.journal import Resource
from mns.account import Account

from tests.local.clients import HOME, REGION
from tests.local.ecs.helpers import Rules, RuleWorld, client
from tests.real_account import OPTION, RealEcs, log_client, open_bench


@pytest.fixture(name="bench", scope="session")
def _bench(pytestconfig: pytest.Config) -> Iterator[Bench | None]:
    """The real account's bench; None on the local cloud."""
    account = pytestconfig.getoption(OPTION)
    bench = open_bench(account) if account else None
    yield bench
    left = bench.close() if bench else []
    assert not left, f"not removed: {', '.join(left)}; link-peer selftest --clean-up"


@pytest.fixture(autouse=True)
def _release(bench: Bench | None) -> Iterator[None]:
    """After each test on a real account, remove what it created."""
    yield
    if bench:
        assert bench.release() == []


@pytest.fixture(name="uid")
def _uid(bench: Bench | None) -> str:
    """The account's uid."""
    return bench.account if bench else HOME


@pytest.fixture(name="ecs")
def _ecs(bench: Bench | None, request: pytest.FixtureRequest) -> Any:
    """The ECS client."""
    return RealEcs(bench) if bench else client(request.getfixturevalue("local_cloud"))


@pytest.fixture(name="rule_world")
def _rule_world(bench: Bench | None, request: pytest.FixtureRequest) -> Rules:
    """Two groups of one account in one VPC; on the local cloud also the peer's, and the cloud itself."""
    if bench:
        return Rules(RealEcs(bench), bench.vpc)
    return RuleWorld(request.getfixturevalue("local_cloud"))


@pytest.fixture(name="sts")
def _sts(bench: Bench | None, request: pytest.FixtureRequest) -> Any:
    """The STS client."""
    if bench:
        return bench.sdks.sts
    keys = request.getfixturevalue("local_cloud").identity.accounts[HOME]
    return Sts(Config(access_key_id=keys.access_key_id, access_key_secret=keys.access_key_secret, region_id=REGION))


@pytest.fixture(name="log_client")
def _log_client(bench: Bench | None, request: pytest.FixtureRequest) -> LogClient:
    """The SLS client, with the SDK's own errors."""
    if bench:
        return log_client(bench)
    keys = request.getfixturevalue("local_cloud").identity.accounts[HOME]
    return LogClient(f"{REGION}.log.aliyuncs.com", keys.access_key_id, keys.access_key_secret, source="10.0.0.9")


@pytest.fixture(name="mns_account")
def _mns_account(bench: Bench | None, request: pytest.FixtureRequest) -> Account:
    """The MNS client."""
    if bench:
        account: Account = bench.sdks.queues(bench.account)
        return account
    keys = request.getfixturevalue("local_cloud").identity.accounts[HOME]
    return Account(f"http://{HOME}.mns.{REGION}.aliyuncs.com", keys.access_key_id, keys.access_key_secret)


@pytest.fixture(name="queue_name")
def _queue_name(bench: Bench | None) -> str:
    """The name of the queue that a test creates."""
    return _noted(bench, "queue") if bench else "jobs"


@pytest.fixture(name="project")
def _project(bench: Bench | None) -> str:
    """The name of the log project that a test creates."""
    return _noted(bench, "project") if bench else "proj"


_numbers = itertools.count(5000)


def _noted(bench: Bench, kind: str) -> str:
    """A name that is in the journal before the test creates the resource."""
    name = leftovers.name(bench.options.prefix, bench.run, next(_numbers))
    bench.journal.plan(Resource(kind, name, bench.account, bench.region, bench.run))
    return name
