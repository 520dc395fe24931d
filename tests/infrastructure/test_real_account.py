"""`pytest --real-account`: the marked tests pass over HTTP on an account that is not theirs, and leave it as it was.

A local cloud behind a server stands for the real one: the tests reach it only through endpoints and keys.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from link_peer_local import world
from link_peer_local.cloud import LocalCloud
from link_peer_local.core.clock import SystemClock
from link_peer_local.server import Server, serve

ROOT = Path(__file__).resolve().parents[2]
HOME, PEER = "1000000000000001", "1000000000000002"
MARK = re.compile("@pytest.mark.real_cloud")
FILES = sorted(
    path for path in (ROOT / "tests/local").rglob("test_*.py") if MARK.search(path.read_text(encoding="utf-8"))
)
MARKED = 41
"""Test functions with the mark; each parameter set is a case of its own."""


@pytest.fixture(name="account")
def _account() -> Iterator[Server]:
    """A cloud whose first account is marked."""
    cloud = LocalCloud(SystemClock())
    world.load(cloud)
    shared = cloud.world.vpcs[2]["id"]
    cloud.ecs.create_group(HOME, shared, tags={"link-peer-selftest": "yes"})
    with serve(cloud) as server:
        yield server


def run(server: Server, folder: Path, uid: str, *tests: str, keys_of: str = HOME) -> subprocess.CompletedProcess[str]:
    """Run the marked tests of these files in a process of their own."""
    keys = server.cloud.identity.accounts[keys_of]
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LINK_PEER_", "COV_"))},
        "LINK_PEER_CLOUD": server.endpoint,
        "LINK_PEER_REGION": "cn-qingdao",
        "LINK_PEER_TEST_SETTLE": "0",
        "ALIBABA_CLOUD_ACCESS_KEY_ID": keys.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": keys.access_key_secret,
    }
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)]
    command += ["-p", "no:cacheprovider", "-p", "no:xdist", "--real-account", uid, *tests]
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False
    )


def existing(cloud: LocalCloud) -> tuple[set[str], set[str], set[str]]:
    queues = {queue.name for queue in cloud.mns.queues(HOME)}
    return set(cloud.ecs.accounts[HOME].groups), queues, {project.name for project in cloud.sls.projects(HOME)}


def test_the_marked_tests_pass_on_another_account(account: Server, tmp_path: Path) -> None:
    """All of them, and only they; everything that they created is removed, and the journal with it."""
    before = existing(account.cloud)
    done = run(account, tmp_path, HOME, *map(str, FILES))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert set(re.findall(r"\d+ (passed|failed|skipped|deselected|error)", done.stdout)) == {"passed", "deselected"}
    assert existing(account.cloud) == before
    assert list(tmp_path.iterdir()) == []


def test_the_marked_tests_are_counted() -> None:
    """So that one that loses its mark is noticed."""
    assert sum(len(MARK.findall(path.read_text(encoding="utf-8"))) for path in FILES) == MARKED


@pytest.mark.parametrize(
    ("uid", "keys_of", "message"),
    [
        (PEER, HOME, f"the keys belong to account {HOME}"),
        (PEER, PEER, f"account {PEER} is not marked"),
    ],
)
def test_another_account_is_refused(account: Server, tmp_path: Path, uid: str, keys_of: str, message: str) -> None:
    """If the keys are not those of the account that was named, or if it has no mark. Nothing is created."""
    before = account.cloud.faults.count("ecs", "Create*")
    done = run(account, tmp_path, uid, str(ROOT / "tests/local/sts"), keys_of=keys_of)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr
    assert account.cloud.faults.count("ecs", "Create*") == before
