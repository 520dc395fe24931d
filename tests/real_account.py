"""`pytest --real-account UID`: the tests marked `real_cloud` against that account instead of the in-process local cloud.

Like moto's `aws_verified`: what such a test pins of the local cloud is true, as soon as it has passed on a real account. The
account must have the mark of `link-peer selftest`, whose bench creates and removes everything.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_ecs20140526 import models
from alibabacloud_tea_openapi.exceptions import ClientException
from aliyun.log import LogClient
from link_peer.alicloud.sdk import meaning
from link_peer.domain.errors import CloudError
from link_peer.runtime import settings
from link_peer.runtime.clock import SystemClock
from link_peer_conformance.bench import Bench, Options
from link_peer_conformance.journal import Journal
from link_peer_conformance.sdks import Sdks

OPTION = "--real-account"
REGION_VARIABLE = "LINK_PEER_TEST_REGION"  # read by tests/local/ecs/helpers.py
SETTLE_SECONDS = float(
    os.environ.get("LINK_PEER_TEST_SETTLE", "3")
)  # after each change, so that the next read shows it
READS = ("describe", "get", "list", "query")
JOURNAL = "selftest.journal"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option. Its value is the uid, so that the keys of another account are refused."""
    text = "run the tests marked real_cloud on this account, with the keys and LINK_PEER_REGION of the environment"
    parser.addoption(OPTION, metavar="UID", default="", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests ask for the account's region."""
    if config.getoption(OPTION):
        os.environ[REGION_VARIABLE] = settings.load().region


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a real account, run the marked tests only."""
    if config.getoption(OPTION):
        chosen = [item for item in items if item.get_closest_marker("real_cloud")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def log_client(bench: Bench) -> LogClient:
    """The SLS client with the SDK's own errors."""
    keys = bench.sdks.settings.credentials
    scheme, host = bench.sdks.settings.endpoint("sls")
    endpoint = f"{scheme}://{host}" if host else f"https://{bench.region}.log.aliyuncs.com"
    made = LogClient(
        endpoint, keys.access_key_id, keys.access_key_secret, securityToken=keys.security_token, source="10.0.0.9"
    )
    made._isRowIp = bool(host)  # a local cloud: the project goes into the Host header only
    return made


def open_bench(account: str) -> Bench:
    """The bench of a marked account. Raises UsageError if the keys belong to another one, or it has no mark."""
    found = settings.load()
    sdks = Sdks(found, SystemClock())
    owner, arn = sdks.identity()
    if owner != account:
        raise pytest.UsageError(f"{OPTION} {account}: the keys belong to account {owner} ({arn})")
    bench = Bench(sdks, Options(), Journal(Path(JOURNAL)), owner, f"{time.time_ns():08x}"[-8:])
    if not bench.vpcs:
        raise pytest.UsageError(f"account {owner} is not marked for the selftest: docs/verify-on-cloud.md")
    if bench.journal.left():
        raise pytest.UsageError(f"{JOURNAL} names leftovers: link-peer selftest --clean-up")
    return bench


class Settled:
    """A client of any SDK, whose changes are followed by a pause."""

    def __init__(self, client: Any, seconds: float = SETTLE_SECONDS) -> None:
        self._client = client
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        """The client's own attribute; a method that changes something also waits."""
        found = getattr(self._client, name)
        if not callable(found) or name.startswith(READS):
            return found

        def settled(*args: Any, **kwargs: Any) -> Any:
            try:
                return found(*args, **kwargs)
            finally:
                time.sleep(self._seconds)

        return settled


class RealEcs(Settled):
    """The ECS client of a bench: a group that a test creates is a throw-away one."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.sdks.ecs.client)
        self._bench = bench

    def create_security_group(self, request: models.CreateSecurityGroupRequest) -> Any:
        """Create a group with the run's tag, by default in the marked VPC and with the run's name."""
        answers: list[Any] = []
        refusals: list[ClientException] = []

        def create(name: str, tags: Mapping[str, str]) -> str:
            request.security_group_name = request.security_group_name or name
            request.vpc_id = request.vpc_id or self._bench.vpc
            own = [models.CreateSecurityGroupRequestTag(key=key, value=value) for key, value in tags.items()]
            request.tag = [*(request.tag or []), *own]
            try:
                answers.append(self._client.create_security_group(request))
            except ClientException as refusal:
                refusals.append(refusal)
                raise meaning(refusal) from None
            return str(answers[0].body.security_group_id)

        try:
            self._bench.create("group", create)
        except CloudError:
            raise refusals[0] from None  # as the SDK raises it
        time.sleep(self._seconds)
        return answers[0]
